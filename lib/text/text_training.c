#include "text/text_training.h"

#include "core/error.h"
#include "core/memory.h"
#include "model/head_backward.h"
#include "text/text_encoder_parts.h"

struct aac_text_training {
    aac_text_plan forward;
    aac_trained_tower *trained;
    aac_block_backward_plan block;
    aac_adapter_backward_plan adapter;
    aac_head_backward_plan head;
    aac_plan *norm;             /* ln_final, backward */
    aac_plan *gather;           /* of the ends, backward */
    aac_block_tape *blocks;     // (blocks + 1): pointers into the workspace of the run
    aac_adapter_tape *adapters; // (adapted blocks)
};

/* A class's working memory, tape included. */
typedef struct training_memory {
    aac_text_memory forward;
    aac_text_tape tape;
    float *gradient;      // (nodes, width)
    float *projected;     // (prompts, embedding): gradient before the L2 norm
    void *operand;        // (prompts, embedding), type
    float *normed, *ends; // (prompts, width): gradients after and before ln_final
    float *vectors;       // (prompts, embedding): of the repeated forward run
} training_memory;

static aaclip_status plan_end(aac_text_training *training, const aaclip_config *config,
                              const aac_dispatch *dispatch)
{
    const aac_text_plan *forward = &training->forward;
    const aac_head_shape shape = {.images = 1,
                                  .rows = forward->batch->prompts,
                                  .width = forward->checkpoint->text.width,
                                  .embedding = forward->checkpoint->embedding,
                                  .activation = config->text_projection_activation,
                                  .slope = config->projection_slope,
                                  .type = forward->type};
    aac_op_desc norm = forward->ln_final->desc;
    norm.op = AAC_OP_LAYER_NORM_BACKWARD;
    aac_op_desc gather = forward->gather->desc;
    gather.op = AAC_OP_GATHER_BACKWARD;
    aaclip_status status = aac_head_backward_plan_make(&training->head, &shape, dispatch);
    if (!status)
        status = aac_dispatch_plan(dispatch, &training->norm, &norm);
    return status ? status : aac_dispatch_plan(dispatch, &training->gather, &gather);
}

static aaclip_status allocate_tape(aac_text_training *training)
{
    size_t blocks = (size_t)training->forward.checkpoint->text.layers;
    training->blocks = aac_calloc(blocks + 1, sizeof *training->blocks);
    training->adapters = aac_calloc(training->trained->layer_count, sizeof *training->adapters);
    return training->blocks && training->adapters ? AACLIP_OK : aac_error_memory();
}

aaclip_status aac_text_training_new(aac_text_training **out, const aaclip_model *model,
                                    const aac_text_tower *tower, const aaclip_adapters *adapters,
                                    const aaclip_config *config, const aac_token_batch *batch,
                                    aac_trained_tower *trained)
{
    aac_text_training *training = *out = aac_calloc(1, sizeof *training);
    if (!training)
        return aac_error_memory();
    const aac_dispatch *dispatch = aac_model_dispatch(model);
    training->trained = trained;
    aaclip_status status =
        aac_text_plan_make(&training->forward, model, tower, adapters, config, batch, true);
    const aac_block_shape *shape = &training->forward.block.shape;
    if (!status)
        status = aac_block_backward_plan_make(&training->block, shape, dispatch);
    if (!status)
        status = aac_adapter_backward_plan_make(&training->adapter, config, shape,
                                                config->text_adapter_weight, dispatch);
    if (!status)
        status = plan_end(training, config, dispatch);
    if (!status)
        status = allocate_tape(training);
    if (status)
        aac_text_training_free(out);
    return status;
}

void aac_text_training_free(aac_text_training **out)
{
    aac_text_training *training = *out;
    if (!training)
        return;
    aac_plan_free(&training->norm);
    aac_plan_free(&training->gather);
    aac_head_backward_plan_clear(&training->head);
    aac_text_plan_clear(&training->forward);
    aac_block_backward_plan_clear(&training->block);
    aac_adapter_backward_plan_clear(&training->adapter);
    aac_free(training->blocks);
    aac_free(training->adapters);
    aac_free(training);
    *out = NULL;
}

static size_t backward_scratch(const aac_text_training *training)
{
    const size_t sizes[] = {aac_block_backward_scratch(&training->block),
                            aac_adapter_backward_scratch(&training->adapter),
                            aac_head_backward_scratch(&training->head)};
    const aac_plan *const plans[] = {training->norm, training->gather};
    size_t largest = aac_largest_scratch(plans, sizeof plans / sizeof *plans);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        largest = sizes[i] > largest ? sizes[i] : largest;
    return largest;
}

/* Block 0 precedes the first adapter and records nothing. The rows move from each block's input to
 * the next one's. */
