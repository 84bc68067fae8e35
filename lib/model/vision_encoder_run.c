/* Runs images through the image tower. */
#include "model/vision_encoder_parts.h"

/* Class token and patches of an image with their positions, written to its rows. */
static aaclip_status embed_image(const aac_vision_encoder *encoder, const uint8_t *rgb,
                                 int64_t image, const aac_vision_memory *memory)
{
    float *patches = memory->x + aac_vision_encoder_patches_at(encoder, image);
    const aac_op_args gather = {.x = rgb + image * 3 * encoder->image_size * encoder->image_size,
                                .y = memory->block.wide};
    const aac_op_args embed = {
        .x = memory->block.wide, .y = patches, .weight = encoder->tower->patch};
    size_t bytes = aac_vision_encoder_stream_bytes(encoder) / (size_t)encoder->images;
    aaclip_status status =
        aac_device_copy(encoder->block.dispatch, patches - encoder->width, encoder->start, bytes);
    if (!status)
        status = aac_run(encoder->gather, &gather, memory->block.scratch);
    return status ? status : aac_run(encoder->embed, &embed, memory->block.scratch);
}

/* x = ln_pre([class token, patches W^T] + position) */
static aaclip_status embed_images(const aac_vision_encoder *encoder, const uint8_t *rgb,
                                  const aac_vision_memory *memory)
{
    const aac_op_args norm = {.x = memory->x,
                              .y = memory->x,
                              .gain = encoder->tower->ln_pre_gain,
                              .bias = encoder->tower->ln_pre_bias};
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < encoder->images; i++)
        status = embed_image(encoder, rgb, i, memory);
    return status ? status : aac_run(encoder->ln_pre, &norm, memory->block.scratch);
}

static aaclip_status project(const aac_vision_encoder *encoder, const aac_plan *plan,
                             const aac_projection *projection, const void *x, float *y,
                             const aac_vision_memory *memory)
{
    const aac_op_args args = {
        .x = x, .y = y, .weight = projection ? projection->weight : encoder->tower->projection};
    return aac_run(plan, &args, memory->block.scratch);
}

static aaclip_status run_ln_post(const aac_vision_encoder *encoder, const aac_plan *plan,
                                 const float *x, void *y, const aac_vision_memory *memory)
{
    const aac_op_args norm = {
        .x = x, .y = y, .gain = encoder->tower->ln_post_gain, .bias = encoder->tower->ln_post_bias};
    return aac_run(plan, &norm, memory->block.scratch);
}

/* ln_post of the patch tokens, packed so that one product takes those of all images. */
static aaclip_status norm_patches(const aac_vision_encoder *encoder, const float *x, void *normed,
                                  const aac_vision_memory *memory)
{
    size_t bytes = (size_t)(encoder->patches * encoder->width) * aac_dtype_size(encoder->type);
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < encoder->images; i++)
        status =
            run_ln_post(encoder, encoder->ln_post, x + aac_vision_encoder_patches_at(encoder, i),
                        (char *)normed + (size_t)i * bytes, memory);
    return status;
}

/* The L2-normalised rows of each image, or their mean; results of successive images are `apart`
 * values apart. */
static aaclip_status finish_images(const aac_vision_encoder *encoder, const aac_plan *plan,
                                   const float *projected, float *y, int64_t apart,
                                   const aac_vision_memory *memory)
{
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < encoder->images; i++) {
        const aac_op_args args = {.x = projected + i * encoder->patches * encoder->embedding,
                                  .y = y + i * apart};
        status = aac_run(plan, &args, memory->block.scratch);
    }
    return status;
}

/*
 * ln_post and the projections of the patch tokens in the residual stream x after a level's block;
 * class tokens are skipped. features: of the first image and this level. `detection` is NULL except
 * for the last level.
 */
static aaclip_status tap_level(const aac_vision_encoder *encoder, uint32_t level, const float *x,
                               float *features, float *detection, const aac_vision_memory *memory,
                               const aac_vision_tape *tape)
{
    const aac_adapter_tower *trained =
        encoder->adapters ? aac_adapters_image(encoder->adapters) : NULL;
    const aac_tap_tape *tap = tape ? &tape->taps[level] : NULL;
    void *normed = tap ? tap->normed : memory->block.narrow;
    float *projected = tap ? tap->projected : memory->projected;
    int64_t apart = encoder->config.level_count * encoder->patches * encoder->embedding;
    aaclip_status status = norm_patches(encoder, x, normed, memory);
    if (!status)
        status = project(encoder, encoder->project, trained ? &trained->projections[level] : NULL,
                         normed, projected, memory);
    if (!status)
        status = finish_images(encoder, encoder->normalize, projected, features, apart, memory);
    if (status || !detection)
        return status;
    projected = tape ? tape->detection : memory->projected;
    status = project(encoder, encoder->project, trained ? &trained->detection : NULL, normed,
                     projected, memory);
    return status ? status
                  : finish_images(encoder, encoder->detect, projected, detection,
                                  encoder->embedding, memory);
}

aaclip_status aac_vision_encoder_block(const aac_vision_encoder *encoder, uint32_t index,
                                       aac_block_stream *stream, const aac_block **block)
{
    if (encoder->streamed)
        return aac_block_stream_get(stream, index, block);
    *block = &encoder->tower->blocks[index];
    return AACLIP_OK;
}

