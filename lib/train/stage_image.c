/*
 * Stage 2: the image adapters learn to see what the finished text vectors name. Loss of an image:
 * cross entropy of its detection feature, and focal and dice of every level's map.
 */
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "model/vision_training.h"
#include "text/text_cache.h"
#include "train/losses.h"
#include "train/stage.h"

#define MOST_IMAGES 8 /* together, on a device */

typedef struct image_stage {
    aac_stage base;
    const aaclip_text_cache *cache;
    const aaclip_model *model;
    aaclip_adapters *adapters;
    aac_vision_encoder *encoder;
    aac_trained_tower *trained;
    aac_vision_training *training;
    aac_map_loss loss;
    int64_t images, filled; /* that run together; that have come for the next run */
    bool streamed;          /* the frozen blocks' weights come again in each run */
    aac_stage_pixels pixels;
    int labels[MOST_IMAGES];
    aac_device_routine forward, backward; /* of full runs of steps of `repeated` images */
    size_t repeated;
    float *features, *feature_gradient;       // (images, levels, patches, embedding), device memory
    aac_mirror detection, detection_gradient; // (images, embedding)
    aac_mirror pair;                          // (images, 2, embedding)
} image_stage;

static const aac_dispatch *dispatch_of(const image_stage *stage)
{
    return aac_model_dispatch(stage->model);
}

/* Values of an image's features. */
static int64_t feature_values(const image_stage *stage)
{
    return stage->loss.rows * stage->loss.embedding;
}

static aaclip_status begin(aac_stage *base, const aac_step *step)
{
    (void)step;
    ((image_stage *)base)->filled = 0;
    return AACLIP_OK;
}

/* Adds the losses of an image's maps; for training, writes the gradients of its features. */
static aaclip_status map_losses(const image_stage *stage, const aac_step *step, int64_t image)
{
    int64_t at = image * feature_values(stage);
    const aac_map_sample maps = {
        .features = stage->features + at,
        .pair = (const float *)stage->pair.device + 2 * image * stage->loss.embedding,
        .mask = stage->pixels.mask + (size_t)image * stage->pixels.count,
        .factor = 1.0f / (float)step->count,
        .feature_gradient = step->train ? stage->feature_gradient + at : NULL,
    };
    return aac_map_loss_run(&stage->loss, &maps);
}

/* Cross entropy of the detection features, with its gradient where the operations are. Images that
 * did not come have none. */
static aaclip_status classify(image_stage *stage, const aac_step *step, double *loss)
{
    const aac_dispatch *dispatch = dispatch_of(stage);
    int64_t embedding = stage->loss.embedding;
    float *gradient = stage->detection_gradient.host;
    aaclip_status status = aac_mirror_fetch(dispatch, &stage->detection);
    if (status)
        return status;
    if (step->train)
        memset(gradient, 0, stage->detection_gradient.bytes);
    for (int64_t i = 0; i < stage->filled; i++)
        *loss += aac_classification_loss((const float *)stage->detection.host + i * embedding,
                                         (const float *)stage->pair.host + 2 * i * embedding,
                                         stage->labels[i], embedding, 1 / (double)step->count,
                                         step->train ? gradient + i * embedding : NULL);
    return step->train ? aac_mirror_send(dispatch, &stage->detection_gradient) : AACLIP_OK;
}

/* Sums over images. */
static void add_losses(const aac_step *step, const double sums[3], double classification)
{
    double share = 1 / (double)step->count;
    step->losses->focal += share * sums[0];
    step->losses->dice_normal += share * sums[1];
    step->losses->dice_abnormal += share * sums[2];
    step->losses->classification += share * classification;
    step->losses->total += share * (sums[0] + sums[1] + sums[2] + classification);
}

typedef struct stage_run {
    image_stage *stage;
    const aac_step *step;
    bool repeats;
} stage_run;

/* From pixels and pairs to the sums of the losses and the gradients of the features; nothing waits
 * on the way. In the place of images that have not come, whatever was there runs along. */
static aaclip_status run_forward(void *user)
{
    const stage_run *run = user;
    image_stage *stage = run->stage;
    aaclip_status status = aac_vision_training_forward(stage->training, stage->pixels.rgb,
                                                       stage->features, stage->detection.device);
    if (!status)
        status = aac_map_loss_begin(&stage->loss);
    for (int64_t i = 0; !status && i < stage->filled; i++)
        status = map_losses(stage, run->step, i);
    return status;
}

