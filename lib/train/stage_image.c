/*
 * Stage 2: the image adapters learn to match the fixed text vectors. Loss of an image: cross
 * entropy of its detection feature, plus focal and dice losses of every level's map.
 */
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
    int64_t images, filled; /* that run together; received for the next run */
    bool streamed;          /* the frozen blocks' weights are loaded again in each run */
    aac_stage_pixels pixels;
    aac_device_routine routine; /* for full runs in steps of `repeated` images */
    size_t repeated;
    aac_plan *classify;
    /* In device memory: */
    float *features, *feature_gradient;    // (images, levels, patches, embedding)
    float *detection, *detection_gradient; // (images, embedding)
    aac_mirror classes; // pairs (images, 2, embedding), then labels (images) as int32_t
} image_stage;

/* What the images are compared with, in host or device memory. */
typedef struct image_classes {
    float *pairs;
    int32_t *labels;
} image_classes;

static const aac_dispatch *dispatch_of(const image_stage *stage)
{
    return aac_model_dispatch(stage->model);
}

/* Values of an image's features. */
static int64_t feature_values(const image_stage *stage)
{
    return stage->loss.rows * stage->loss.embedding;
}

static image_classes classes_in(const image_stage *stage, void *memory)
{
    float *pairs = memory;
    return (image_classes){pairs,
                           (int32_t *)(void *)(pairs + stage->images * 2 * stage->loss.embedding)};
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
        .pair = classes_in(stage, stage->classes.device).pairs + 2 * image * stage->loss.embedding,
        .mask = stage->pixels.mask + (size_t)image * stage->pixels.count,
        .factor = 1.0f / (float)step->count,
        .feature_gradient = step->train ? stage->feature_gradient + at : NULL,
    };
    return aac_map_loss_run(&stage->loss, &maps);
}

/* The same for the detection features. Missing images have no loss and no gradient. */
static aaclip_status classify(const image_stage *stage, const aac_step *step)
{
    const image_classes classes = classes_in(stage, stage->classes.device);
    const aac_op_args args = {.x = stage->detection,
                              .a = classes.pairs,
                              .index = classes.labels,
                              .factor = 1.0f / (float)step->count,
                              .losses = aac_map_loss_class_sum(&stage->loss),
                              .y = step->train ? stage->detection_gradient : NULL};
    return aac_run(stage->classify, &args, NULL);
}

/* Sums over images. */
static void add_losses(const aac_step *step, const double sums[4])
{
    double share = 1 / (double)step->count;
    step->losses->focal += share * sums[0];
    step->losses->dice_normal += share * sums[1];
    step->losses->dice_abnormal += share * sums[2];
    step->losses->classification += share * sums[3];
    step->losses->total += share * (sums[0] + sums[1] + sums[2] + sums[3]);
}

typedef struct stage_run {
    image_stage *stage;
    const aac_step *step;
} stage_run;

/* Missing images have no gradient. */
static aaclip_status run_backward(const image_stage *stage)
{
    int64_t values = feature_values(stage), missing = stage->images - stage->filled;
    aaclip_status status = AACLIP_OK;
    if (missing)
        status =
            aac_device_clear(dispatch_of(stage), stage->feature_gradient + stage->filled * values,
                             (size_t)(missing * values) * sizeof *stage->feature_gradient);
    return status ? status
                  : aac_vision_training_backward(stage->training, stage->feature_gradient,
                                                 stage->detection_gradient);
}

/* From pixels and classes to the sums of the losses and the gradients; does not wait in between. In
 * place of missing images, stale data is processed. */
static aaclip_status run_network(void *user)
{
    const stage_run *run = user;
    image_stage *stage = run->stage;
    aaclip_status status = aac_vision_training_forward(stage->training, stage->pixels.rgb,
                                                       stage->features, stage->detection);
    if (!status)
        status = aac_map_loss_begin(&stage->loss);
    for (int64_t i = 0; !status && i < stage->filled; i++)
        status = map_losses(stage, run->step, i);
    if (!status)
        status = classify(stage, run->step);
    return status || !run->step->train ? status : run_backward(stage);
}

static void forget(image_stage *stage)
{
    aac_device_routine_clear(dispatch_of(stage), &stage->routine);
}