static const aac_adapter_tape *adapter_tape(const aac_vision_tape *tape, uint32_t index)
{
    return tape && tape->adapters[index].x ? &tape->adapters[index] : NULL;
}

aaclip_status aac_vision_encoder_run(const aac_vision_encoder *encoder, const uint8_t *rgb,
                                     float *features, float *detection, void *base,
                                     const aac_vision_tape *tape)
{
    aac_workspace workspace = {.base = base};
    const aac_vision_memory memory = aac_vision_encoder_lay_out(encoder, &workspace, 0);
    const aaclip_config *config = &encoder->config;
    const aac_layer_adapter *layers =
        encoder->adapters ? aac_adapters_image(encoder->adapters)->layers : NULL;
    uint32_t adapted = layers ? aac_adapters_image(encoder->adapters)->layer_count : 0;
    const aac_sequences images = aac_vision_encoder_images(encoder);
    const float *x = memory.x;
    uint32_t level = 0;
    aaclip_status status = embed_images(encoder, rgb, &memory);
    for (uint32_t i = 0; !status && level < config->level_count; i++) {
        const aac_block *block = NULL;
        const aac_adapter_tape *kept = i < adapted ? adapter_tape(tape, i) : NULL;
        float *after = tape ? tape->blocks[i + 1].x : memory.x, *between = kept ? kept->x : after;
        status = aac_vision_encoder_block(encoder, i, tape ? tape->stream : NULL, &block);
        if (!status)
            status = aac_block_run(&encoder->block, block, x, between, &images, &memory.block,
                                   tape ? &tape->blocks[i] : NULL);
        if (!status && i < adapted)
            status =
                aac_adapter_run(&encoder->adapter, &layers[i], between, after, &memory.block, kept);
        x = after;
        if (!status && i + 1 == config->levels[level]) {
            bool last = level + 1 == config->level_count;
            status = tap_level(encoder, level, x, features, last ? detection : NULL, &memory, tape);
            features += encoder->patches * encoder->embedding;
            level++;
        }
    }
    return status;
}

/* Runs blocks first .. end - 1 of the frozen tower; with `features`, taps the levels among them. */
static aaclip_status run_frozen(const aac_vision_encoder *encoder, const aac_block_plan *plan,
                                uint32_t first, uint32_t end, float *features,
                                const aac_vision_memory *memory)
{
    const aaclip_config *config = &encoder->config;
    const aac_sequences images = aac_vision_encoder_images(encoder);
    aaclip_status status = AACLIP_OK;
    bool value = plan->shape.attention == AAC_ATTENTION_VALUE;
    for (uint32_t i = first; !status && i < end; i++) {
        aac_block block = encoder->tower->blocks[i];
        if (value)
            block.qkv = encoder->values[i];
        status = aac_block_run(plan, &block, memory->x, memory->x, &images, &memory->block, NULL);
        for (uint32_t level = 0; !status && features && level < config->level_count; level++)
            if (config->levels[level] == i + 1)
                status = tap_level(encoder, level, memory->x,
                                   features + level * encoder->patches * encoder->embedding, NULL,
                                   memory, NULL);
    }
    return status;
}

/* normalize(projection(ln_post(class token))) */
static aaclip_status project_class(const aac_vision_encoder *encoder, float *class_feature,
                                   const aac_vision_memory *memory)
{
    const aac_op_args normalize = {.x = class_feature, .y = class_feature};
    aaclip_status status =
        run_ln_post(encoder, encoder->class_norm, memory->x, memory->block.narrow, memory);
    if (!status)
        status = project(encoder, encoder->class_project, NULL, memory->block.narrow, class_feature,
                         memory);
    return status ? status : aac_run(encoder->class_normalize, &normalize, memory->block.scratch);
}

aaclip_status aac_vision_encoder_run_surgery(const aac_vision_encoder *encoder, const uint8_t *rgb,
                                             float *features, float *class_feature, void *base)
{
    aac_workspace workspace = {.base = base};
    const aac_vision_memory memory = aac_vision_encoder_lay_out(encoder, &workspace, 0);
    aac_vision_memory plain = memory;
    plain.x = memory.plain;
    uint32_t blocks = (uint32_t)aac_model_checkpoint(encoder->model)->vision.layers;
    uint32_t split = blocks - (uint32_t)encoder->surgery_blocks;
    uint32_t highest = encoder->config.levels[encoder->config.level_count - 1];
    size_t bytes = aac_vision_encoder_stream_bytes(encoder);
    aaclip_status status = embed_images(encoder, rgb, &memory);
    if (!status)
        status = run_frozen(encoder, &encoder->block, 0, split, features, &memory);
    if (!status)
        status = aac_device_copy(encoder->block.dispatch, plain.x, memory.x, bytes);
    if (!status)
        status = run_frozen(encoder, &encoder->value_block, split, highest, features, &memory);
    if (!status)
        status = run_frozen(encoder, &encoder->block, split, blocks, NULL, &plain);
    return status ? status : project_class(encoder, class_feature, &plain);
}
