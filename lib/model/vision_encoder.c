#include "model/vision_encoder.h"

#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "model/position.h"

struct aac_vision_encoder {
    aaclip_model *model;
    aaclip_adapters *adapters; /* NULL without image adapters */
    aaclip_config config;
    const aac_vision_tower *tower;
    int64_t image_size, patches, width, embedding, patch_values;
    aac_dtype type;
    float *start; // (1 + patches, width): class token and positions, what every image begins with
    aac_plan *gather, *embed, *ln_pre, *ln_post, *project, *normalize, *detect;
    aac_block_plan block;
    aac_adapter_plan adapter;
};

static aaclip_status plan_patches(aac_vision_encoder *encoder, const aac_dispatch *dispatch)
{
    aac_op_desc gather = {.op = AAC_OP_PATCHES};
    gather.patches.size = encoder->image_size;
    gather.patches.patch = aac_model_checkpoint(encoder->model)->patch;
    gather.patches.y = encoder->type;
    for (int i = 0; i < 3; i++) {
        gather.patches.mean[i] = encoder->config.image_mean[i];
        gather.patches.deviation[i] = encoder->config.image_deviation[i];
    }
    const aac_op_desc embed = {.op = AAC_OP_LINEAR,
                               .linear = {.rows = encoder->patches,
                                          .inputs = encoder->patch_values,
                                          .outputs = encoder->width,
                                          .x = encoder->type,
                                          .y = AAC_F32,
                                          .accumulate = true}};
    aaclip_status status = aac_dispatch_plan(dispatch, &encoder->gather, &gather);
    return status ? status : aac_dispatch_plan(dispatch, &encoder->embed, &embed);
}

static aaclip_status plan_blocks(aac_vision_encoder *encoder, const aac_dispatch *dispatch)
{
    const aac_tower_shape *tower = &aac_model_checkpoint(encoder->model)->vision;
    const aac_block_shape shape = {
        .rows = 1 + encoder->patches,
        .longest = 1 + encoder->patches,
        .uniform = true,
        .width = tower->width,
        .heads = tower->heads,
        .mlp = tower->mlp,
        .epsilon = tower->layer_norm_eps,
        .attention = AAC_ATTENTION_FULL,
        .activation = aac_model_activation(encoder->model, encoder->config.activation),
        .type = encoder->type,
    };
    const aac_op_desc ln_pre = {
        .op = AAC_OP_LAYER_NORM,
        .layer_norm = {shape.rows, shape.width, AAC_F32, tower->layer_norm_eps}};
    aaclip_status status = aac_dispatch_plan(dispatch, &encoder->ln_pre, &ln_pre);
    if (!status)
        status = aac_block_plan_make(&encoder->block, &shape, dispatch);
    if (!status && encoder->adapters && aac_adapters_image(encoder->adapters)->layer_count)
        status = aac_adapter_plan_make(&encoder->adapter, &encoder->config, &shape,
                                       encoder->config.image_adapter_weight, dispatch);
    return status;
}

static aaclip_status plan_heads(aac_vision_encoder *encoder, const aac_dispatch *dispatch)
{
    const aaclip_config *config = &encoder->config;
    bool activation = encoder->adapters && config->image_projection_activation;
    int64_t patches = encoder->patches, width = encoder->width, embedding = encoder->embedding;
    const aac_op_desc ln_post = {
        .op = AAC_OP_LAYER_NORM,
        .layer_norm = {patches, width, encoder->type,
                       aac_model_checkpoint(encoder->model)->vision.layer_norm_eps}};
    const aac_op_desc project = {
        .op = AAC_OP_LINEAR,
        .linear = {.rows = patches,
                   .inputs = width,
                   .outputs = embedding,
                   .x = encoder->type,
                   .y = AAC_F32,
                   .activation = activation ? AAC_ACTIVATION_LEAKY_RELU : AAC_ACTIVATION_NONE,
                   .slope = config->projection_slope}};
    const aac_op_desc normalize = {.op = AAC_OP_NORMALIZE,
                                   .normalize = {patches, embedding, false}};
    const aac_op_desc detect = {.op = AAC_OP_NORMALIZE, .normalize = {patches, embedding, true}};
    aaclip_status status = aac_dispatch_plan(dispatch, &encoder->ln_post, &ln_post);
    if (!status)
        status = aac_dispatch_plan(dispatch, &encoder->project, &project);
    if (!status)
        status = aac_dispatch_plan(dispatch, &encoder->normalize, &normalize);
    if (!status)
        status = aac_dispatch_plan(dispatch, &encoder->detect, &detect);
    return status;
}

