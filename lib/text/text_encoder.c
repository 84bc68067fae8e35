#include "text/text_encoder_parts.h"

#include <math.h>

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

/* A node sees its ancestors and itself. */
static int64_t count_pairs(const aac_prefix_tree *tree)
{
    int64_t pairs = 0;
    for (int64_t i = 0; i < tree->nodes; i++)
        pairs += tree->positions[i] + 1;
    return pairs;
}

static aac_block_shape tower_shape(const aac_text_plan *plan, const aaclip_model *model,
                                   const aaclip_config *config, bool training)
{
    const aac_tower_shape *tower = &plan->checkpoint->text;
    return (aac_block_shape){
        .rows = plan->tree.nodes,
        .longest = longest_prompt(plan->batch),
        .pairs = count_pairs(&plan->tree),
        .width = tower->width,
        .heads = tower->heads,
        .mlp = tower->mlp,
        .epsilon = tower->layer_norm_eps,
        .attention = AAC_ATTENTION_TREE,
        .activation = aac_model_activation(model, config->activation),
        .type = plan->type,
        .training = training,
    };
}

/* The vectors need only the end tokens of the last block; a gradient needs all its rows. */
static aaclip_status plan_ends(aac_text_plan *plan, const aaclip_config *config,
                               const aac_dispatch *dispatch)
{
    const aac_block_shape *shape = &plan->block.shape;
    const aac_op_desc gather = {
        .op = AAC_OP_GATHER, .gather = {plan->batch->prompts, shape->rows, shape->width, AAC_F32}};
    if (shape->training)
        return aac_dispatch_plan(dispatch, &plan->gather, &gather);
    aaclip_status status =
        aac_block_tail_plan_make(&plan->tail, shape, plan->batch->prompts, dispatch);
    bool adapted = plan->adapters && plan->adapters->layer_count == plan->checkpoint->text.layers;
    if (!status && adapted)
        status = aac_adapter_plan_make(&plan->tail_adapter, config, &plan->tail.shape,
                                       config->text_adapter_weight, dispatch);
    return status;
}

static aaclip_status plan_tower(aac_text_plan *plan, const aaclip_model *model,
                                const aaclip_config *config, bool training)
{
    const aac_dispatch *dispatch = aac_model_dispatch(model);
    const aac_block_shape shape = tower_shape(plan, model, config, training);
    aaclip_status status = aac_block_plan_make(&plan->block, &shape, dispatch);
    if (!status && plan->adapters && plan->adapters->layer_count)
        status = aac_adapter_plan_make(&plan->adapter, config, &shape, config->text_adapter_weight,
                                       dispatch);
    if (!status)
        status = plan_ends(plan, config, dispatch);
    return status ? status : plan_end(plan, config, plan->batch->prompts, dispatch);
}

void aac_text_plan_clear(aac_text_plan *plan)
{
    aac_block_plan_clear(&plan->block);
    aac_adapter_plan_clear(&plan->adapter);
    aac_block_plan_clear(&plan->tail);
    aac_adapter_plan_clear(&plan->tail_adapter);
    aac_plan_free(&plan->gather);
    aac_plan_free(&plan->ln_final);
    aac_plan_free(&plan->project);
    aac_plan_free(&plan->normalize);
    if (!aac_device_is_host(plan->dispatch)) {
        aac_device_free(plan->dispatch, plan->parents);
        aac_device_free(plan->dispatch, plan->ends);
        aac_device_free(plan->dispatch, plan->start);
    }
    aac_prefix_tree_clear(&plan->tree);
}

static size_t largest_scratch(const aac_text_plan *plan)
{
    const aac_plan *const plans[] = {plan->gather, plan->ln_final, plan->project, plan->normalize};
    const size_t sizes[] = {aac_block_scratch(&plan->block), aac_adapter_scratch(&plan->adapter),
                            aac_block_scratch(&plan->tail),
                            aac_adapter_scratch(&plan->tail_adapter)};
    size_t largest = aac_largest_scratch(plans, sizeof plans / sizeof *plans);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        largest = sizes[i] > largest ? sizes[i] : largest;
    return largest;
}

