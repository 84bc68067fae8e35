/*
 * Stage 1: the text adapters learn "normal" and "abnormal" against features of the frozen image
 * tower. Loss of a step: focal and dice losses of the maps, plus the orthogonality loss of its
 * pairs.
 */
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "model/vision_encoder.h"
#include "text/phrases.h"
#include "text/text_cache.h"
#include "text/text_training.h"
#include "train/losses.h"
#include "train/stage.h"

/* A class: its planned prompts, and its data in a step. */
typedef struct text_class {
    char *name;
    aac_class_tokens tokens;
    aac_token_batch batch;
    aac_text_training *training;
    bool in_step;
    aac_mirror vectors;       // (prompts, embedding): rows of unit length, then their gradients
    aac_mirror pair;          // (2, embedding)
    aac_mirror pair_gradient; // (2, embedding)
    double norms[2];          /* of the means, before they were normalised */
} text_class;

typedef struct text_stage {
    aac_stage base;
    const aaclip_model *model;
    aaclip_config config;
    aaclip_scales scales;
    double orthogonal_weight;
    const char *phrases; /* the trainer's copy */
    aaclip_adapters *adapters;
    aaclip_text_cache *cache; /* tokenizer, prompts, tower */
    const aac_text_tower *tower;
    aac_vision_encoder *encoder;
    aac_trained_tower *trained;
    aac_map_loss loss;
    text_class **classes;
    size_t class_count, class_capacity;
    double product; /* sum of normal . abnormal over the step's images */
    aac_stage_pixels pixels;
    float *features;      // (levels, patches, embedding), in device memory, as the following
    float *class_feature; // (embedding)
    char *vision_workspace, *text_workspace;
    size_t text_workspace_size;
} text_stage;

static const aac_dispatch *dispatch_of(const text_stage *stage)
{
    return aac_model_dispatch(stage->model);
}

static void free_class(const text_stage *stage, text_class *item)
{
    if (!item)
        return;
    aac_mirror *const mirrors[] = {&item->vectors, &item->pair, &item->pair_gradient};
    for (size_t i = 0; i < sizeof mirrors / sizeof *mirrors; i++)
        aac_mirror_free(dispatch_of(stage), mirrors[i]);
    aac_text_training_free(&item->training);
    aac_class_tokens_clear(&item->tokens);
    aac_free(item->name);
    aac_free(item);
}

static aaclip_status tokenize_class(text_stage *stage, text_class *item)
{
    char *phrase;
    aaclip_status status = aac_phrase_of_class(&phrase, stage->phrases, item->name);
    if (!status)
        status = aac_text_cache_tokens(stage->cache, phrase, &item->tokens, &stage->tower);
    aac_free(phrase);
    item->batch = (aac_token_batch){item->tokens.ids, item->tokens.offsets,
                                    (int64_t)(item->tokens.normal + item->tokens.abnormal)};
    return status;
}

static aaclip_status allocate_class(text_stage *stage, text_class *item)
{
    const aac_dispatch *dispatch = dispatch_of(stage);
    size_t bytes = (size_t)stage->loss.embedding * sizeof(float);
    aaclip_status status =
        aac_mirror_new(dispatch, &item->vectors, (size_t)item->batch.prompts * bytes);
    if (!status)
        status = aac_mirror_new(dispatch, &item->pair, 2 * bytes);
    if (!status)
        status = aac_mirror_new(dispatch, &item->pair_gradient, 2 * bytes);
    size_t needed = aac_text_training_workspace(item->training);
    if (status || needed <= stage->text_workspace_size)
        return status;
    char *larger = aac_device_alloc(dispatch, needed);
    if (!larger)
        return aac_device_error(dispatch);
    aac_device_free(dispatch, stage->text_workspace);
    stage->text_workspace = larger;
    stage->text_workspace_size = needed;
    return AACLIP_OK;
}