static aaclip_status make_start(aac_vision_encoder *encoder)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(encoder->model);
    int64_t width = encoder->width, grid = encoder->image_size / checkpoint->patch;
    float *trained = aac_vector_new(&checkpoint->vision_position);
    float *token = aac_vector_new(&checkpoint->class_embedding);
    encoder->start = aac_alloc_array((size_t)((1 + encoder->patches) * width), sizeof(float));
    aaclip_status status = trained && token && encoder->start ? AACLIP_OK : aac_error_memory();
    if (!status) {
        for (int64_t i = 0; i < width; i++)
            encoder->start[i] = token[i] + trained[i];
        status = aac_position_resample(trained + width, checkpoint->grid, encoder->start + width,
                                       grid, width);
    }
    aac_free(trained);
    aac_free(token);
    return status;
}

static aaclip_status prepare(aac_vision_encoder *encoder)
{
    const aac_dispatch *dispatch = aac_model_dispatch(encoder->model);
    aaclip_status status = aac_model_vision(encoder->model, &encoder->tower);
    if (!status)
        status = make_start(encoder);
    if (!status)
        status = plan_patches(encoder, dispatch);
    if (!status)
        status = plan_blocks(encoder, dispatch);
    if (!status)
        status = plan_heads(encoder, dispatch);
    return status;
}

aaclip_status aac_vision_encoder_new(aac_vision_encoder **out, const aaclip_model *model,
                                     const aaclip_adapters *adapters, const aaclip_config *config,
                                     int64_t image_size)
{
    *out = NULL;
    const aac_checkpoint *checkpoint = aac_model_checkpoint(model);
    aac_vision_encoder *encoder = aac_calloc(1, sizeof *encoder);
    if (!encoder)
        return aac_error_memory();
    int64_t grid = image_size / checkpoint->patch;
    encoder->model = aac_model_retain(model);
    encoder->adapters = aac_adapters_retain(aaclip_adapters_has_image(adapters) ? adapters : NULL);
    encoder->config = *config;
    encoder->image_size = image_size;
    encoder->patches = grid * grid;
    encoder->width = checkpoint->vision.width;
    encoder->embedding = checkpoint->embedding;
    encoder->patch_values = 3 * checkpoint->patch * checkpoint->patch;
    encoder->type = aac_model_type(model);
    aaclip_status status = prepare(encoder);
    if (status)
        aac_vision_encoder_free(&encoder);
    *out = encoder;
    return status;
}

void aac_vision_encoder_free(aac_vision_encoder **out)
{
    aac_vision_encoder *encoder = *out;
    if (!encoder)
        return;
    aac_plan **const plans[] = {&encoder->gather,  &encoder->embed,   &encoder->ln_pre,
                                &encoder->ln_post, &encoder->project, &encoder->normalize,
                                &encoder->detect};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        aac_plan_free(plans[i]);
    aac_block_plan_clear(&encoder->block);
    aac_adapter_plan_clear(&encoder->adapter);
    aac_free(encoder->start);
    aaclip_adapters_close(&encoder->adapters);
    aaclip_model_close(&encoder->model);
    aac_free(encoder);
    *out = NULL;
}

int64_t aac_vision_encoder_patches(const aac_vision_encoder *encoder)
{
    return encoder->patches;
}

typedef struct encoder_memory {
    float *x;         // (1 + patches, width)
    float *projected; // (patches, embedding)
    aac_block_memory block;
} encoder_memory;

static size_t largest_scratch(const aac_vision_encoder *encoder)
{
    const aac_plan *const plans[] = {encoder->gather,  encoder->embed,   encoder->ln_pre,
                                     encoder->ln_post, encoder->project, encoder->normalize,
                                     encoder->detect};
    size_t largest = aac_block_scratch(&encoder->block);
    size_t adapter = aac_adapter_scratch(&encoder->adapter);
    largest = adapter > largest ? adapter : largest;
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        largest = plans[i]->scratch > largest ? plans[i]->scratch : largest;
    return largest;
}

static encoder_memory lay_out(const aac_vision_encoder *encoder, aac_workspace *workspace)
{
    const aac_block_shape *shape = &encoder->block.shape;
    size_t rows = (size_t)shape->rows, width = (size_t)encoder->width;
    size_t element = aac_dtype_size(encoder->type);
    size_t wide = (size_t)(shape->mlp > 3 * shape->width ? shape->mlp : 3 * shape->width);
    size_t patch = (size_t)encoder->patch_values; /* patches are gathered into the wide buffer */
    encoder_memory memory = {0};
    memory.x = aac_take(workspace, rows * width, sizeof(float));
    memory.projected =
        aac_take(workspace, (size_t)encoder->patches * (size_t)encoder->embedding, sizeof(float));
    memory.block.narrow = aac_take(workspace, rows * width, element);
    memory.block.wide = aac_take(workspace, rows * (wide > patch ? wide : patch), element);
    if (encoder->adapter.blend)
        memory.block.adapted = aac_take(workspace, rows * width, sizeof(float));
    memory.block.scratch = aac_take(workspace, largest_scratch(encoder), 1);
    return memory;
}