/* Images that have not come have no gradient. */
static aaclip_status run_backward(void *user)
{
    image_stage *stage = ((const stage_run *)user)->stage;
    int64_t values = feature_values(stage), missing = stage->images - stage->filled;
    aaclip_status status = AACLIP_OK;
    if (missing)
        status =
            aac_device_clear(dispatch_of(stage), stage->feature_gradient + stage->filled * values,
                             (size_t)(missing * values) * sizeof *stage->feature_gradient);
    return status ? status
                  : aac_vision_training_backward(stage->training, stage->feature_gradient,
                                                 stage->detection_gradient.device);
}

static void forget(image_stage *stage)
{
    aac_device_routine_clear(dispatch_of(stage), &stage->forward);
    aac_device_routine_clear(dispatch_of(stage), &stage->backward);
}

/* Whether this run is like the one before, whose losses had the same factor. */
static bool repeats(image_stage *stage, const aac_step *step)
{
    if (!step->train || stage->filled < stage->images || stage->streamed)
        return false;
    if (stage->repeated != step->count)
        forget(stage);
    stage->repeated = step->count;
    return true;
}

static aaclip_status ask(stage_run *run, aac_device_routine *routine,
                         aaclip_status (*operations)(void *user))
{
    return run->repeats ? aac_device_repeat(dispatch_of(run->stage), routine, operations, run)
                        : operations(run);
}

/* The images that have come, forward and back. */
static aaclip_status run(image_stage *stage, const aac_step *step)
{
    stage_run own = {stage, step, repeats(stage, step)};
    double sums[3] = {0}, classification = 0;
    aaclip_status status = aac_mirror_send(dispatch_of(stage), &stage->pair);
    if (!status)
        status = ask(&own, &stage->forward, run_forward);
    if (!status)
        status = classify(stage, step, &classification);
    if (!status && step->train)
        status = ask(&own, &stage->backward, run_backward);
    if (!status)
        status = aac_map_loss_end(&stage->loss, sums);
    if (!status)
        add_losses(step, sums, classification);
    stage->filled = 0;
    return status;
}

static aaclip_status image(aac_stage *base, const aac_step *step, const aac_sample *sample)
{
    image_stage *stage = (image_stage *)base;
    float *pair = (float *)stage->pair.host + 2 * stage->filled * stage->loss.embedding;
    aaclip_status status =
        aaclip_text_cache_get(stage->cache, sample->class_name, pair, pair + stage->loss.embedding);
    if (!status)
        status = aac_stage_pixels_send(&stage->pixels, sample, stage->filled);
    if (status)
        return status;
    stage->labels[stage->filled++] = sample->label;
    return stage->filled == stage->images ? run(stage, step) : AACLIP_OK;
}

static aaclip_status end(aac_stage *base, const aac_step *step)
{
    image_stage *stage = (image_stage *)base;
    return stage->filled ? run(stage, step) : AACLIP_OK;
}

/* Values of the host's are packed anew, into other weights than were recorded. */
static aaclip_status refresh(aac_stage *base, const float *values)
{
    if (!values)
        forget((image_stage *)base);
    return aac_adapters_refresh(((image_stage *)base)->adapters, values);
}

static aaclip_status check(aac_stage *base, const aaclip_dataset *dataset)
{
    const image_stage *stage = (const image_stage *)base;
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < aaclip_dataset_class_count(dataset); i++)
        status =
            aaclip_text_cache_get(stage->cache, aaclip_dataset_class_name(dataset, i), NULL, NULL);
    return status;
}

static void free_stage(aac_stage *base)
{
    image_stage *stage = (image_stage *)base;
    forget(stage);
    aac_vision_training_free(&stage->training);
    aac_trained_tower_free(&stage->trained);
    aac_vision_encoder_free(&stage->encoder);
    aaclip_adapters_close(&stage->adapters);
    aac_map_loss_clear(&stage->loss);
    aac_mirror *const mirrors[] = {&stage->detection, &stage->detection_gradient, &stage->pair};
    for (size_t i = 0; i < sizeof mirrors / sizeof *mirrors; i++)
        aac_mirror_free(dispatch_of(stage), mirrors[i]);
    aac_device_free(dispatch_of(stage), stage->features);
    aac_device_free(dispatch_of(stage), stage->feature_gradient);
    aac_stage_pixels_clear(&stage->pixels);
    aac_free(stage);
}