static void lay_out_tape(const aac_text_training *training, aac_workspace *workspace)
{
    const aac_block_shape *shape = &training->forward.block.shape;
    size_t blocks = (size_t)training->forward.checkpoint->text.layers, rows = (size_t)shape->rows;
    size_t layers = training->trained->layer_count, width = (size_t)shape->width;
    size_t element = aac_dtype_size(shape->type);
    for (size_t i = 1; i <= blocks; i++) {
        aac_block_tape *tape = &training->blocks[i];
        tape->x = aac_take(workspace, rows * width, sizeof(float));
        if (i == blocks)
            break;
        tape->qkv = aac_take(workspace, rows * 3 * width, element);
        tape->attended = aac_take(workspace, rows * width, element);
        tape->middle = aac_take(workspace, rows * width, sizeof(float));
        tape->hidden = aac_take(workspace, rows * (size_t)shape->mlp, element);
    }
    for (size_t i = 0; i < layers; i++) {
        const aac_adapter_tape tape = {.x = aac_take(workspace, rows * width, sizeof(float)),
                                       .middle = aac_take(workspace, rows * (width / 2), element),
                                       .adapted = aac_take(workspace, rows * width, sizeof(float))};
        training->adapters[i] = tape;
    }
}

static training_memory lay_out(const aac_text_training *training, aac_workspace *workspace)
{
    const aac_text_plan *plan = &training->forward;
    const aac_block_shape *shape = &plan->block.shape;
    size_t prompts = (size_t)plan->batch->prompts, width = (size_t)shape->width;
    size_t embedding = (size_t)plan->checkpoint->embedding;
    size_t element = aac_dtype_size(shape->type);
    training_memory memory = {0};
    memory.forward = aac_text_lay_out(plan, workspace, backward_scratch(training));
    lay_out_tape(training, workspace);
    memory.gradient = aac_take(workspace, (size_t)shape->rows * width, sizeof(float));
    memory.projected = aac_take(workspace, prompts * embedding, sizeof(float));
    memory.operand = aac_take(workspace, prompts * embedding, element);
    memory.normed = aac_take(workspace, prompts * width, sizeof(float));
    memory.ends = aac_take(workspace, prompts * width, sizeof(float));
    memory.vectors = aac_take(workspace, prompts * embedding, sizeof(float));
    memory.tape =
        (aac_text_tape){.blocks = training->blocks,
                        .adapters = training->adapters,
                        .ends = aac_take(workspace, prompts * width, sizeof(float)),
                        .normed = aac_take(workspace, prompts * width, element),
                        .projected = aac_take(workspace, prompts * embedding, sizeof(float))};
    return memory;
}

size_t aac_text_training_workspace(const aac_text_training *training)
{
    aac_workspace workspace = {0};
    lay_out(training, &workspace);
    return workspace.used;
}

aaclip_status aac_text_training_forward(const aac_text_training *training, float *vectors,
                                        void *base)
{
    aac_workspace workspace = {.base = base};
    const training_memory memory = lay_out(training, &workspace);
    return aac_text_run(&training->forward, &memory.forward, vectors, NULL);
}

/* memory->gradient = that of all rows after the last block: nonzero only for end tokens */
static aaclip_status end_backward(const aac_text_training *training, const float *vector_gradient,
                                  const training_memory *memory)
{
    const aac_text_plan *plan = &training->forward;
    void *scratch = memory->forward.block.scratch;
    const aac_head_backward_args head = {.normed = memory->tape.normed,
                                         .projected = memory->tape.projected,
                                         .dy = vector_gradient,
                                         .projection = &training->trained->projections[0],
                                         .back = memory->normed,
                                         .buffer = memory->projected,
                                         .operand = memory->operand};
    size_t ends = (size_t)(plan->batch->prompts * plan->checkpoint->text.width);
    aaclip_status status = aac_head_backward_run(&training->head, &head, scratch);
    if (!status)
        status = aac_device_clear(plan->dispatch, memory->ends, ends * sizeof(float));
    const aac_op_args norm = {.x = memory->tape.ends,
                              .dy = memory->normed,
                              .y = memory->ends,
                              .gain = plan->tower->ln_final_gain};
    const aac_op_args gather = {.dy = memory->ends, .y = memory->gradient, .index = plan->ends};
    if (!status)
        status = aac_run(training->norm, &norm, scratch);
    return status ? status : aac_run(training->gather, &gather, scratch);
}

static aaclip_status blocks_backward(const aac_text_training *training,
                                     const training_memory *memory)
{
    const aac_text_plan *plan = &training->forward;
    aac_trained_tower *trained = training->trained;
    const aac_sequences prompts = aac_text_sequences(plan);
    aac_stream_gradient gradient = {memory->gradient, false};
    aaclip_status status = AACLIP_OK;
    for (int64_t i = plan->checkpoint->text.layers; !status && i-- > 0;) {
        if (i < trained->layer_count)
            status = aac_adapter_backward_run(&training->adapter, &trained->layers[i],
                                              &training->adapters[i], &gradient, i == 0,
                                              &memory->forward.block);
        if (!status && i > 0)
            status = aac_block_backward_run(&training->block, &plan->tower->blocks[i],
                                            &training->blocks[i], &gradient, &prompts,
                                            &memory->forward.block);
    }
    return status;
}

aaclip_status aac_text_training_backward(const aac_text_training *training,
                                         const float *vector_gradient, void *base)
{
    aac_workspace workspace = {.base = base};
    const training_memory memory = lay_out(training, &workspace);
    aaclip_status status =
        aac_text_run(&training->forward, &memory.forward, memory.vectors, &memory.tape);
    if (!status)
        status = end_backward(training, vector_gradient, &memory);
    return status ? status : blocks_backward(training, &memory);
}
