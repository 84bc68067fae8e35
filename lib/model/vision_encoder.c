#include "model/vision_encoder_parts.h"

#include "core/error.h"
#include "core/memory.h"
#include "model/position.h"

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

static aaclip_status plan_blocks(aac_vision_encoder *encoder, const aac_dispatch *dispatch,
                                 bool training)
{
    const aac_tower_shape *tower = &aac_model_checkpoint(encoder->model)->vision;
    aac_block_shape shape = {
        .rows = encoder->images * (1 + encoder->patches),
        .longest = 1 + encoder->patches,
        .uniform = true,
        .width = tower->width,
        .heads = tower->heads,
        .mlp = tower->mlp,
        .epsilon = tower->layer_norm_eps,
        .attention = AAC_ATTENTION_FULL,
        .activation = aac_model_activation(encoder->model, encoder->config.activation),
        .type = encoder->type,
        .quantized = aac_model_block_type(encoder->model) == AAC_I8,
        .training = training,
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
    shape.attention = AAC_ATTENTION_VALUE;
    if (!status && encoder->surgery_blocks)
        status = aac_block_plan_make(&encoder->value_block, &shape, dispatch);
    return status;
}

/* Plans ln_post and the L2 norm for one image's rows, and a projection for those of all images. */
static aaclip_status plan_head(const aac_vision_encoder *encoder, const aac_dispatch *dispatch,
                               int64_t rows, aac_plan **norm, aac_plan **project,
                               aac_plan **normalize)
{
    const aaclip_config *config = &encoder->config;
    bool activation = encoder->adapters && config->image_projection_activation;
    const aac_op_desc ln_post = {
        .op = AAC_OP_LAYER_NORM,
        .layer_norm = {rows, encoder->width, encoder->type,
                       aac_model_checkpoint(encoder->model)->vision.layer_norm_eps}};
    const aac_op_desc linear = {
        .op = AAC_OP_LINEAR,
        .linear = {.rows = encoder->images * rows,
                   .inputs = encoder->width,
                   .outputs = encoder->embedding,
                   .x = encoder->type,
                   .y = AAC_F32,
                   .activation = activation ? AAC_ACTIVATION_LEAKY_RELU : AAC_ACTIVATION_NONE,
                   .slope = config->projection_slope}};
    const aac_op_desc l2 = {.op = AAC_OP_NORMALIZE, .normalize = {rows, encoder->embedding, false}};
    aaclip_status status = aac_dispatch_plan(dispatch, norm, &ln_post);
    if (!status)
        status = aac_dispatch_plan(dispatch, project, &linear);
    return status ? status : aac_dispatch_plan(dispatch, normalize, &l2);
}

static aaclip_status plan_heads(aac_vision_encoder *encoder, const aac_dispatch *dispatch)
{
    const aac_op_desc detect = {.op = AAC_OP_NORMALIZE,
                                .normalize = {encoder->patches, encoder->embedding, true}};
    aaclip_status status = plan_head(encoder, dispatch, encoder->patches, &encoder->ln_post,
                                     &encoder->project, &encoder->normalize);
    if (!status)
        status = aac_dispatch_plan(dispatch, &encoder->detect, &detect);
    if (!status && encoder->surgery_blocks)
        status = plan_head(encoder, dispatch, 1, &encoder->class_norm, &encoder->class_project,
                           &encoder->class_normalize);
    return status;
}

/* `start` is in host memory. */
static aaclip_status fill_start(const aac_vision_encoder *encoder, float *start)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(encoder->model);
    int64_t width = encoder->width, grid = encoder->image_size / checkpoint->patch;
    float *trained = aac_vector_new(&checkpoint->vision_position);
    float *token = aac_vector_new(&checkpoint->class_embedding);
    aaclip_status status = trained && token ? AACLIP_OK : aac_error_memory();
    if (!status) {
        for (int64_t i = 0; i < width; i++)
            start[i] = token[i] + trained[i];
        status =
            aac_position_resample(trained + width, checkpoint->grid, start + width, grid, width);
    }
    aac_free(trained);
    aac_free(token);
    return status;
}

