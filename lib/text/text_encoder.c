#include "text/text_encoder.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "text/prefix_tree.h"

typedef struct text_plan {
    const aac_checkpoint *checkpoint;
    const aac_text_tower *tower;
    const aac_adapter_tower *adapters; /* NULL for plain CLIP */
    const aac_token_batch *batch;
    aac_prefix_tree tree; /* its nodes are the rows */
    aac_dtype type;
    aac_block_plan block;
    aac_adapter_plan adapter;
    aac_plan *ln_final, *project, *normalize;
} text_plan;

typedef struct text_memory {
    float *x;    // (nodes, width)
    float *ends; // (prompts, width): rows of the end tokens
    aac_block_memory block;
} text_memory;

static int64_t longest_prompt(const aac_token_batch *batch)
{
    int64_t longest = 0;
    for (int64_t i = 0; i < batch->prompts; i++) {
        int64_t length = batch->offsets[i + 1] - batch->offsets[i];
        longest = length > longest ? length : longest;
    }
    return longest;
}

static aaclip_status plan_end(text_plan *plan, const aaclip_config *config, int64_t prompts,
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

static aaclip_status make_plan(text_plan *plan, const aaclip_model *model,
                               const aaclip_config *config)
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
    };
    aaclip_status status = aac_block_plan_make(&plan->block, &shape, dispatch);
    if (!status && plan->adapters && plan->adapters->layer_count)
        status = aac_adapter_plan_make(&plan->adapter, config, &shape, config->text_adapter_weight,
                                       dispatch);
    return status ? status : plan_end(plan, config, plan->batch->prompts, dispatch);
}

static void clear_plan(text_plan *plan)
{
    aac_block_plan_clear(&plan->block);
    aac_adapter_plan_clear(&plan->adapter);
    aac_plan_free(&plan->ln_final);
    aac_plan_free(&plan->project);
    aac_plan_free(&plan->normalize);
    aac_prefix_tree_clear(&plan->tree);
}

static size_t largest_scratch(const text_plan *plan)
{
    const size_t sizes[] = {aac_block_scratch(&plan->block), aac_adapter_scratch(&plan->adapter),
                            plan->ln_final->scratch, plan->project->scratch,
                            plan->normalize->scratch};
    size_t largest = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        largest = sizes[i] > largest ? sizes[i] : largest;
    return largest;
}

static text_memory lay_out(const text_plan *plan, aac_workspace *workspace)
{
    size_t prompts = (size_t)plan->batch->prompts;
    size_t tokens = (size_t)plan->batch->offsets[plan->batch->prompts];
    const aac_block_shape *shape = &plan->block.shape;
    size_t rows = (size_t)shape->rows, width = (size_t)shape->width;
    size_t wide = (size_t)(shape->mlp > 3 * shape->width ? shape->mlp : 3 * shape->width);
    size_t element = aac_dtype_size(shape->type);
    text_memory memory = {0};
    memory.x = aac_take(workspace, rows * width, sizeof(float));
    memory.ends = aac_take(workspace, prompts * width, sizeof(float));
    memory.block.narrow = aac_take(workspace, rows * width, element);
    memory.block.wide = aac_take(workspace, rows * wide, element);
    memory.block.adapted = aac_take(workspace, rows * width, sizeof(float));
    memory.block.spread = aac_take(workspace, tokens * 3 * width, element);
    memory.block.attended = aac_take(workspace, tokens * width, element);
    memory.block.scratch = aac_take(workspace, largest_scratch(plan), 1);
    return memory;
}

/* x = token embedding + position */
static void embed_tokens(const text_plan *plan, float *x)
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

static aaclip_status run_blocks(const text_plan *plan, const text_memory *memory)
{
    const aac_sequences prompts = {plan->batch->offsets, plan->batch->prompts, plan->tree.rows};
    uint32_t adapted = plan->adapters ? plan->adapters->layer_count : 0;
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < plan->checkpoint->text.layers; i++) {
        status = aac_block_run(&plan->block, &plan->tower->blocks[i], memory->x, &prompts,
                               &memory->block);
        if (!status && i < adapted)
            status = aac_adapter_run(&plan->adapter, &plan->adapters->layers[i], memory->x,
                                     &memory->block);
    }
    return status;
}

/* normalize(projection(ln_final(x at the end token))) */
static aaclip_status run_end(const text_plan *plan, const text_memory *memory, float *vectors)
{
    const aac_token_batch *batch = plan->batch;
    int64_t width = plan->checkpoint->text.width;
    for (int64_t i = 0; i < batch->prompts; i++) {
        int64_t end = plan->tree.rows[batch->offsets[i + 1] - 1];
        memcpy(memory->ends + i * width, memory->x + end * width, (size_t)width * sizeof(float));
    }
    const aac_op_args norm = {.x = memory->ends,
                              .y = memory->block.narrow,
                              .gain = plan->tower->ln_final_gain,
                              .bias = plan->tower->ln_final_bias};
    const aac_op_args project = {.x = memory->block.narrow,
                                 .y = vectors,
                                 .weight = plan->adapters ? plan->adapters->projections[0].weight
                                                          : plan->tower->projection};
    const aac_op_args normalize = {.x = vectors, .y = vectors};
    aaclip_status status = aac_run(plan->ln_final, &norm, memory->block.scratch);
    if (!status)
        status = aac_run(plan->project, &project, memory->block.scratch);
    return status ? status : aac_run(plan->normalize, &normalize, memory->block.scratch);
}

static aaclip_status run_plan(const text_plan *plan, float *vectors)
{
    aac_workspace workspace = {0};
    lay_out(plan, &workspace);
    char *base = aac_alloc(workspace.used);
    if (!base)
        return aac_error_memory();
    workspace = (aac_workspace){.base = base};
    const text_memory memory = lay_out(plan, &workspace);
    embed_tokens(plan, memory.x);
    aaclip_status status = run_blocks(plan, &memory);
    if (!status)
        status = run_end(plan, &memory, vectors);
    aac_free(base);
    return status;
}

aaclip_status aac_text_encode(const aaclip_model *model, const aac_text_tower *tower,
                              const aaclip_adapters *adapters, const aaclip_config *config,
                              const aac_token_batch *batch, float *vectors)
{
    text_plan plan = {
        .checkpoint = aac_model_checkpoint(model),
        .tower = tower,
        .adapters = aaclip_adapters_has_text(adapters) ? aac_adapters_text(adapters) : NULL,
        .batch = batch,
        .type = aac_model_type(model),
    };
    aaclip_status status = aac_prefix_tree_make(&plan.tree, batch);
    if (!status)
        status = make_plan(&plan, model, config);
    if (!status)
        status = run_plan(&plan, vectors);
    clear_plan(&plan);
    return status;
}

void aac_class_vector(const float *vectors, size_t count, int64_t embedding, bool normalize,
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
}
