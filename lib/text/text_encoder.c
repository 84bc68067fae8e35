#include "text/text_encoder_parts.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

static int64_t longest_prompt(const aac_token_batch *batch)
{
    int64_t longest = 0;
    for (int64_t i = 0; i < batch->prompts; i++) {
        int64_t length = batch->offsets[i + 1] - batch->offsets[i];
        longest = length > longest ? length : longest;
    }
    return longest;
}

static aaclip_status plan_end(aac_text_plan *plan, const aaclip_config *config, int64_t prompts,
                              const aac_dispatch *dispatch)
{
    const aac_checkpoint *checkpoint = plan->checkpoint;
    bool activation = plan->adapters && config->text_projection_activation;
    const aac_op_desc norm = {.op = AAC_OP_LAYER_NORM,
                              .layer_norm = {prompts, checkpoint->text.width, plan->type,
                                             checkpoint->text.layer_norm_eps}};
    const aac_op_desc project = {
        .op = AAC_OP_LINEAR,
        .linear = {.rows = prompts,
                   .inputs = checkpoint->text.width,
                   .outputs = checkpoint->embedding,
                   .x = plan->type,
                   .y = AAC_F32,
                   .activation = activation ? AAC_ACTIVATION_LEAKY_RELU : AAC_ACTIVATION_NONE,
                   .slope = config->projection_slope}};
    const aac_op_desc normalize = {.op = AAC_OP_NORMALIZE,
                                   .normalize = {prompts, checkpoint->embedding, false}};
    aaclip_status status = aac_dispatch_plan(dispatch, &plan->ln_final, &norm);
    if (!status)
        status = aac_dispatch_plan(dispatch, &plan->project, &project);
    return status ? status : aac_dispatch_plan(dispatch, &plan->normalize, &normalize);
}

static aaclip_status plan_tower(aac_text_plan *plan, const aaclip_model *model,
                                const aaclip_config *config, bool training)
{
    const aac_dispatch *dispatch = aac_model_dispatch(model);
    const aac_tower_shape *tower = &plan->checkpoint->text;
    const aac_block_shape shape = {
        .rows = plan->tree.nodes,
        .longest = longest_prompt(plan->batch),
        .width = tower->width,
        .heads = tower->heads,
        .mlp = tower->mlp,
        .epsilon = tower->layer_norm_eps,
        .attention = AAC_ATTENTION_CAUSAL,
        .activation = aac_model_activation(model, config->activation),
        .type = plan->type,
        .training = training,
    };
    aaclip_status status = aac_block_plan_make(&plan->block, &shape, dispatch);
    if (!status && plan->adapters && plan->adapters->layer_count)
        status = aac_adapter_plan_make(&plan->adapter, config, &shape, config->text_adapter_weight,
                                       dispatch);
    return status ? status : plan_end(plan, config, plan->batch->prompts, dispatch);
}

void aac_text_plan_clear(aac_text_plan *plan)
{
    aac_block_plan_clear(&plan->block);
    aac_adapter_plan_clear(&plan->adapter);
    aac_plan_free(&plan->ln_final);
    aac_plan_free(&plan->project);
    aac_plan_free(&plan->normalize);
    aac_prefix_tree_clear(&plan->tree);
}

static size_t largest_scratch(const aac_text_plan *plan)
{
    const size_t sizes[] = {aac_block_scratch(&plan->block), aac_adapter_scratch(&plan->adapter),
                            plan->ln_final->scratch, plan->project->scratch,
                            plan->normalize->scratch};
    size_t largest = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        largest = sizes[i] > largest ? sizes[i] : largest;
    return largest;
}

aac_text_memory aac_text_lay_out(const aac_text_plan *plan, aac_workspace *workspace,
                                 size_t more_scratch)
{
    size_t prompts = (size_t)plan->batch->prompts;
    size_t tokens = (size_t)plan->batch->offsets[plan->batch->prompts];
    const aac_block_shape *shape = &plan->block.shape;
    size_t rows = (size_t)shape->rows, width = (size_t)shape->width;
    size_t wide = (size_t)(shape->mlp > 3 * shape->width ? shape->mlp : 3 * shape->width);
    size_t element = aac_dtype_size(shape->type);
    size_t scratch = largest_scratch(plan);
    aac_text_memory memory = {0};
    memory.x = aac_take(workspace, rows * width, sizeof(float));
    memory.ends = aac_take(workspace, prompts * width, sizeof(float));
    /* also holds the ends; equal prompts have rows in common, so there may be more ends than rows
     */
    memory.block.narrow = aac_take(workspace, (rows > prompts ? rows : prompts) * width, element);
    memory.block.wide = aac_take(workspace, rows * wide, element);
    memory.block.adapted = aac_take(workspace, rows * width, sizeof(float));
    memory.block.spread = aac_take(workspace, tokens * 3 * width, element);
    memory.block.attended = aac_take(workspace, tokens * width, element);
    memory.block.scratch = aac_take(workspace, scratch > more_scratch ? scratch : more_scratch, 1);
    return memory;
}

/* x = token embedding + position */
static void embed_tokens(const aac_text_plan *plan, float *x)
{
    int64_t width = plan->checkpoint->text.width;
    for (int64_t node = 0; node < plan->tree.nodes; node++) {
        const float *position = plan->tower->position + plan->tree.positions[node] * width;
        float *out = x + node * width;
        aac_tensor_rows_to_f32(&plan->checkpoint->token_embedding, plan->tree.ids[node], 1, out);
        for (int64_t i = 0; i < width; i++)
            out[i] += position[i];
    }
}

