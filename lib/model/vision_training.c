#include "model/vision_training.h"

#include "core/error.h"
#include "core/memory.h"
#include "model/head_backward.h"
#include "model/vision_encoder_parts.h"

struct aac_vision_training {
    const aac_vision_encoder *encoder;
    aac_trained_tower *trained;
    bool recompute;
    uint32_t highest; /* blocks that the levels need */
    aac_block_backward_plan block;
    aac_adapter_backward_plan adapter;
    aac_head_backward_plan head;
    aac_plan *norm;             /* ln_post, backward */
    aac_block_tape *blocks;     // (highest + 1)
    aac_adapter_tape *adapters; // (layer_count)
    aac_tap_tape taps[AACLIP_MAX_LEVELS];
    aac_block_tape again_block; /* with recompute: the block being recomputed */
    aac_adapter_tape again_adapter;
    float *detection;        // (images, patches, embedding)
    float *gradient_of;      // (images, 1 + patches, width): of the residual stream
    float *projected;        // (images, patches, embedding): gradient before the L2 norm
    aac_block_stream stream; /* of a streamed encoder: the frozen blocks */
    char *tape, *workspace;
};

static aaclip_status plan_heads(aac_vision_training *training, const aac_dispatch *dispatch)
{
    const aac_vision_encoder *encoder = training->encoder;
    const aac_head_shape shape = {.images = encoder->images,
                                  .rows = encoder->patches,
                                  .width = encoder->width,
                                  .embedding = encoder->embedding,
                                  .activation = encoder->config.image_projection_activation,
                                  .slope = encoder->config.projection_slope,
                                  .type = encoder->type};
    aac_op_desc norm = encoder->ln_post->desc;
    norm.op = AAC_OP_LAYER_NORM_BACKWARD;
    aaclip_status status = aac_head_backward_plan_make(&training->head, &shape, dispatch);
    return status ? status : aac_dispatch_plan(dispatch, &training->norm, &norm);
}

static aaclip_status make_plans(aac_vision_training *training)
{
    const aac_vision_encoder *encoder = training->encoder;
    const aac_dispatch *dispatch = aac_model_dispatch(encoder->model);
    const aac_block_shape *shape = &encoder->block.shape;
    aaclip_status status = aac_block_backward_plan_make(&training->block, shape, dispatch);
    if (!status)
        status = aac_adapter_backward_plan_make(&training->adapter, &encoder->config, shape,
                                                encoder->config.image_adapter_weight, dispatch);
    return status ? status : plan_heads(training, dispatch);
}

static size_t backward_scratch(const aac_vision_training *training)
{
    const size_t sizes[] = {aac_block_backward_scratch(&training->block),
                            aac_adapter_backward_scratch(&training->adapter),
                            aac_head_backward_scratch(&training->head)};
    size_t largest = training->norm->scratch;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        largest = sizes[i] > largest ? sizes[i] : largest;
    return largest;
}

/* All of a block's tape but its input. */
static void take_block(const aac_vision_encoder *encoder, aac_workspace *workspace,
                       aac_block_tape *tape)
{
    const aac_block_shape *shape = &encoder->block.shape;
    size_t rows = (size_t)shape->rows, width = (size_t)shape->width;
    size_t element = aac_dtype_size(shape->type);
    tape->qkv = aac_take(workspace, rows * 3 * width, element);
    tape->attended = aac_take(workspace, rows * width, element);
    tape->middle = aac_take(workspace, rows * width, sizeof(float));
    tape->hidden = aac_take(workspace, rows * (size_t)shape->mlp, element);
    if (encoder->block.attention->keeps_sums)
        tape->sums = aac_take(workspace, rows * (size_t)shape->heads, sizeof(float));
}

static void take_adapter(const aac_vision_encoder *encoder, aac_workspace *workspace,
                         aac_adapter_tape *tape)
{
    const aac_block_shape *shape = &encoder->block.shape;
    size_t rows = (size_t)shape->rows, width = (size_t)shape->width;
    tape->x = aac_take(workspace, rows * width, sizeof(float));
    tape->middle = aac_take(workspace, rows * (width / 2), aac_dtype_size(shape->type));
    tape->adapted = aac_take(workspace, rows * width, sizeof(float));
}

/*
 * Block 0 precedes the first adapter and records nothing. The residual stream moves from each
 * block's input to the next one's. With recompute, blocks record only their inputs, and share the
 * memory for the rest of one block's tape.
 */
