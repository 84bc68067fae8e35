/* The trainer: steps and epochs over either stage. */
#include <math.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/platform.h"
#include "core/random.h"
#include "evaluate/dataset.h"
#include "model/adapters.h"
#include "model/model.h"
#include "text/text_cache.h"
#include "train/trainer_parts.h"
#include "train/training_log.h"

static size_t step_images(const aaclip_trainer *trainer)
{
    return (size_t)trainer->options.batch_size * trainer->options.accumulate;
}

uint64_t aac_trainer_epoch_steps(const aaclip_trainer *trainer)
{
    size_t samples = aaclip_dataset_count(trainer->dataset);
    return (samples + step_images(trainer) - 1) / step_images(trainer);
}

/* Copies the values of `initial`, whose configuration determined the parameters' shapes. */
static aaclip_status copy_initial(aaclip_trainer *trainer)
{
    bool text = trainer->options.stage == AACLIP_STAGE_TEXT;
    const aaclip_adapters *initial = trainer->options.initial;
    const aac_adapter_tower *tower =
        text ? aac_adapters_text(initial) : aac_adapters_image(initial);
    aaclip_status status = aac_tensor_file_check(tower->file);
    if (status)
        return status;
    aac_parameter *parameter = trainer->parameters.items;
    for (uint32_t i = 0; i < tower->layer_count; i++) {
        aac_tensor_to_f32(&tower->layers[i].first_tensor, parameter++->value);
        if (tower->layers[i].second_tensor.data)
            aac_tensor_to_f32(&tower->layers[i].second_tensor, parameter++->value);
    }
    for (uint32_t i = 0; i < tower->projection_count; i++)
        aac_tensor_to_f32(&tower->projections[i].tensor, parameter++->value);
    if (!text)
        aac_tensor_to_f32(&tower->detection.tensor, parameter->value);
    return AACLIP_OK;
}

aaclip_status aac_trainer_make_parameters(const aaclip_trainer *trainer, aac_parameter_set *set)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(trainer->model);
    bool text = trainer->options.stage == AACLIP_STAGE_TEXT;
    return aac_parameters_make(set, text ? AAC_SIDE_TEXT : AAC_SIDE_IMAGE, &trainer->config,
                               text ? checkpoint->text.width : checkpoint->vision.width,
                               checkpoint->embedding);
}

static aaclip_status make_parameters(aaclip_trainer *trainer)
{
    const aaclip_adapters *initial = trainer->options.initial;
    bool text = trainer->options.stage == AACLIP_STAGE_TEXT;
    aaclip_status status = aac_trainer_make_parameters(trainer, &trainer->parameters);
    if (status)
        return status;
    bool given = text ? aaclip_adapters_has_text(initial) : aaclip_adapters_has_image(initial);
    if (given)
        return copy_initial(trainer);
    aac_initialise_parameters(&trainer->parameters, trainer->options.seed);
    return AACLIP_OK;
}

static void fill_state(aaclip_trainer *trainer)
{
    const aaclip_trainer_options *options = &trainer->options;
    trainer->state = (aac_training_state){
        .seed = options->seed,
        .learning_rate = options->learning_rate,
        .base_learning_rate = options->learning_rate,
        .beta1 = options->beta1,
        .beta2 = options->beta2,
        .epsilon = options->epsilon,
        .gamma = options->gamma,
        .milestone_count = options->milestone_count,
        .config = trainer->config,
        .model_vision_fingerprint = aac_model_vision_fingerprint(trainer->model),
        .text_adapter_fingerprint =
            trainer->cache ? aac_text_cache_adapter_fingerprint(trainer->cache) : 0,
    };
    memcpy(trainer->state.milestones, options->milestones, sizeof options->milestones);
}

static aaclip_status check_dataset(const aaclip_dataset *dataset)
{
    aaclip_status status = aac_dataset_check_training(dataset);
    for (size_t i = 0; !status && i < aaclip_dataset_count(dataset); i++) {
        const aaclip_sample *sample = aaclip_dataset_get(dataset, i);
        if (sample->label == 1 && !sample->mask_path)
            status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                               "%s: expected a mask for this abnormal image, found none",
                               sample->image_path);
    }
    return status;
}

static aaclip_status make_stage(aaclip_trainer *trainer)
{
    const aac_stage_setup setup = {.model = trainer->model,
                                   .cache = trainer->cache,
                                   .config = &trainer->config,
                                   .options = &trainer->options,
                                   .image_size = trainer->image_size,
                                   .parameters = &trainer->parameters,
                                   .gradients = trainer->optimizer.gradients};
    aaclip_status status = trainer->options.stage == AACLIP_STAGE_TEXT
                               ? aac_stage_text_new(&trainer->stage, &setup)
                               : aac_stage_image_new(&trainer->stage, &setup);
    return status ? status : trainer->stage->check(trainer->stage, trainer->dataset);
}

