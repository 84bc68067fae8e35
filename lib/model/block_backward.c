#include "model/block_backward.h"

#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"

aaclip_status aac_pack_turned(aac_weight **weight, const aac_tensor *matrix,
                              const aac_dispatch *dispatch, aac_dtype type)
{
    aac_tensor turned = *matrix;
    turned.shape[0] = matrix->shape[1];
    turned.shape[1] = matrix->shape[0];
    turned.stride[0] = matrix->stride[1];
    turned.stride[1] = matrix->stride[0];
    return aac_dispatch_pack(dispatch, weight, &turned, NULL, 1, type);
}

/* The file's pages may leave memory: what was packed is a copy. */
static void release_matrix(const aac_tensor *matrix)
{
    if (aac_tensor_is_contiguous(matrix))
        aac_mapping_release(matrix->data,
                            (size_t)aac_tensor_elements(matrix) * aac_dtype_size(matrix->dtype));
}

static aaclip_status pack_mapped(aac_weight **weight, const aac_tensor *matrix,
                                 const aac_dispatch *dispatch, aac_dtype type)
{
    aaclip_status status = aac_pack_turned(weight, matrix, dispatch, type);
    if (!status && !(*weight)->in_place)
        release_matrix(matrix);
    return status;
}

/* q, k and v of a layout that splits them are one matrix first. */
static aaclip_status pack_turned_parts(aac_weight **weight, const aac_parts *parts,
                                       const aac_dispatch *dispatch, aac_dtype type)
{
    if (parts->count == 1)
        return pack_mapped(weight, &parts->part[0], dispatch, type);
    int64_t elements = aac_tensor_elements(&parts->part[0]);
    float *values = aac_alloc_array(3 * (size_t)elements, sizeof *values);
    if (!values)
        return aac_error_memory();
    for (int i = 0; i < 3; i++) {
        aac_tensor_to_f32(&parts->part[i], values + i * elements);
        release_matrix(&parts->part[i]);
    }
    int64_t columns = parts->part[0].shape[1];
    const aac_tensor joined = {.dtype = AAC_F32,
                               .rank = 2,
                               .shape = {3 * parts->part[0].shape[0], columns},
                               .stride = {columns, 1},
                               .data = values};
    aaclip_status status = aac_pack_turned(weight, &joined, dispatch, type);
    if (!status && (*weight)->in_place) /* turned matrices never are: the strides do not fit */
        status = aac_error(AACLIP_ERROR_BACKEND, "a packed matrix refers to memory that is freed");
    aac_free(values);
    return status;
}

aaclip_status aac_turned_block_pack(aac_turned_block *block, const aac_block_tensors *tensors,
                                    const aac_dispatch *dispatch, aac_dtype type)
{
    aaclip_status status = pack_turned_parts(&block->qkv, &tensors->qkv_weight, dispatch, type);
    if (!status)
        status = pack_mapped(&block->out, &tensors->out_weight, dispatch, type);
    if (!status)
        status = pack_mapped(&block->fc, &tensors->fc_weight, dispatch, type);
    return status ? status : pack_mapped(&block->proj, &tensors->proj_weight, dispatch, type);
}

void aac_turned_block_clear(aac_turned_block *block)
{
    aac_weight_free(&block->qkv);
    aac_weight_free(&block->out);
    aac_weight_free(&block->fc);
    aac_weight_free(&block->proj);
}

static aaclip_status plan_linear(aac_plan **plan, const aac_dispatch *dispatch,
                                 const aac_block_shape *shape, int64_t inputs, int64_t outputs,
                                 aac_dtype y)
{
    const aac_op_desc desc = {
        .op = AAC_OP_LINEAR,
        .linear = {
            .rows = shape->rows, .inputs = inputs, .outputs = outputs, .x = shape->type, .y = y}};
    return aac_dispatch_plan(dispatch, plan, &desc);
}