static void lay_out_tape(aac_vision_training *training, aac_workspace *workspace)
{
    const aac_vision_encoder *encoder = training->encoder;
    size_t rows = (size_t)encoder->block.shape.rows, width = (size_t)encoder->width;
    size_t patches = (size_t)(encoder->images * encoder->patches),
           embedding = (size_t)encoder->embedding;
    bool again = training->recompute;
    for (uint32_t i = 1; i <= training->highest; i++) {
        training->blocks[i].x = aac_take(workspace, rows * width, sizeof(float));
        if (!again && i < training->highest)
            take_block(encoder, workspace, &training->blocks[i]);
    }
    for (uint32_t i = 0; i < training->trained->layer_count; i++)
        if (i == 0 || !again)
            take_adapter(encoder, workspace, &training->adapters[i]);
    if (again) {
        take_block(encoder, workspace, &training->again_block);
        take_adapter(encoder, workspace, &training->again_adapter);
    }
    for (uint32_t level = 0; level < encoder->config.level_count; level++)
        training->taps[level] =
            (aac_tap_tape){aac_take(workspace, patches * width, aac_dtype_size(encoder->type)),
                           aac_take(workspace, patches * embedding, sizeof(float))};
    training->detection = aac_take(workspace, patches * embedding, sizeof(float));
    training->gradient_of = aac_take(workspace, rows * width, sizeof(float));
    training->projected = aac_take(workspace, patches * embedding, sizeof(float));
}

static aaclip_status allocate(aac_vision_training *training)
{
    const aac_vision_encoder *encoder = training->encoder;
    training->blocks = aac_calloc(training->highest + 1, sizeof *training->blocks);
    training->adapters = aac_calloc(training->trained->layer_count, sizeof *training->adapters);
    if (!training->blocks || !training->adapters)
        return aac_error_memory();
    aac_workspace tape = {0}, work = {0};
    lay_out_tape(training, &tape);
    aac_vision_encoder_lay_out(encoder, &work, backward_scratch(training));
    const aac_dispatch *dispatch = encoder->block.dispatch;
    training->tape = aac_device_alloc(dispatch, tape.used);
    training->workspace = aac_device_alloc(dispatch, work.used);
    if (!training->tape || !training->workspace)
        return aac_device_error(dispatch);
    tape = (aac_workspace){.base = training->tape};
    lay_out_tape(training, &tape);
    return AACLIP_OK;
}

aaclip_status aac_vision_training_new(aac_vision_training **out, const aac_vision_encoder *encoder,
                                      aac_trained_tower *trained, bool recompute)
{
    aac_vision_training *training = *out = aac_calloc(1, sizeof *training);
    if (!training)
        return aac_error_memory();
    training->encoder = encoder;
    training->trained = trained;
    training->recompute = recompute;
    training->highest = encoder->config.levels[encoder->config.level_count - 1];
    const aac_checkpoint *checkpoint = aac_model_checkpoint(encoder->model);
    aac_block_stream_init(&training->stream, checkpoint->file, checkpoint->vision_blocks,
                          aac_model_dispatch(encoder->model), aac_model_block_type(encoder->model));
    aaclip_status status = make_plans(training);
    if (!status)
        status = allocate(training);
    if (status)
        aac_vision_training_free(out);
    return status;
}

void aac_vision_training_free(aac_vision_training **out)
{
    aac_vision_training *training = *out;
    if (!training)
        return;
    aac_plan_free(&training->norm);
    aac_head_backward_plan_clear(&training->head);
    aac_block_backward_plan_clear(&training->block);
    aac_adapter_backward_plan_clear(&training->adapter);
    aac_free(training->blocks);
    aac_free(training->adapters);
    aac_block_stream_clear(&training->stream);
    aac_device_free(training->encoder->block.dispatch, training->tape);
    aac_device_free(training->encoder->block.dispatch, training->workspace);
    aac_free(training);
    *out = NULL;
}

static aac_vision_memory working_memory(const aac_vision_training *training)
{
    aac_workspace workspace = {.base = training->workspace};
    return aac_vision_encoder_lay_out(training->encoder, &workspace, backward_scratch(training));
}

aaclip_status aac_vision_training_forward(aac_vision_training *training, const uint8_t *rgb,
                                          float *features, float *detection)
{
    const aac_vision_tape tape = {training->blocks, training->adapters, training->taps,
                                  training->detection, &training->stream};
    return aac_vision_encoder_run(training->encoder, rgb, features, detection, training->workspace,
                                  &tape);
}

/* Backward through ln_post: adds `back`, (images, patches, width), to the gradient of the patches'
 * rows. */
static aaclip_status norms_backward(const aac_vision_training *training, uint32_t level,
                                    const float *back, void *scratch)
{
    const aac_vision_encoder *encoder = training->encoder;
    const float *x = training->blocks[encoder->config.levels[level]].x;
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < encoder->images; i++) {
        int64_t at = aac_vision_encoder_patches_at(encoder, i);
        const aac_op_args norm = {.x = x + at,
                                  .dy = back + i * encoder->patches * encoder->width,
                                  .y = training->gradient_of + at,
                                  .gain = encoder->tower->ln_post_gain};
        status = aac_run(training->norm, &norm, scratch);
    }
    return status;
}