/* With a device, the processors are free for loading images. */
static unsigned choose_loader_threads(const aaclip_trainer *trainer)
{
    const unsigned processors = aac_processor_count(), most = 8;
    if (trainer->options.loader_threads)
        return trainer->options.loader_threads;
    if (!aac_device_is_host(aac_model_dispatch(trainer->model)))
        return processors < most ? processors : most;
    return processors > 2 ? 2 : 1;
}

/* The next call may come from another thread. */
static aaclip_status finish(const aaclip_trainer *trainer, aaclip_status status)
{
    return aac_device_finish(aac_model_dispatch(trainer->model), status);
}

static aaclip_status check_model(const aaclip_trainer *trainer)
{
    const aac_dtype type = aac_model_block_type(trainer->model);
    const aac_checkpoint *checkpoint = aac_model_checkpoint(trainer->model);
    if (type == AAC_I8 || type == AAC_F16)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "aaclip_trainer_new: expected a model opened in f32, tf32, bf16 or auto, "
                         "found %s",
                         type == AAC_I8 ? "int8, which has no gradients"
                                        : "f16, in which small gradients underflow");
    if (trainer->options.stage == AACLIP_STAGE_TEXT && !checkpoint->has_text)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: a deployment bundle has no text tower, so no text adapters can be "
                         "trained; open the checkpoint that it was made from",
                         aac_tensor_file_path(checkpoint->file));
    return AACLIP_OK;
}

/* Whether what the caller gave fits together. */
static aaclip_status check_setup(const aaclip_trainer *trainer)
{
    aaclip_status status = check_model(trainer);
    if (!status && trainer->options.stage == AACLIP_STAGE_IMAGE && !trainer->cache)
        status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                           "aaclip_trainer_new: stage 2 needs a text cache");
    if (!status && trainer->cache)
        status = aac_text_cache_check_model(trainer->cache, trainer->model);
    if (!status)
        status = check_dataset(trainer->dataset);
    return status ? status : aac_adapters_check_model(trainer->options.initial, trainer->model);
}

static aaclip_status make_parts(aaclip_trainer *trainer)
{
    fill_state(trainer);
    trainer->loader_threads = choose_loader_threads(trainer);
    aac_augment_options_init(&trainer->augment, &trainer->config, (int)trainer->options.stage);
    trainer->order = aac_alloc_array(aaclip_dataset_count(trainer->dataset), sizeof(size_t));
    aaclip_status status = trainer->order
                               ? aac_optimizer_make(&trainer->optimizer, &trainer->parameters,
                                                    aac_model_dispatch(trainer->model))
                               : aac_error_memory();
    if (!status)
        status = make_stage(trainer);
    if (!status && trainer->options.log)
        status = aac_appender_open(&trainer->log, trainer->options.log);
    return status;
}

static aaclip_status prepare(aaclip_trainer *trainer, const aaclip_trainer_options *options)
{
    aaclip_status status = aac_trainer_read_options(trainer, options);
    if (!status)
        status = check_setup(trainer);
    if (!status)
        status = aac_model_image_size(trainer->model, trainer->options.image_size,
                                      "aaclip_trainer_options", &trainer->image_size);
    if (!status)
        status = make_parameters(trainer);
    if (!status && trainer->cache)
        status = aac_text_cache_check_config(trainer->cache, &trainer->config);
    trainer->options.initial = NULL; /* already read */
    return status ? status : finish(trainer, make_parts(trainer));
}

aaclip_status aaclip_trainer_new(aaclip_trainer **out, const aaclip_model *model,
                                 const aaclip_dataset *dataset, const aaclip_text_cache *cache,
                                 const aaclip_trainer_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !model || !dataset || !options)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_trainer_new: expected a model, a data set and options");
    aaclip_trainer *trainer = aac_calloc(1, sizeof *trainer);
    if (!trainer)
        return aac_error_memory();
    trainer->model = aac_model_retain(model);
    trainer->dataset = aac_dataset_retain(dataset);
    trainer->cache = cache ? aac_text_cache_retain(cache) : NULL;
    aaclip_status status = prepare(trainer, options);
    if (status)
        aaclip_trainer_close(&trainer);
    *out = trainer;
    return status;
}