aac_text_memory aac_text_lay_out(const aac_text_plan *plan, aac_workspace *workspace,
                                 size_t more_scratch)
{
    const aac_block_shape *shape = &plan->block.shape;
    size_t prompts = (size_t)plan->batch->prompts;
    size_t rows = (size_t)shape->rows, width = (size_t)shape->width;
    size_t wide = (size_t)(shape->mlp > 3 * shape->width ? shape->mlp : 3 * shape->width);
    size_t element = aac_dtype_size(shape->type);
    size_t scratch = largest_scratch(plan);
    /* equal prompts share rows, so there may be more ends than rows */
    size_t most = rows > prompts ? rows : prompts;
    aac_text_memory memory = {0};
    memory.x = aac_take(workspace, rows * width, sizeof(float));
    memory.ends = aac_take(workspace, prompts * width, sizeof(float));
    memory.block.narrow = aac_take(workspace, most * width, element);
    memory.block.wide = aac_take(workspace, most * wide, element);
    memory.block.adapted = aac_take(workspace, most * width, sizeof(float));
    memory.block.scratch = aac_take(workspace, scratch > more_scratch ? scratch : more_scratch, 1);
    return memory;
}

aac_sequences aac_text_sequences(const aac_text_plan *plan)
{
    return (aac_sequences){.parents = plan->parents};
}

/* x = token embedding + position, in host memory */
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

/* The caller frees *out even on failure. */
static aaclip_status copy_numbers(const aac_dispatch *dispatch, int32_t **out,
                                  const int32_t *numbers, int64_t count)
{
    size_t bytes = (size_t)count * sizeof *numbers;
    *out = aac_device_alloc(dispatch, bytes);
    return *out ? aac_device_copy(dispatch, *out, numbers, bytes) : aac_device_error(dispatch);
}

/* Places the host's data of a batch where operations can read it. */
static aaclip_status place_tree(aac_text_plan *plan)
{
    const aac_prefix_tree *tree = &plan->tree;
    size_t values = (size_t)(tree->nodes * plan->checkpoint->text.width);
    if (aac_device_is_host(plan->dispatch)) {
        plan->parents = tree->parents;
        plan->ends = tree->ends;
        return AACLIP_OK;
    }
    float *start = aac_alloc_array(values, sizeof *start);
    if (start)
        embed_tokens(plan, start);
    void *memory;
    aaclip_status status = aac_device_adopt(plan->dispatch, &memory, start, values * sizeof *start);
    plan->start = memory;
    if (!status)
        status = copy_numbers(plan->dispatch, &plan->parents, tree->parents, tree->nodes);
    return status ? status
                  : copy_numbers(plan->dispatch, &plan->ends, tree->ends, plan->batch->prompts);
}

static aaclip_status begin_rows(const aac_text_plan *plan, float *x)
{
    size_t values = (size_t)(plan->tree.nodes * plan->checkpoint->text.width);
    if (plan->start)
        return aac_device_copy(plan->dispatch, x, plan->start, values * sizeof *x);
    embed_tokens(plan, x);
    return AACLIP_OK;
}

/* *x: the rows after `count` blocks. */
static aaclip_status run_blocks(const aac_text_plan *plan, int64_t count,
                                const aac_text_memory *memory, const aac_text_tape *tape,
                                const float **x)
{
    const aac_sequences prompts = aac_text_sequences(plan);
    uint32_t adapted = plan->adapters ? plan->adapters->layer_count : 0;
    aaclip_status status = AACLIP_OK;
    *x = memory->x;
    for (int64_t i = 0; !status && i < count; i++) {
        const aac_adapter_tape *kept = tape && i < adapted ? &tape->adapters[i] : NULL;
        float *after = tape ? tape->blocks[i + 1].x : memory->x, *between = kept ? kept->x : after;
        status = aac_block_run(&plan->block, &plan->tower->blocks[i], *x, between, &prompts,
                               &memory->block, tape ? &tape->blocks[i] : NULL);
        if (!status && i < adapted)
            status = aac_adapter_run(&plan->adapter, &plan->adapters->layers[i], between, after,
                                     &memory->block, kept);
        *x = after;
    }
    return status;
}