/* Adds a level's gradient to that of the patches' rows. feature_gradient: of the first image and
 * this level. detection_gradient: NULL except for the last level. */
static aaclip_status tap_backward(const aac_vision_training *training, uint32_t level,
                                  const float *feature_gradient, const float *detection_gradient,
                                  const aac_vision_memory *memory)
{
    const aac_vision_encoder *encoder = training->encoder;
    const aac_tap_tape *tap = &training->taps[level];
    void *scratch = memory->block.scratch;
    aac_head_backward_args head = {.normed = tap->normed,
                                   .projected = tap->projected,
                                   .dy = feature_gradient,
                                   .apart = encoder->config.level_count * encoder->patches *
                                            encoder->embedding,
                                   .projection = &training->trained->projections[level],
                                   .back = memory->block.adapted,
                                   .buffer = training->projected,
                                   .operand = memory->block.wide};
    aaclip_status status = aac_head_backward_run(&training->head, &head, scratch);
    if (!status && detection_gradient) {
        head.projected = training->detection;
        head.dy = detection_gradient;
        head.apart = encoder->embedding;
        head.projection = &training->trained->detection;
        head.mean = head.more = true;
        status = aac_head_backward_run(&training->head, &head, scratch);
    }
    return status ? status : norms_backward(training, level, memory->block.adapted, scratch);
}

/* The tapes of a block and its adapter: as the forward run left them, or recomputed. */
static aaclip_status find_tapes(const aac_vision_training *training, uint32_t index,
                                const aac_block *frozen, const aac_sequences *images,
                                const aac_vision_memory *memory, aac_block_tape *block,
                                aac_adapter_tape *adapter)
{
    const aac_vision_encoder *encoder = training->encoder;
    const aac_layer_adapter *layers = training->trained->adapters->layers;
    bool adapted = index < training->trained->layer_count;
    *block = training->blocks[index];
    if (adapted)
        *adapter = training->adapters[index];
    if (!training->recompute || index == 0)
        return AACLIP_OK;
    *block = training->again_block;
    *adapter = training->again_adapter;
    block->x = training->blocks[index].x;
    aaclip_status status =
        aac_block_run(&encoder->block, frozen, block->x, adapter->x, images, &memory->block, block);
    if (!status && adapted)
        status = aac_adapter_run(&encoder->adapter, &layers[index], adapter->x, memory->x,
                                 &memory->block, adapter);
    return status;
}

/* From the gradient after block `index` and its adapter to that before the block. */
static aaclip_status step_backward(aac_vision_training *training, uint32_t index,
                                   aac_stream_gradient *gradient, const aac_sequences *images,
                                   const aac_vision_memory *memory)
{
    const aac_vision_encoder *encoder = training->encoder;
    aac_trained_tower *trained = training->trained;
    aac_block_tape block = {0};
    aac_adapter_tape adapter = {0};
    const aac_block *frozen = NULL;
    aaclip_status status = AACLIP_OK;
    if (index > 0)
        status = aac_vision_encoder_block(encoder, index, &training->stream, &frozen);
    if (!status)
        status = find_tapes(training, index, frozen, images, memory, &block, &adapter);
    if (training->recompute)
        gradient->rounded = false; /* the block has used that memory */
    if (!status && index < trained->layer_count)
        status = aac_adapter_backward_run(&training->adapter, &trained->layers[index], &adapter,
                                          gradient, index == 0, &memory->block);
    if (status || index == 0)
        return status;
    return aac_block_backward_run(&training->block, frozen, &block, gradient, images,
                                  &memory->block);
}

aaclip_status aac_vision_training_backward(aac_vision_training *training,
                                           const float *feature_gradient,
                                           const float *detection_gradient)
{
    const aac_vision_encoder *encoder = training->encoder;
    const aaclip_config *config = &encoder->config;
    const aac_vision_memory memory = working_memory(training);
    const aac_sequences images = aac_vision_encoder_images(encoder);
    aac_stream_gradient gradient = {training->gradient_of, false};
    uint32_t level = config->level_count;
    aaclip_status status = aac_device_clear(encoder->block.dispatch, training->gradient_of,
                                            aac_vision_encoder_stream_bytes(encoder));
    for (uint32_t i = training->highest; !status && i-- > 0;) {
        if (level && config->levels[level - 1] == i + 1) {
            bool last = level-- == config->level_count;
            status = tap_backward(training, level,
                                  feature_gradient + level * encoder->patches * encoder->embedding,
                                  last ? detection_gradient : NULL, &memory);
            gradient.rounded = false;
        }
        if (!status)
            status = step_backward(training, i, &gradient, &images, &memory);
    }
    return status;
}