size_t aac_vision_encoder_workspace(const aac_vision_encoder *encoder)
{
    aac_workspace workspace = {0};
    lay_out(encoder, &workspace);
    return workspace.used;
}

/* x = ln_pre([class token, patches W^T] + position) */
static aaclip_status embed_image(const aac_vision_encoder *encoder, const uint8_t *rgb,
                                 const encoder_memory *memory)
{
    int64_t width = encoder->width;
    memcpy(memory->x, encoder->start, (size_t)((1 + encoder->patches) * width) * sizeof(float));
    const aac_op_args gather = {.x = rgb, .y = memory->block.wide};
    const aac_op_args embed = {
        .x = memory->block.wide, .y = memory->x + width, .weight = encoder->tower->patch};
    const aac_op_args norm = {.x = memory->x,
                              .y = memory->x,
                              .gain = encoder->tower->ln_pre_gain,
                              .bias = encoder->tower->ln_pre_bias};
    aaclip_status status = aac_run(encoder->gather, &gather, memory->block.scratch);
    if (!status)
        status = aac_run(encoder->embed, &embed, memory->block.scratch);
    return status ? status : aac_run(encoder->ln_pre, &norm, memory->block.scratch);
}

static aaclip_status project(const aac_vision_encoder *encoder, const aac_projection *projection,
                             float *y, const encoder_memory *memory)
{
    const aac_op_args args = {.x = memory->block.narrow,
                              .y = y,
                              .weight =
                                  projection ? projection->weight : encoder->tower->projection};
    return aac_run(encoder->project, &args, memory->block.scratch);
}

/* ln_post and the projections of the patch tokens after a level's block; the class token is left.
 */
static aaclip_status tap_level(const aac_vision_encoder *encoder, uint32_t level, float *features,
                               float *detection, const encoder_memory *memory)
{
    const aac_adapter_tower *trained =
        encoder->adapters ? aac_adapters_image(encoder->adapters) : NULL;
    bool last = level + 1 == encoder->config.level_count;
    const aac_op_args norm = {.x = memory->x + encoder->width,
                              .y = memory->block.narrow,
                              .gain = encoder->tower->ln_post_gain,
                              .bias = encoder->tower->ln_post_bias};
    const aac_op_args normalize = {.x = features, .y = features};
    const aac_op_args mean = {.x = memory->projected, .y = detection};
    aaclip_status status = aac_run(encoder->ln_post, &norm, memory->block.scratch);
    if (!status)
        status = project(encoder, trained ? &trained->projections[level] : NULL, features, memory);
    if (!status)
        status = aac_run(encoder->normalize, &normalize, memory->block.scratch);
    if (!status && last)
        status = project(encoder, trained ? &trained->detection : NULL, memory->projected, memory);
    if (!status && last)
        status = aac_run(encoder->detect, &mean, memory->block.scratch);
    return status;
}

aaclip_status aac_vision_encoder_run(const aac_vision_encoder *encoder, const uint8_t *rgb,
                                     float *features, float *detection, void *base)
{
    aac_workspace workspace = {.base = base};
    const encoder_memory memory = lay_out(encoder, &workspace);
    const aaclip_config *config = &encoder->config;
    const aac_layer_adapter *layers =
        encoder->adapters ? aac_adapters_image(encoder->adapters)->layers : NULL;
    uint32_t adapted = layers ? aac_adapters_image(encoder->adapters)->layer_count : 0;
    const int32_t offsets[] = {0, (int32_t)encoder->block.shape.rows};
    const aac_sequences image = {.offsets = offsets, .count = 1};
    uint32_t level = 0;
    aaclip_status status = embed_image(encoder, rgb, &memory);
    for (uint32_t i = 0; !status && level < config->level_count; i++) {
        status = aac_block_run(&encoder->block, &encoder->tower->blocks[i], memory.x, &image,
                               &memory.block);
        if (!status && i < adapted)
            status = aac_adapter_run(&encoder->adapter, &layers[i], memory.x, &memory.block);
        if (!status && i + 1 == config->levels[level]) {
            status = tap_level(encoder, level, features, detection, &memory);
            features += encoder->patches * encoder->embedding;
            level++;
        }
    }
    return status;
}