/* memory->ends = the end tokens after the last block and its adapter */
static aaclip_status run_last_block(const aac_text_plan *plan, const float *x,
                                    const aac_text_memory *memory)
{
    const aac_sequences prompts = aac_text_sequences(plan);
    int64_t last = plan->checkpoint->text.layers - 1;
    aaclip_status status =
        aac_block_run_last(&plan->block, &plan->tail, &plan->tower->blocks[last], x, &prompts,
                           plan->ends, memory->ends, &memory->block);
    if (!status && plan->tail_adapter.blend)
        status = aac_adapter_run(&plan->tail_adapter, &plan->adapters->layers[last], memory->ends,
                                 memory->ends, &memory->block, NULL);
    return status;
}

/* The rows of the end tokens after all blocks: in the tape's `ends` if there is a tape, else
 * memory's. */
static aaclip_status run_tower(const aac_text_plan *plan, const aac_text_memory *memory,
                               const aac_text_tape *tape)
{
    int64_t layers = plan->checkpoint->text.layers;
    bool whole = plan->gather != NULL;
    const float *x;
    aaclip_status status = run_blocks(plan, whole ? layers : layers - 1, memory, tape, &x);
    if (!status && !whole)
        return run_last_block(plan, x, memory);
    const aac_op_args gather = {.x = x, .y = tape ? tape->ends : memory->ends, .index = plan->ends};
    return status ? status : aac_run(plan->gather, &gather, memory->block.scratch);
}

/* normalize(projection(ln_final(ends))) */
static aaclip_status run_end(const aac_text_plan *plan, const aac_text_memory *memory,
                             float *vectors, const aac_text_tape *tape)
{
    float *ends = tape ? tape->ends : memory->ends;
    void *normed = tape ? tape->normed : memory->block.narrow;
    float *projected = tape ? tape->projected : vectors;
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
    aaclip_status status = begin_rows(plan, memory->x);
    if (!status)
        status = run_tower(plan, memory, tape);
    return status ? status : run_end(plan, memory, vectors, tape);
}

aaclip_status aac_text_plan_make(aac_text_plan *plan, const aaclip_model *model,
                                 const aac_text_tower *tower, const aaclip_adapters *adapters,
                                 const aaclip_config *config, const aac_token_batch *batch,
                                 bool training)
{
    *plan = (aac_text_plan){
        .dispatch = aac_model_dispatch(model),
        .checkpoint = aac_model_checkpoint(model),
        .tower = tower,
        .adapters = aaclip_adapters_has_text(adapters) ? aac_adapters_text(adapters) : NULL,
        .batch = batch,
        .type = aac_model_type(model),
    };
    aaclip_status status = aac_tensor_file_check(plan->checkpoint->file); /* has the embeddings */
    if (!status)
        status = aac_prefix_tree_make(&plan->tree, batch);
    if (!status)
        status = place_tree(plan);
    return status ? status : plan_tower(plan, model, config, training);
}

static aaclip_status run_once(const aac_text_plan *plan, float *vectors)
{
    const aac_dispatch *dispatch = plan->dispatch;
    size_t values = (size_t)(plan->batch->prompts * plan->checkpoint->embedding);
    bool apart = !aac_device_is_host(dispatch);
    aac_workspace workspace = {0};
    aac_text_lay_out(plan, &workspace, 0);
    aac_take(&workspace, apart ? values : 0, sizeof(float));
    char *base = aac_device_alloc(dispatch, workspace.used);
    if (!base)
        return aac_device_error(dispatch);
    workspace = (aac_workspace){.base = base};
    const aac_text_memory memory = aac_text_lay_out(plan, &workspace, 0);
    float *written = apart ? aac_take(&workspace, values, sizeof(float)) : vectors;
    aaclip_status status = aac_text_run(plan, &memory, written, NULL);
    if (!status)
        status = aac_device_copy(dispatch, vectors, written, values * sizeof(float));
    aac_device_free(dispatch, base);
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