static aaclip_status plan_others(aac_block_backward_plan *plan, const aac_block_shape *shape,
                                 const aac_dispatch *dispatch)
{
    const aac_op_desc convert = {.op = AAC_OP_CONVERT,
                                 .convert = {shape->rows, shape->width, AAC_F32, shape->type}};
    const aac_op_desc activate = {.op = AAC_OP_ACTIVATE_BACKWARD,
                                  .activate = {.rows = shape->rows,
                                               .columns = shape->mlp,
                                               .activation = shape->activation,
                                               .type = shape->type}};
    const aac_op_desc norm = {.op = AAC_OP_LAYER_NORM_BACKWARD,
                              .layer_norm = {shape->rows, shape->width, AAC_F32, shape->epsilon}};
    const aac_op_desc attention = {.op = AAC_OP_ATTENTION_BACKWARD,
                                   .attention = {.longest = shape->longest,
                                                 .uniform = shape->uniform,
                                                 .heads = shape->heads,
                                                 .head_size = shape->width / shape->heads,
                                                 .kind = shape->attention,
                                                 .type = shape->type}};
    aaclip_status status = AACLIP_OK;
    if (shape->type != AAC_F32)
        status = aac_dispatch_plan(dispatch, &plan->convert, &convert);
    if (!status)
        status = aac_dispatch_plan(dispatch, &plan->activate, &activate);
    if (!status)
        status = aac_dispatch_plan(dispatch, &plan->norm, &norm);
    return status ? status : aac_dispatch_plan(dispatch, &plan->attention, &attention);
}

aaclip_status aac_block_backward_plan_make(aac_block_backward_plan *plan,
                                           const aac_block_shape *shape,
                                           const aac_dispatch *dispatch)
{
    *plan = (aac_block_backward_plan){.shape = *shape};
    int64_t width = shape->width, mlp = shape->mlp;
    aaclip_status status = plan_others(plan, shape, dispatch);
    if (!status)
        status = plan_linear(&plan->proj, dispatch, shape, width, mlp, shape->type);
    if (!status)
        status = plan_linear(&plan->fc, dispatch, shape, mlp, width, AAC_F32);
    if (!status)
        status = plan_linear(&plan->out, dispatch, shape, width, width, shape->type);
    if (!status)
        status = plan_linear(&plan->qkv, dispatch, shape, 3 * width, width, AAC_F32);
    if (status)
        aac_block_backward_plan_clear(plan);
    return status;
}

void aac_block_backward_plan_clear(aac_block_backward_plan *plan)
{
    aac_plan_free(&plan->convert);
    aac_plan_free(&plan->proj);
    aac_plan_free(&plan->activate);
    aac_plan_free(&plan->fc);
    aac_plan_free(&plan->norm);
    aac_plan_free(&plan->out);
    aac_plan_free(&plan->attention);
    aac_plan_free(&plan->qkv);
}

size_t aac_block_backward_scratch(const aac_block_backward_plan *plan)
{
    const aac_plan *const plans[] = {plan->convert, plan->proj, plan->activate,  plan->fc,
                                     plan->norm,    plan->out,  plan->attention, plan->qkv};
    return aac_largest_scratch(plans, sizeof plans / sizeof *plans);
}

static aaclip_status run_linear(const aac_plan *plan, const aac_weight *weight, const void *x,
                                void *y, void *scratch)
{
    const aac_op_args args = {.x = x, .y = y, .weight = weight};
    return aac_run(plan, &args, scratch);
}

static aaclip_status run_norm(const aac_block_backward_plan *plan, const float *x,
                              const float *gain, const float *dy, float *gradient, void *scratch)
{
    const aac_op_args args = {.x = x, .dy = dy, .y = gradient, .gain = gain};
    return aac_run(plan->norm, &args, scratch);
}

/* x += proj(activation(fc(ln_2(x)))), back */
static aaclip_status run_mlp(const aac_block_backward_plan *plan, const aac_block *block,
                             const aac_turned_block *turned, const aac_block_tape *tape,
                             float *gradient, const aac_block_memory *memory)
{
    const void *operand;
    aaclip_status status =
        aac_to_operand(plan->convert, gradient, memory->narrow, &operand, memory->scratch);
    if (!status)
        status = run_linear(plan->proj, turned->proj, operand, memory->wide, memory->scratch);
    const aac_op_args activate = {.x = tape->hidden, .dy = memory->wide, .y = memory->wide};
    if (!status)
        status = aac_run(plan->activate, &activate, memory->scratch);
    if (!status)
        status = run_linear(plan->fc, turned->fc, memory->wide, memory->adapted, memory->scratch);
    return status ? status
                  : run_norm(plan, tape->middle, block->ln_2_gain, memory->adapted, gradient,
                             memory->scratch);
}