static aaclip_status new_class(text_stage *stage, text_class **out, const char *name)
{
    text_class *item = *out = aac_calloc(1, sizeof *item);
    if (!item)
        return aac_error_memory();
    item->name = aac_strdup(name);
    aaclip_status status = item->name ? tokenize_class(stage, item) : aac_error_memory();
    if (!status)
        status = aac_text_training_new(&item->training, stage->model, stage->tower, stage->adapters,
                                       &stage->config, &item->batch, stage->trained);
    return status ? status : allocate_class(stage, item);
}

static aaclip_status reserve_class(text_stage *stage)
{
    text_class **classes =
        aac_grow(stage->classes, &stage->class_capacity, stage->class_count + 1, sizeof *classes);
    if (!classes)
        return aac_error_memory();
    stage->classes = classes;
    return AACLIP_OK;
}

static aaclip_status find_class(text_stage *stage, text_class **found, const char *name)
{
    for (size_t i = 0; i < stage->class_count; i++)
        if (strcmp(stage->classes[i]->name, name) == 0) {
            *found = stage->classes[i];
            return AACLIP_OK;
        }
    aaclip_status status = reserve_class(stage);
    if (status)
        return status;
    status = new_class(stage, found, name);
    if (status)
        free_class(stage, *found);
    else
        stage->classes[stage->class_count++] = *found;
    return status;
}

/* The class's pair from its prompts' vectors. */
static aaclip_status forward_class(text_stage *stage, text_class *item)
{
    int64_t embedding = stage->loss.embedding;
    size_t normal = item->tokens.normal, abnormal = item->tokens.abnormal;
    bool unit = stage->config.normalize_class_vector;
    const aac_dispatch *dispatch = dispatch_of(stage);
    const float *vectors = item->vectors.host;
    float *pair = item->pair.host;
    aaclip_status status =
        aac_text_training_forward(item->training, item->vectors.device, stage->text_workspace);
    if (!status)
        status = aac_mirror_fetch(dispatch, &item->vectors);
    if (status)
        return status;
    item->norms[0] = aac_class_vector(vectors, normal, embedding, unit, pair);
    item->norms[1] = aac_class_vector(vectors + normal * (size_t)embedding, abnormal, embedding,
                                      unit, pair + embedding);
    status = aac_mirror_send(dispatch, &item->pair);
    if (!status)
        status = aac_device_clear(dispatch, item->pair_gradient.device, item->pair_gradient.bytes);
    item->in_step = !status;
    return status;
}

static aaclip_status begin(aac_stage *base, const aac_step *step)
{
    text_stage *stage = (text_stage *)base;
    aaclip_status status = AACLIP_OK;
    stage->product = 0;
    for (size_t i = 0; i < stage->class_count; i++)
        stage->classes[i]->in_step = false;
    for (size_t i = 0; !status && i < step->count; i++) {
        text_class *item = NULL;
        const aaclip_sample *sample = aaclip_dataset_get(step->dataset, step->samples[i]);
        status = find_class(stage, &item, sample->class_name);
        if (!status && !item->in_step)
            status = forward_class(stage, item);
        if (!status)
            stage->product += aac_pair_product(item->pair.host, stage->loss.embedding);
    }
    return status;
}

static aaclip_status image(aac_stage *base, const aac_step *step, const aac_sample *sample)
{
    text_stage *stage = (text_stage *)base;
    text_class *item = NULL;
    double sums[4] = {0}, share = 1 / (double)step->count;
    aaclip_status status = find_class(stage, &item, sample->class_name);
    if (!status)
        status = aac_stage_pixels_send(&stage->pixels, sample, 0);
    if (!status)
        status = aac_vision_encoder_run_surgery(stage->encoder, stage->pixels.rgb, stage->features,
                                                stage->class_feature, stage->vision_workspace);
    if (!status)
        status = aac_map_loss_begin(&stage->loss);
    if (status)
        return status;
    int64_t left_out = stage->config.level_count * stage->loss.patches - stage->loss.rows;
    const aac_map_sample maps = {
        .features = stage->features + left_out * stage->loss.embedding,
        .class_feature = stage->class_feature,
        .pair = item->pair.device,
        .mask = stage->pixels.mask,
        .factor = (float)share,
        .pair_gradient = step->train ? item->pair_gradient.device : NULL,
    };
    status = aac_map_loss_run(&stage->loss, &maps);
    if (!status)
        status = aac_map_loss_end(&stage->loss, sums);
    if (status)
        return status;
    step->losses->focal += share * sums[0];
    step->losses->dice_normal += share * sums[1];
    step->losses->dice_abnormal += share * sums[2];
    step->losses->total += share * (sums[0] + sums[1] + sums[2]);
    return AACLIP_OK;
}