static aaclip_status allocate(image_stage *stage, int64_t image_size)
{
    const aac_dispatch *dispatch = dispatch_of(stage);
    size_t bytes = (size_t)stage->loss.embedding * sizeof(float);
    size_t images = (size_t)stage->images;
    size_t features = images * (size_t)feature_values(stage) * sizeof(float);
    stage->features = aac_device_alloc(dispatch, features);
    stage->feature_gradient = aac_device_alloc(dispatch, features);
    if (!stage->features || !stage->feature_gradient)
        return aac_device_error(dispatch);
    aaclip_status status = aac_mirror_new(dispatch, &stage->detection, images * bytes);
    if (!status)
        status = aac_mirror_new(dispatch, &stage->detection_gradient, images * bytes);
    if (!status)
        status = aac_mirror_new(dispatch, &stage->pair, images * 2 * bytes);
    return status ? status
                  : aac_stage_pixels_make(&stage->pixels, dispatch, image_size, stage->images);
}

static aaclip_status prepare(image_stage *stage, const aac_stage_setup *setup)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(setup->model);
    aaclip_status status =
        aac_stage_adapters(&stage->adapters, setup->model, setup->config, setup->parameters, false);
    const aac_vision_setup vision = {.adapters = stage->adapters,
                                     .config = setup->config,
                                     .image_size = setup->image_size,
                                     .images = stage->images,
                                     .training = true,
                                     .streamed = stage->streamed};
    if (!status)
        status = aac_vision_encoder_new(&stage->encoder, setup->model, &vision);
    if (!status)
        status = aac_trained_tower_new(&stage->trained, aac_adapters_image(stage->adapters),
                                       setup->gradients);
    if (!status)
        status = aac_vision_training_new(&stage->training, stage->encoder, stage->trained,
                                         setup->options->recompute);
    if (!status)
        status = aac_map_loss_make(&stage->loss, aac_model_dispatch(setup->model),
                                   setup->config->level_count,
                                   setup->image_size / checkpoint->patch, setup->image_size,
                                   checkpoint->embedding, setup->options->balanced_focal);
    return status ? status : allocate(stage, setup->image_size);
}

/* Of a step, on a device; in the memory of the host they take turns. */
static int64_t images_together(const aac_stage_setup *setup)
{
    int64_t step = (int64_t)setup->options->batch_size * setup->options->accumulate;
    if (aac_device_is_host(aac_model_dispatch(setup->model)))
        return 1;
    return step < MOST_IMAGES ? step : MOST_IMAGES;
}

/* With `recompute`; on a device the blocks stay, which costs less memory than sending them time. */
static bool is_streamed(const aac_stage_setup *setup)
{
    return setup->options->recompute && aac_device_is_host(aac_model_dispatch(setup->model));
}

static aaclip_status make(aac_stage **out, const aac_stage_setup *setup, int64_t images)
{
    *out = NULL;
    image_stage *stage = aac_calloc(1, sizeof *stage);
    if (!stage)
        return aac_error_memory();
    stage->base = (aac_stage){aac_text_cache_prompt_fingerprint(setup->cache),
                              begin,
                              image,
                              end,
                              refresh,
                              check,
                              free_stage};
    stage->cache = setup->cache;
    stage->model = setup->model;
    stage->images = images;
    stage->streamed = is_streamed(setup);
    aac_text_cache_rest(stage->cache);
    aaclip_status status = prepare(stage, setup);
    if (status) {
        free_stage(&stage->base);
        return status;
    }
    *out = &stage->base;
    return AACLIP_OK;
}

aaclip_status aac_stage_image_new(aac_stage **out, const aac_stage_setup *setup)
{
    int64_t images = images_together(setup);
    aaclip_status status = make(out, setup, images);
    while (status == AACLIP_ERROR_OUT_OF_MEMORY && images > 1) {
        images = (images + 1) / 2;
        status = make(out, setup, images);
    }
    return status;
}