/* Each row's gradient goes to its first token; the forward results of all its tokens are equal. */
static void give_first_tokens(const aac_sequences *sequences, const void *rows, size_t bytes,
                              void *out)
{
    int32_t next = 0;
    for (size_t i = 0; i < (size_t)sequences->offsets[sequences->count]; i++) {
        char *token = (char *)out + i * bytes;
        if (sequences->rows[i] == next)
            memcpy(token, (const char *)rows + (size_t)next++ * bytes, bytes);
        else
            memset(token, 0, bytes);
    }
}

/* A third of the columns (q, k or v) of all tokens, summed over the tokens of each row. */
static void sum_part(const aac_block_backward_plan *plan, const aac_sequences *sequences,
                     const void *tokens, int64_t part, float *sums, void *rows)
{
    int64_t width = plan->shape.width;
    bool narrow = plan->shape.type == AAC_BF16;
    memset(sums, 0, (size_t)(plan->shape.rows * width) * sizeof *sums);
    for (int64_t i = 0; i < sequences->offsets[sequences->count]; i++) {
        int64_t at = (3 * i + part) * width;
        float *sum = sums + sequences->rows[i] * width;
        for (int64_t j = 0; j < width; j++)
            sum[j] += narrow ? aac_bf16_to_f32(((const uint16_t *)tokens)[at + j])
                             : ((const float *)tokens)[at + j];
    }
    for (int64_t row = 0; row < plan->shape.rows; row++)
        for (int64_t j = 0; j < width; j++) {
            int64_t at = (3 * row + part) * width + j;
            if (narrow)
                ((uint16_t *)rows)[at] = aac_f32_to_bf16(sums[row * width + j]);
            else
                ((float *)rows)[at] = sums[row * width + j];
        }
}

static aaclip_status run_shared(const aac_block_backward_plan *plan, const aac_block_tape *tape,
                                const aac_sequences *sequences, const aac_block_memory *memory,
                                const aac_backward_memory *more)
{
    size_t narrow = (size_t)plan->shape.width * aac_dtype_size(plan->shape.type);
    aac_spread_rows(sequences, tape->qkv, 3 * narrow, memory->spread);
    aac_spread_rows(sequences, tape->attended, narrow, memory->attended);
    give_first_tokens(sequences, memory->narrow, narrow, more->attended_gradient);
    const aac_op_args args = {.x = memory->spread,
                              .out = memory->attended,
                              .dy = more->attended_gradient,
                              .y = more->spread_gradient,
                              .offsets = sequences->offsets,
                              .sequences = sequences->count};
    aaclip_status status = aac_run(plan->attention, &args, memory->scratch);
    for (int64_t part = 0; !status && part < 3; part++)
        sum_part(plan, sequences, more->spread_gradient, part, memory->adapted, memory->wide);
    return status;
}

/* wide = gradient of q, k, v from narrow, that of the attention's result */
static aaclip_status run_attention(const aac_block_backward_plan *plan, const aac_block_tape *tape,
                                   const aac_sequences *sequences, const aac_block_memory *memory,
                                   const aac_backward_memory *more)
{
    if (sequences->rows)
        return run_shared(plan, tape, sequences, memory, more);
    const aac_op_args args = {.x = tape->qkv,
                              .out = tape->attended,
                              .dy = memory->narrow,
                              .y = memory->wide,
                              .offsets = sequences->offsets,
                              .sequences = sequences->count};
    return aac_run(plan->attention, &args, memory->scratch);
}

aaclip_status aac_block_backward_run(const aac_block_backward_plan *plan, const aac_block *block,
                                     const aac_turned_block *turned, const aac_block_tape *tape,
                                     float *gradient, const aac_sequences *sequences,
                                     const aac_block_memory *memory,
                                     const aac_backward_memory *more)
{
    const void *operand = NULL;
    aaclip_status status = run_mlp(plan, block, turned, tape, gradient, memory);
    if (!status)
        status = aac_to_operand(plan->convert, gradient, memory->wide, &operand, memory->scratch);
    if (!status)
        status = run_linear(plan->out, turned->out, operand, memory->narrow, memory->scratch);
    if (!status)
        status = run_attention(plan, tape, sequences, memory, more);
    if (!status)
        status = run_linear(plan->qkv, turned->qkv, memory->wide, memory->adapted, memory->scratch);
    return status ? status
                  : run_norm(plan, tape->x, block->ln_1_gain, memory->adapted, gradient,
                             memory->scratch);
}