/* Adds 2 * mean / count * (abnormal, normal) for each image of a class. */
static void add_orthogonal(text_stage *stage, const aac_step *step, double mean)
{
    int64_t embedding = stage->loss.embedding;
    double factor = stage->orthogonal_weight * 2 * mean / (double)step->count;
    for (size_t i = 0; i < step->count; i++) {
        text_class *item = NULL;
        const aaclip_sample *sample = aaclip_dataset_get(step->dataset, step->samples[i]);
        if (find_class(stage, &item, sample->class_name))
            return; /* cannot happen: begin() found it */
        const float *pair = item->pair.host;
        float *gradient = item->pair_gradient.host;
        for (int64_t j = 0; j < embedding; j++) {
            gradient[j] += (float)(factor * (double)pair[embedding + j]);
            gradient[embedding + j] += (float)(factor * (double)pair[j]);
        }
    }
}

static aaclip_status backward_class(text_stage *stage, text_class *item)
{
    int64_t embedding = stage->loss.embedding;
    size_t normal = item->tokens.normal, abnormal = item->tokens.abnormal;
    bool unit = stage->config.normalize_class_vector;
    const float *pair = item->pair.host, *gradient = item->pair_gradient.host;
    float *vectors = item->vectors.host;
    aac_class_vector_backward(pair, gradient, item->norms[0], normal, embedding, unit, vectors);
    aac_class_vector_backward(pair + embedding, gradient + embedding, item->norms[1], abnormal,
                              embedding, unit, vectors + normal * (size_t)embedding);
    aaclip_status status = aac_mirror_send(dispatch_of(stage), &item->vectors);
    return status ? status
                  : aac_text_training_backward(item->training, item->vectors.device,
                                               stage->text_workspace);
}

static aaclip_status end(aac_stage *base, const aac_step *step)
{
    text_stage *stage = (text_stage *)base;
    double mean = stage->product / (double)step->count;
    step->losses->orthogonal += mean * mean;
    step->losses->total += stage->orthogonal_weight * mean * mean;
    aaclip_status status = AACLIP_OK;
    if (!step->train)
        return status;
    for (size_t i = 0; !status && i < stage->class_count; i++)
        if (stage->classes[i]->in_step)
            status = aac_mirror_fetch(dispatch_of(stage), &stage->classes[i]->pair_gradient);
    if (status)
        return status;
    add_orthogonal(stage, step, mean);
    for (size_t i = 0; !status && i < stage->class_count; i++)
        if (stage->classes[i]->in_step)
            status = backward_class(stage, stage->classes[i]);
    return status;
}

static aaclip_status refresh(aac_stage *base, const float *values)
{
    return aac_adapters_refresh(((text_stage *)base)->adapters, values);
}

static aaclip_status check(aac_stage *base, const aaclip_dataset *dataset)
{
    aaclip_status status = AACLIP_OK;
    text_class *item = NULL;
    for (size_t i = 0; !status && i < aaclip_dataset_class_count(dataset); i++)
        status = find_class((text_stage *)base, &item, aaclip_dataset_class_name(dataset, i));
    return status;
}