/* Whether this run can be replayed; drops a recording whose losses had another factor. */
static bool repeats(image_stage *stage, const aac_step *step)
{
    if (!step->train || stage->filled < stage->images || stage->streamed)
        return false;
    if (stage->repeated != step->count)
        forget(stage);
    stage->repeated = step->count;
    return true;
}

/* The received images, forward and backward. */
static aaclip_status run(image_stage *stage, const aac_step *step)
{
    const aac_dispatch *dispatch = dispatch_of(stage);
    stage_run own = {stage, step};
    double sums[4] = {0};
    for (int64_t i = stage->filled; i < stage->images; i++)
        classes_in(stage, stage->classes.host).labels[i] = -1;
    aaclip_status status = aac_mirror_send(dispatch, &stage->classes);
    if (!status)
        status = repeats(stage, step)
                     ? aac_device_repeat(dispatch, &stage->routine, run_network, &own)
                     : run_network(&own);
    if (!status)
        status = aac_map_loss_end(&stage->loss, sums);
    if (!status)
        add_losses(step, sums);
    stage->filled = 0;
    return status;
}

static aaclip_status image(aac_stage *base, const aac_step *step, const aac_sample *sample)
{
    image_stage *stage = (image_stage *)base;
    const image_classes classes = classes_in(stage, stage->classes.host);
    float *pair = classes.pairs + 2 * stage->filled * stage->loss.embedding;
    aaclip_status status =
        aaclip_text_cache_get(stage->cache, sample->class_name, pair, pair + stage->loss.embedding);
    if (!status)
        status = aac_stage_pixels_send(&stage->pixels, sample, stage->filled);
    if (status)
        return status;
    classes.labels[stage->filled++] = sample->label;
    return stage->filled == stage->images ? run(stage, step) : AACLIP_OK;
}

static aaclip_status end(aac_stage *base, const aac_step *step)
{
    image_stage *stage = (image_stage *)base;
    return stage->filled ? run(stage, step) : AACLIP_OK;
}

/* Host values are packed into new weights, which invalidates the recording. */
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
    float *const arrays[] = {stage->features, stage->feature_gradient, stage->detection,
                             stage->detection_gradient};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        aac_device_free(dispatch_of(stage), arrays[i]);
    aac_mirror_free(dispatch_of(stage), &stage->classes);
    aac_plan_free(&stage->classify);
    aac_stage_pixels_clear(&stage->pixels);
    aac_free(stage);
}

static aaclip_status allocate(image_stage *stage, int64_t image_size)
{
    const aac_dispatch *dispatch = dispatch_of(stage);
    size_t images = (size_t)stage->images, embedding = (size_t)stage->loss.embedding;
    size_t features = images * (size_t)feature_values(stage);
    stage->features = aac_device_alloc_array(dispatch, features, sizeof(float));
    stage->feature_gradient = aac_device_alloc_array(dispatch, features, sizeof(float));
    stage->detection = aac_device_alloc_array(dispatch, images * embedding, sizeof(float));
    stage->detection_gradient = aac_device_alloc_array(dispatch, images * embedding, sizeof(float));
    if (!stage->features || !stage->feature_gradient || !stage->detection ||
        !stage->detection_gradient)
        return aac_device_error(dispatch);
    const aac_op_desc desc = {.op = AAC_OP_CLASSIFICATION_LOSS,
                              .classification_loss = {stage->images, stage->loss.embedding}};
    aaclip_status status = aac_dispatch_plan(dispatch, &stage->classify, &desc);
    if (!status)
        status = aac_mirror_new(dispatch, &stage->classes,
                                images * (2 * embedding * sizeof(float) + sizeof(int32_t)));
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

/* Those of a step on a device; one at a time in host memory. */
static int64_t images_together(const aac_stage_setup *setup)
{
    int64_t step = (int64_t)setup->options->batch_size * setup->options->accumulate;
    if (aac_device_is_host(aac_model_dispatch(setup->model)))
        return 1;
    return step < MOST_IMAGES ? step : MOST_IMAGES;
}

/* With `recompute`; but on a device the blocks stay: sending them twice per step is far slower. */
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
    aaclip_status status = aac_text_cache_rest(stage->cache);
    if (!status)
        status = prepare(stage, setup);
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