void aac_trainer_drop_loader(aaclip_trainer *trainer)
{
    aac_loader_close(&trainer->loader);
}

void aaclip_trainer_close(aaclip_trainer **handle)
{
    if (!handle || !*handle)
        return;
    aaclip_trainer *trainer = *handle;
    *handle = NULL;
    aac_trainer_drop_loader(trainer);
    if (trainer->samples)
        aac_device_free_host(aac_model_dispatch(trainer->model), trainer->samples);
    if (trainer->stage)
        trainer->stage->free(trainer->stage);
    aac_optimizer_clear(&trainer->optimizer);
    aac_parameters_clear(&trainer->parameters);
    aac_training_state_clear(&trainer->state);
    aac_appender_close(&trainer->log);
    aac_free(trainer->order);
    for (size_t i = 0; i < sizeof trainer->texts / sizeof *trainer->texts; i++)
        aac_free(trainer->texts[i]);
    aaclip_text_cache_close(&trainer->cache);
    aaclip_dataset_close(&trainer->dataset);
    aaclip_model_close(&trainer->model);
    aac_free(trainer);
}

static aac_loader_options loader_options(const aaclip_trainer *trainer)
{
    return (aac_loader_options){.image_size = (uint32_t)trainer->image_size,
                                .seed = trainer->state.seed,
                                .epoch = (uint32_t)trainer->state.epoch,
                                .threads = trainer->loader_threads,
                                .ahead = 2 * trainer->loader_threads,
                                .require_masks = true};
}

/* Memory from which a device fetches samples faster; not in a forked process, where it may not be
 * mapped. */
static uint8_t *sample_memory(aaclip_trainer *trainer)
{
    const aac_dispatch *dispatch = aac_model_dispatch(trainer->model);
    const aac_loader_options options = loader_options(trainer);
    if (aac_device_is_host(dispatch) || dispatch->forks != aac_forks())
        return NULL;
    if (!trainer->samples)
        trainer->samples = aac_device_alloc_host(dispatch, aac_loader_memory(&options));
    return trainer->samples;
}

/* Resumes the current epoch's order at its position. */
static aaclip_status resume_epoch(aaclip_trainer *trainer)
{
    size_t count = aaclip_dataset_count(trainer->dataset), done = (size_t)trainer->state.position;
    for (size_t i = 0; i < count; i++)
        trainer->order[i] = i;
    if (!trainer->options.no_shuffle) {
        aac_random random;
        aac_random_seed(&random, trainer->state.seed,
                        aac_random_stream(AAC_RANDOM_SHUFFLE, trainer->state.epoch, 0));
        aac_random_shuffle(&random, trainer->order, count);
    }
    aac_loader_options options = loader_options(trainer);
    options.augment = trainer->options.no_augmentation ? NULL : &trainer->augment;
    options.memory = sample_memory(trainer);
    return aac_loader_open(&trainer->loader, trainer->dataset, trainer->order + done, count - done,
                           &options);
}

/* Losses, and gradients if step->train, of a step's images. */
static aaclip_status compute(aaclip_trainer *trainer, aac_loader *loader, const aac_step *step)
{
    aaclip_status status = trainer->stage->begin(trainer->stage, step);
    for (size_t i = 0; !status && i < step->count; i++) {
        const aac_sample *sample = NULL;
        status = aac_loader_next(loader, &sample);
        if (!status)
            status = trainer->stage->image(trainer->stage, step, sample);
    }
    return status ? status : trainer->stage->end(trainer->stage, step);
}

static aaclip_status check_finite(const aaclip_trainer *trainer, const aaclip_losses *losses)
{
    bool finite = false;
    aaclip_status status = aac_optimizer_finite(&trainer->optimizer, &finite);
    if (status || (isfinite(losses->total) && finite))
        return status;
    return aac_error(AACLIP_ERROR_BACKEND,
                     "step %llu: expected a finite loss and gradient, found loss %g (focal %g, "
                     "dice %g and %g); the adapters were not changed",
                     (unsigned long long)trainer->state.step + 1, losses->total, losses->focal,
                     losses->dice_normal, losses->dice_abnormal);
}

static aaclip_status refresh(const aaclip_trainer *trainer)
{
    return finish(trainer, trainer->stage->refresh(trainer->stage,
                                                   aac_optimizer_values(&trainer->optimizer)));
}

/* Not cancelled once begun. */
static aaclip_status update(aaclip_trainer *trainer)
{
    trainer->stale = true;
    aac_cancel_hold();
    aaclip_status status = aac_optimizer_step(&trainer->optimizer, &trainer->state);
    status = status ? finish(trainer, status) : refresh(trainer);
    aac_cancel_release();
    trainer->stale = status != AACLIP_OK;
    return status;
}