static void free_stage(aac_stage *base)
{
    text_stage *stage = (text_stage *)base;
    for (size_t i = 0; i < stage->class_count; i++)
        free_class(stage, stage->classes[i]);
    aac_free(stage->classes);
    aac_trained_tower_free(&stage->trained);
    aac_vision_encoder_free(&stage->encoder);
    aaclip_text_cache_close(&stage->cache);
    aaclip_adapters_close(&stage->adapters);
    aac_map_loss_clear(&stage->loss);
    void *const arrays[] = {stage->features, stage->class_feature, stage->vision_workspace,
                            stage->text_workspace};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        aac_device_free(dispatch_of(stage), arrays[i]);
    aac_stage_pixels_clear(&stage->pixels);
    aac_free(stage);
}

/* 19 of 24 blocks, in proportion. */
static uint32_t surgery_blocks(const aac_stage_setup *setup)
{
    uint32_t layers = (uint32_t)aac_model_checkpoint(setup->model)->vision.layers;
    return setup->options->surgery_blocks ? setup->options->surgery_blocks : layers * 19 / 24;
}

static aaclip_status prepare_text(text_stage *stage, const aac_stage_setup *setup)
{
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.vocabulary = setup->options->vocabulary;
    options.prompts = setup->options->prompts;
    options.truncate = setup->options->truncate;
    aaclip_status status =
        aac_stage_adapters(&stage->adapters, setup->model, setup->config, setup->parameters, false);
    if (!status)
        status = aaclip_text_cache_new(&stage->cache, setup->model, stage->adapters, &options);
    if (status)
        return status;
    stage->base.prompts = aac_text_cache_prompt_fingerprint(stage->cache);
    return aac_trained_tower_new(&stage->trained, aac_adapters_text(stage->adapters),
                                 setup->gradients);
}

static aaclip_status prepare_vision(text_stage *stage, const aac_stage_setup *setup)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(setup->model);
    int64_t grid = setup->image_size / checkpoint->patch;
    int64_t maps = stage->scales == AACLIP_SCALES_LAST ? 1 : setup->config->level_count;
    const aac_vision_setup vision = {.config = setup->config,
                                     .image_size = setup->image_size,
                                     .surgery_blocks = surgery_blocks(setup)};
    aaclip_status status =
        aac_map_loss_make(&stage->loss, aac_model_dispatch(setup->model), maps, grid,
                          setup->image_size, checkpoint->embedding, setup->options->balanced_focal);
    if (!status)
        status = aac_vision_encoder_new(&stage->encoder, setup->model, &vision);
    if (status)
        return status;
    const aac_dispatch *dispatch = dispatch_of(stage);
    size_t bytes = (size_t)checkpoint->embedding * sizeof(float);
    size_t rows = setup->config->level_count * (size_t)(grid * grid);
    stage->features = aac_device_alloc_array(dispatch, rows, bytes);
    stage->class_feature = aac_device_alloc(dispatch, bytes);
    stage->vision_workspace =
        aac_device_alloc(dispatch, aac_vision_encoder_workspace(stage->encoder));
    if (!stage->features || !stage->class_feature || !stage->vision_workspace)
        return aac_device_error(dispatch);
    return aac_stage_pixels_make(&stage->pixels, dispatch, setup->image_size, 1);
}

aaclip_status aac_stage_text_new(aac_stage **out, const aac_stage_setup *setup)
{
    *out = NULL;
    text_stage *stage = aac_calloc(1, sizeof *stage);
    if (!stage)
        return aac_error_memory();
    stage->base = (aac_stage){0, begin, image, end, refresh, check, free_stage};
    stage->model = setup->model;
    stage->config = *setup->config;
    stage->scales = setup->options->scales;
    stage->orthogonal_weight = setup->options->orthogonal_weight;
    stage->phrases = setup->options->phrases;
    aaclip_status status = prepare_vision(stage, setup);
    if (!status)
        status = prepare_text(stage, setup);
    if (status) {
        free_stage(&stage->base);
        return status;
    }
    *out = &stage->base;
    return AACLIP_OK;
}