static aaclip_status run_blocks(const aac_text_plan *plan, const aac_text_memory *memory,
                                const aac_text_tape *tape)
{
    const aac_sequences prompts = {plan->batch->offsets, plan->batch->prompts, plan->tree.rows};
    uint32_t adapted = plan->adapters ? plan->adapters->layer_count : 0;
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < plan->checkpoint->text.layers; i++) {
        status = aac_block_run(&plan->block, &plan->tower->blocks[i], memory->x, &prompts,
                               &memory->block, tape ? &tape->blocks[i] : NULL);
        if (!status && i < adapted)
            status = aac_adapter_run(&plan->adapter, &plan->adapters->layers[i], memory->x,
                                     &memory->block, tape ? &tape->adapters[i] : NULL);
    }
    return status;
}

/* normalize(projection(ln_final(x at the end token))) */
static aaclip_status run_end(const aac_text_plan *plan, const aac_text_memory *memory,
                             float *vectors, const aac_text_tape *tape)
{
    const aac_token_batch *batch = plan->batch;
    int64_t width = plan->checkpoint->text.width;
    float *ends = tape ? tape->ends : memory->ends;
    void *normed = tape ? tape->normed : memory->block.narrow;
    float *projected = tape ? tape->projected : vectors;
    for (int64_t i = 0; i < batch->prompts; i++) {
        int64_t end = plan->tree.rows[batch->offsets[i + 1] - 1];
        memcpy(ends + i * width, memory->x + end * width, (size_t)width * sizeof(float));
    }
    const aac_op_args norm = {.x = ends,
                              .y = normed,
                              .gain = plan->tower->ln_final_gain,
                              .bias = plan->tower->ln_final_bias};
    const aac_op_args project = {.x = normed,
                                 .y = projected,
                                 .weight = plan->adapters ? plan->adapters->projections[0].weight
                                                          : plan->tower->projection};
    const aac_op_args normalize = {.x = projected, .y = vectors};
    aaclip_status status = aac_run(plan->ln_final, &norm, memory->block.scratch);
    if (!status)
        status = aac_run(plan->project, &project, memory->block.scratch);
    return status ? status : aac_run(plan->normalize, &normalize, memory->block.scratch);
}

aaclip_status aac_text_run(const aac_text_plan *plan, const aac_text_memory *memory, float *vectors,
                           const aac_text_tape *tape)
{
    embed_tokens(plan, memory->x);
    aaclip_status status = run_blocks(plan, memory, tape);
    return status ? status : run_end(plan, memory, vectors, tape);
}

aaclip_status aac_text_plan_make(aac_text_plan *plan, const aaclip_model *model,
                                 const aac_text_tower *tower, const aaclip_adapters *adapters,
                                 const aaclip_config *config, const aac_token_batch *batch,
                                 bool training)
{
    *plan = (aac_text_plan){
        .checkpoint = aac_model_checkpoint(model),
        .tower = tower,
        .adapters = aaclip_adapters_has_text(adapters) ? aac_adapters_text(adapters) : NULL,
        .batch = batch,
        .type = aac_model_type(model),
    };
    aaclip_status status = aac_prefix_tree_make(&plan->tree, batch);
    return status ? status : plan_tower(plan, model, config, training);
}

static aaclip_status run_once(const aac_text_plan *plan, float *vectors)
{
    aac_workspace workspace = {0};
    aac_text_lay_out(plan, &workspace, 0);
    char *base = aac_alloc(workspace.used);
    if (!base)
        return aac_error_memory();
    workspace = (aac_workspace){.base = base};
    const aac_text_memory memory = aac_text_lay_out(plan, &workspace, 0);
    aaclip_status status = aac_text_run(plan, &memory, vectors, NULL);
    aac_free(base);
    return status;
}

aaclip_status aac_text_encode(const aaclip_model *model, const aac_text_tower *tower,
                              const aaclip_adapters *adapters, const aaclip_config *config,
                              const aac_token_batch *batch, float *vectors)
{
    aac_text_plan plan;
    aaclip_status status = aac_text_plan_make(&plan, model, tower, adapters, config, batch, false);
    if (!status)
        status = run_once(&plan, vectors);
    aac_text_plan_clear(&plan);
    return status;
}

double aac_class_vector(const float *vectors, size_t count, int64_t embedding, bool normalize,
                        float *out)
{
    double squares = 0;
    for (int64_t i = 0; i < embedding; i++) {
        double sum = 0;
        for (size_t row = 0; row < count; row++)
            sum += (double)vectors[row * (size_t)embedding + (size_t)i];
        sum /= (double)count;
        out[i] = (float)sum;
        squares += sum * sum;
    }
    double norm = normalize && squares > 0 ? sqrt(squares) : 1;
    for (int64_t i = 0; i < embedding; i++)
        out[i] = (float)((double)out[i] / norm);
    return norm;
}

void aac_class_vector_backward(const float *vector, const float *gradient, double norm,
                               size_t count, int64_t embedding, bool normalize, float *out)
{
    double along = 0;
    for (int64_t i = 0; normalize && i < embedding; i++)
        along += (double)vector[i] * (double)gradient[i];
    for (int64_t i = 0; i < embedding; i++) {
        double value = ((double)gradient[i] - along * (double)vector[i]) / norm / (double)count;
        for (size_t row = 0; row < count; row++)
            out[row * (size_t)embedding + (size_t)i] = (float)value;
    }
}