static void advance(aaclip_trainer *trainer, size_t images)
{
    trainer->state.position += images;
    if (trainer->state.position < aaclip_dataset_count(trainer->dataset))
        return;
    trainer->state.position = 0;
    trainer->state.epoch++;
    aac_trainer_drop_loader(trainer);
}

static void fill_progress(const aaclip_trainer *trainer, aaclip_training_progress *progress)
{
    uint64_t done = trainer->state.position / step_images(trainer);
    bool ended = trainer->state.position == 0 && trainer->state.epoch > 0;
    uint64_t steps = aac_trainer_epoch_steps(trainer);
    aac_training_state last = trainer->state; /* before its step */
    last.step -= last.step > 0;
    *progress = (aaclip_training_progress){
        .size = sizeof *progress,
        .stage = trainer->options.stage,
        .epoch = trainer->state.epoch + (ended ? 0 : 1),
        .step = trainer->state.step,
        .epoch_step = ended ? steps : done,
        .epoch_steps = steps,
        .learning_rate = aac_learning_rate(&last),
    };
}

static aaclip_status report(aaclip_trainer *trainer, const aaclip_losses *losses, double seconds)
{
    aaclip_training_progress progress;
    fill_progress(trainer, &progress);
    progress.losses = losses;
    progress.images_per_second = seconds > 0 ? (double)losses->images / seconds : 0;
    aaclip_status status =
        trainer->log ? aac_training_log_write(trainer->log, &progress) : AACLIP_OK;
    if (status || !trainer->options.callback)
        return status;
    trainer->reporting = true;
    const bool goes_on = trainer->options.callback(&progress, trainer->options.callback_user);
    trainer->reporting = false;
    if (goes_on)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_CANCELLED, "training was cancelled after step %llu",
                     (unsigned long long)trainer->state.step);
}

/* *taken: true even if the callback then cancels. */
static aaclip_status run_step(aaclip_trainer *trainer, aaclip_losses *losses, bool *taken)
{
    double started = aac_seconds_now();
    aaclip_status status = aac_cancel_look();
    *taken = false;
    if (trainer->loader && aac_loader_was_left(trainer->loader))
        aac_trainer_drop_loader(trainer);
    if (!status && trainer->stale)
        status = refresh(trainer);
    if (!status && !trainer->loader)
        status = resume_epoch(trainer);
    if (status)
        return status;
    size_t left = aaclip_dataset_count(trainer->dataset) - (size_t)trainer->state.position;
    const aac_step step = {.dataset = trainer->dataset,
                           .samples = trainer->order + trainer->state.position,
                           .count = left < step_images(trainer) ? left : step_images(trainer),
                           .train = true,
                           .losses = losses};
    *losses = (aaclip_losses){.size = sizeof *losses, .images = step.count};
    status = aac_optimizer_zero(&trainer->optimizer);
    if (!status)
        status = compute(trainer, trainer->loader, &step);
    if (!status)
        status = check_finite(trainer, losses);
    if (status) {
        aac_trainer_drop_loader(trainer); /* it is ahead of the position */
        return finish(trainer, status);
    }
    const uint64_t before = trainer->state.step;
    status = update(trainer);
    *taken = !status;
    if (trainer->state.step > before) /* even if something after the step failed */
        advance(trainer, step.count);
    else
        aac_trainer_drop_loader(trainer);
    return status ? status : report(trainer, losses, aac_seconds_now() - started);
}

static aaclip_status give_losses(aaclip_losses *caller, const aaclip_losses *own)
{
    return caller ? aac_options_write(caller, caller->size, own, sizeof *own, "aaclip_losses")
                  : AACLIP_OK;
}

static aaclip_status check_not_reporting(const aaclip_trainer *trainer, const char *call)
{
    if (!trainer->reporting)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                     "%s: a callback cannot train with the trainer that calls it", call);
}

static aaclip_status check_handle(const aaclip_trainer *trainer, const aaclip_losses *losses,
                                  const char *call)
{
    if (!trainer)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: trainer is NULL", call);
    if (losses && !aac_options_has_size(losses->size))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_losses: set size before the call");
    return AACLIP_OK;
}

aaclip_status aaclip_trainer_step(aaclip_trainer *trainer, aaclip_losses *losses)
{
    bool taken;
    aaclip_losses own = {.size = sizeof own};
    aaclip_status status = check_handle(trainer, losses, "aaclip_trainer_step");
    if (!status)
        status = check_not_reporting(trainer, "aaclip_trainer_step");
    if (status)
        return status;
    status = run_step(trainer, &own, &taken);
    if (taken)
        give_losses(losses, &own);
    return status;
}