static size_t start_bytes(const aac_vision_encoder *encoder)
{
    return (size_t)((1 + encoder->patches) * encoder->width) * sizeof(float);
}

size_t aac_vision_encoder_stream_bytes(const aac_vision_encoder *encoder)
{
    return (size_t)encoder->images * start_bytes(encoder);
}

int64_t aac_vision_encoder_patches_at(const aac_vision_encoder *encoder, int64_t image)
{
    return (image * (1 + encoder->patches) + 1) * encoder->width;
}

static aaclip_status make_start(aac_vision_encoder *encoder, const aac_dispatch *dispatch)
{
    float *start = aac_alloc(start_bytes(encoder));
    aaclip_status status = start ? fill_start(encoder, start) : aac_error_memory();
    if (status) {
        aac_free(start);
        return status;
    }
    void *memory;
    status = aac_device_adopt(dispatch, &memory, start, start_bytes(encoder));
    encoder->start = memory;
    if (status)
        return status;
    size_t count = (size_t)encoder->images + 1;
    int32_t *offsets = aac_alloc_array(count, sizeof *offsets);
    for (size_t i = 0; offsets && i < count; i++)
        offsets[i] = (int32_t)((int64_t)i * (1 + encoder->patches));
    status = aac_device_adopt(dispatch, &memory, offsets, count * sizeof *offsets);
    encoder->offsets = memory;
    return status;
}

aac_sequences aac_vision_encoder_images(const aac_vision_encoder *encoder)
{
    return (aac_sequences){.offsets = encoder->offsets, .count = encoder->images};
}

/* The surgery blocks need only v of their qkv product. */
static aaclip_status pack_values(aac_vision_encoder *encoder, const aac_dispatch *dispatch)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(encoder->model);
    int64_t blocks = checkpoint->vision.layers;
    if (!encoder->surgery_blocks)
        return AACLIP_OK;
    encoder->values = aac_calloc((size_t)blocks, sizeof *encoder->values);
    aaclip_status status = encoder->values ? AACLIP_OK : aac_error_memory();
    for (int64_t i = blocks - encoder->surgery_blocks; !status && i < blocks; i++)
        status = aac_block_pack_value(&encoder->values[i], &checkpoint->vision_blocks[i], dispatch,
                                      aac_model_block_type(encoder->model));
    return status;
}

static aaclip_status prepare(aac_vision_encoder *encoder, bool training)
{
    const aac_dispatch *dispatch = aac_model_dispatch(encoder->model);
    aaclip_status status =
        aac_model_acquire_vision(encoder->model, !encoder->streamed, &encoder->tower);
    if (!status)
        status = pack_values(encoder, dispatch);
    if (!status)
        status = make_start(encoder, dispatch);
    if (!status)
        status = plan_patches(encoder, dispatch);
    if (!status)
        status = plan_blocks(encoder, dispatch, training);
    if (!status)
        status = plan_heads(encoder, dispatch);
    return status;
}

