/*
 * Stage 2: the image adapters learn to see what the finished text vectors name. Loss of an image:
 * cross entropy of its detection feature, and focal and dice of every level's map.
 */
#include "core/error.h"
#include "core/memory.h"
#include "model/vision_training.h"
#include "text/text_cache.h"
#include "train/losses.h"
#include "train/stage.h"

typedef struct image_stage {
    aac_stage base;
    const aaclip_text_cache *cache;
    const aaclip_model *model;
    aaclip_adapters *adapters;
    aac_vision_encoder *encoder;
    aac_trained_tower *trained;
    aac_vision_training *training;
    aac_map_loss loss;
    uint32_t levels;
    aac_stage_pixels pixels;
    float *features, *feature_gradient;       // (levels, patches, embedding), device memory
    aac_mirror detection, detection_gradient; // (embedding)
    aac_mirror pair;                          // (2, embedding)
} image_stage;

static const aac_dispatch *dispatch_of(const image_stage *stage)
{
    return aac_model_dispatch(stage->model);
}

static aaclip_status begin(aac_stage *base, const aac_step *step)
{
    (void)base, (void)step;
    return AACLIP_OK;
}

static aaclip_status map_losses(image_stage *stage, const aac_step *step, double sums[3])
{
    int64_t level_size = stage->loss.patches * stage->loss.embedding;
    aaclip_status status = aac_map_loss_begin(&stage->loss);
    for (uint32_t level = 0; !status && level < stage->levels; level++) {
        const aac_map_sample map = {
            .features = stage->features + level * level_size,
            .pair = stage->pair.device,
            .mask = stage->pixels.mask,
            .factor = 1.0f / (float)step->count,
            .feature_gradient = step->train ? stage->feature_gradient + level * level_size : NULL,
        };
        status = aac_map_loss_run(&stage->loss, &map);
    }
    return status ? status : aac_map_loss_end(&stage->loss, sums);
}

/* Pixels and pair to where the operations are. */
static aaclip_status send(image_stage *stage, const aac_sample *sample)
{
    float *pair = stage->pair.host;
    aaclip_status status =
        aaclip_text_cache_get(stage->cache, sample->class_name, pair, pair + stage->loss.embedding);
    if (!status)
        status = aac_mirror_send(dispatch_of(stage), &stage->pair);
    return status ? status : aac_stage_pixels_send(&stage->pixels, sample);
}

/* Cross entropy of the detection feature, with its gradient where the operations are. */
static aaclip_status classify(image_stage *stage, const aac_step *step, const aac_sample *sample,
                              double *loss)
{
    aaclip_status status = aac_mirror_fetch(dispatch_of(stage), &stage->detection);
    if (status)
        return status;
    *loss = aac_classification_loss(stage->detection.host, stage->pair.host, sample->label,
                                    stage->loss.embedding, 1 / (double)step->count,
                                    step->train ? stage->detection_gradient.host : NULL);
    return step->train ? aac_mirror_send(dispatch_of(stage), &stage->detection_gradient)
                       : AACLIP_OK;
}

static void add_losses(const aac_step *step, const double sums[3], double classification)
{
    double share = 1 / (double)step->count;
    step->losses->focal += share * sums[0];
    step->losses->dice_normal += share * sums[1];
    step->losses->dice_abnormal += share * sums[2];
    step->losses->classification += share * classification;
    step->losses->total += share * (sums[0] + sums[1] + sums[2] + classification);
}

static aaclip_status image(aac_stage *base, const aac_step *step, const aac_sample *sample)
{
    image_stage *stage = (image_stage *)base;
    double sums[3] = {0}, classification = 0;
    aaclip_status status = send(stage, sample);
    if (!status)
        status = aac_vision_training_forward(stage->training, stage->pixels.rgb, stage->features,
                                             stage->detection.device);
    if (!status)
        status = map_losses(stage, step, sums);
    if (!status)
        status = classify(stage, step, sample, &classification);
    if (status)
        return status;
    add_losses(step, sums, classification);
    return step->train ? aac_vision_training_backward(stage->training, stage->feature_gradient,
                                                      stage->detection_gradient.device)
                       : AACLIP_OK;
}

static aaclip_status end(aac_stage *base, const aac_step *step)
{
    (void)base, (void)step;
    return AACLIP_OK;
}

static aaclip_status refresh(aac_stage *base, const float *values)
{
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
    size_t features = stage->levels * (size_t)stage->loss.patches * bytes;
    stage->features = aac_device_alloc(dispatch, features);
    stage->feature_gradient = aac_device_alloc(dispatch, features);
    if (!stage->features || !stage->feature_gradient)
        return aac_device_error(dispatch);
    aaclip_status status = aac_mirror_new(dispatch, &stage->detection, bytes);
    if (!status)
        status = aac_mirror_new(dispatch, &stage->detection_gradient, bytes);
    if (!status)
        status = aac_mirror_new(dispatch, &stage->pair, 2 * bytes);
    return status ? status : aac_stage_pixels_make(&stage->pixels, dispatch, image_size);
}

static aaclip_status prepare(image_stage *stage, const aac_stage_setup *setup)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(setup->model);
    stage->levels = setup->config->level_count;
    aaclip_status status =
        aac_stage_adapters(&stage->adapters, setup->model, setup->config, setup->parameters, false);
    const aac_vision_setup vision = {.adapters = stage->adapters,
                                     .config = setup->config,
                                     .image_size = setup->image_size,
                                     .training = true,
                                     .streamed = setup->options->recompute};
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
                                   setup->image_size / checkpoint->patch, setup->image_size,
                                   checkpoint->embedding, setup->options->balanced_focal);
    return status ? status : allocate(stage, setup->image_size);
}

aaclip_status aac_stage_image_new(aac_stage **out, const aac_stage_setup *setup)
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
    aac_text_cache_rest(stage->cache);
    aaclip_status status = prepare(stage, setup);
    if (status) {
        free_stage(&stage->base);
        return status;
    }
    *out = &stage->base;
    return AACLIP_OK;
}