/* Adds `part` times `weight` to `sum`. */
static void add_weighted(aaclip_losses *sum, const aaclip_losses *part, double weight)
{
    sum->total += weight * part->total;
    sum->focal += weight * part->focal;
    sum->dice_normal += weight * part->dice_normal;
    sum->dice_abnormal += weight * part->dice_abnormal;
    sum->orthogonal += weight * part->orthogonal;
    sum->classification += weight * part->classification;
    sum->images += part->images;
}

/* Divides the sums by the number of images, their total weight. */
static void average(aaclip_losses *sum)
{
    aaclip_losses mean = {.size = sizeof mean};
    uint64_t images = sum->images;
    if (images)
        add_weighted(&mean, sum, 1 / (double)images);
    *sum = mean;
    sum->images = images;
}

aaclip_status aaclip_trainer_epoch(aaclip_trainer *trainer, aaclip_losses *losses)
{
    bool taken;
    aaclip_losses sum = {.size = sizeof sum}, part;
    aaclip_status status = check_handle(trainer, losses, "aaclip_trainer_epoch");
    if (!status)
        status = check_not_reporting(trainer, "aaclip_trainer_epoch");
    if (status)
        return status;
    uint64_t epoch = trainer->state.epoch;
    while (!status && trainer->state.epoch == epoch) {
        status = run_step(trainer, &part, &taken);
        if (!status)
            add_weighted(&sum, &part, (double)part.images);
    }
    average(&sum);
    return status ? status : give_losses(losses, &sum);
}

static aaclip_status evaluate(aaclip_trainer *trainer, const aaclip_dataset *dataset,
                              const size_t *order, aaclip_losses *sum)
{
    size_t count = aaclip_dataset_count(dataset);
    aac_loader *loader = NULL;
    const aac_loader_options options = loader_options(trainer);
    aaclip_status status = aac_loader_open(&loader, dataset, order, count, &options);
    for (size_t first = 0; !status && first < count; first += step_images(trainer)) {
        size_t left = count - first;
        aaclip_losses part = {.size = sizeof part};
        const aac_step step = {.dataset = dataset,
                               .samples = order + first,
                               .count = left < step_images(trainer) ? left : step_images(trainer),
                               .losses = &part};
        status = compute(trainer, loader, &step);
        part.images = step.count;
        add_weighted(sum, &part, (double)part.images);
    }
    aac_loader_close(&loader);
    return status;
}

aaclip_status aaclip_trainer_evaluate(aaclip_trainer *trainer, const aaclip_dataset *dataset,
                                      aaclip_losses *losses)
{
    aaclip_status status = check_handle(trainer, losses, "aaclip_trainer_evaluate");
    if (!status && (!dataset || !losses))
        status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_trainer_evaluate: NULL argument");
    if (!status)
        status = check_dataset(dataset);
    if (!status)
        status = trainer->stage->check(trainer->stage, dataset);
    if (!status && trainer->stale)
        status = refresh(trainer);
    if (status)
        return status;
    size_t count = aaclip_dataset_count(dataset);
    size_t *order = aac_alloc_array(count, sizeof *order);
    if (!order)
        return aac_error_memory();
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    aaclip_losses sum = {.size = sizeof sum};
    status = finish(trainer, evaluate(trainer, dataset, order, &sum));
    aac_free(order);
    average(&sum);
    return status ? status : give_losses(losses, &sum);
}

aaclip_status aaclip_trainer_get_progress(const aaclip_trainer *trainer,
                                          aaclip_training_progress *progress)
{
    if (!trainer || !progress)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_trainer_get_progress: NULL argument");
    aaclip_training_progress own;
    fill_progress(trainer, &own);
    return aac_options_write(progress, progress->size, &own, sizeof own,
                             "aaclip_training_progress");
}

aaclip_status aaclip_trainer_adapters(aaclip_adapters **adapters, const aaclip_trainer *trainer)
{
    if (adapters)
        *adapters = NULL;
    if (!adapters || !trainer)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_trainer_adapters: NULL argument");
    aaclip_status status = aac_optimizer_fetch(&trainer->optimizer);
    if (!status)
        status = aac_stage_adapters(adapters, trainer->model, &trainer->config,
                                    &trainer->parameters, true);
    if (!status && trainer->cache)
        aac_adapters_set_text_fingerprint(*adapters, trainer->state.text_adapter_fingerprint);
    return status;
}