aaclip_status aac_vision_encoder_new(aac_vision_encoder **out, const aaclip_model *model,
                                     const aac_vision_setup *setup)
{
    *out = NULL;
    const aac_checkpoint *checkpoint = aac_model_checkpoint(model);
    aac_vision_encoder *encoder = aac_calloc(1, sizeof *encoder);
    if (!encoder)
        return aac_error_memory();
    int64_t grid = setup->image_size / checkpoint->patch;
    bool adapted = aaclip_adapters_has_image(setup->adapters);
    encoder->model = aac_model_retain(model);
    encoder->adapters = aac_adapters_retain(adapted ? setup->adapters : NULL);
    encoder->config = *setup->config;
    encoder->images = setup->images ? setup->images : 1;
    encoder->image_size = setup->image_size;
    encoder->surgery_blocks = setup->surgery_blocks;
    encoder->streamed = setup->streamed;
    encoder->patches = grid * grid;
    encoder->width = checkpoint->vision.width;
    encoder->embedding = checkpoint->embedding;
    encoder->patch_values = 3 * checkpoint->patch * checkpoint->patch;
    encoder->type = aac_model_type(model);
    aaclip_status status = prepare(encoder, setup->training);
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
    aac_plan **const plans[] = {
        &encoder->gather,        &encoder->embed,          &encoder->ln_pre, &encoder->ln_post,
        &encoder->project,       &encoder->normalize,      &encoder->detect, &encoder->class_norm,
        &encoder->class_project, &encoder->class_normalize};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        aac_plan_free(plans[i]);
    aac_block_plan_clear(&encoder->block);
    aac_block_plan_clear(&encoder->value_block);
    aac_adapter_plan_clear(&encoder->adapter);
    for (int64_t i = 0; encoder->values && i < aac_model_checkpoint(encoder->model)->vision.layers;
         i++)
        aac_weight_free(&encoder->values[i]);
    aac_free(encoder->values);
    aac_device_free(aac_model_dispatch(encoder->model), encoder->start);
    aac_device_free(aac_model_dispatch(encoder->model), encoder->offsets);
    aaclip_adapters_close(&encoder->adapters);
    if (encoder->tower)
        aac_model_release_vision(encoder->model, !encoder->streamed);
    aaclip_model_close(&encoder->model);
    aac_free(encoder);
    *out = NULL;
}

static size_t largest_scratch(const aac_vision_encoder *encoder)
{
    const aac_plan *const plans[] = {
        encoder->gather,        encoder->embed,          encoder->ln_pre, encoder->ln_post,
        encoder->project,       encoder->normalize,      encoder->detect, encoder->class_norm,
        encoder->class_project, encoder->class_normalize};
    const size_t sizes[] = {aac_block_scratch(&encoder->block),
                            aac_block_scratch(&encoder->value_block),
                            aac_adapter_scratch(&encoder->adapter)};
    size_t largest = aac_largest_scratch(plans, sizeof plans / sizeof *plans);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        largest = sizes[i] > largest ? sizes[i] : largest;
    return largest;
}

/* Columns of the widest buffer of a row: q, k and v, the MLP, or a gathered patch. */
static int64_t widest(const aac_vision_encoder *encoder)
{
    const aac_block_shape *shape = &encoder->block.shape;
    const int64_t widths[] = {3 * shape->width, shape->mlp, encoder->patch_values,
                              encoder->embedding};
    int64_t widest = 0;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        widest = widths[i] > widest ? widths[i] : widest;
    return widest;
}

aac_vision_memory aac_vision_encoder_lay_out(const aac_vision_encoder *encoder,
                                             aac_workspace *workspace, size_t more_scratch)
{
    const aac_block_shape *shape = &encoder->block.shape;
    size_t rows = (size_t)shape->rows, width = (size_t)encoder->width;
    size_t element = aac_dtype_size(encoder->type), scratch = largest_scratch(encoder);
    bool surgery = encoder->surgery_blocks > 0;
    aac_vision_memory memory = {0};
    memory.x = aac_take(workspace, rows * width, sizeof(float));
    if (surgery)
        memory.plain = aac_take(workspace, rows * width, sizeof(float));
    memory.projected =
        aac_take(workspace, (size_t)(encoder->images * encoder->patches * encoder->embedding),
                 sizeof(float));
    memory.block.narrow = aac_take(workspace, rows * width, element);
    memory.block.wide = aac_take(workspace, rows * (size_t)widest(encoder), element);
    if (encoder->adapter.blend || shape->training)
        memory.block.adapted = aac_take(workspace, rows * width, sizeof(float));
    memory.block.scratch = aac_take(workspace, scratch > more_scratch ? scratch : more_scratch, 1);
    return memory;
}

size_t aac_vision_encoder_workspace(const aac_vision_encoder *encoder)
{
    aac_workspace workspace = {0};
    aac_vision_encoder_lay_out(encoder, &workspace, 0);
    return workspace.used;
}
