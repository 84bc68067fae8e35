#include "model/block_backward.h"

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
                                                 .type = shape->type,
                                                 .rows = shape->rows}};
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

/* wide = gradient of q, k, v from narrow, that of the attention's result */
static aaclip_status run_attention(const aac_block_backward_plan *plan, const aac_block_tape *tape,
                                   const aac_sequences *sequences, const aac_block_memory *memory)
{
    const aac_op_args args = {.x = tape->qkv,
                              .out = tape->attended,
                              .dy = memory->narrow,
                              .y = memory->wide,
                              .offsets = sequences->offsets,
                              .sequences = sequences->count,
                              .parents = sequences->parents};
    return aac_run(plan->attention, &args, memory->scratch);
}

aaclip_status aac_block_backward_run(const aac_block_backward_plan *plan, const aac_block *block,
                                     const aac_turned_block *turned, const aac_block_tape *tape,
                                     float *gradient, const aac_sequences *sequences,
                                     const aac_block_memory *memory)
{
    const void *operand = NULL;
    aaclip_status status = run_mlp(plan, block, turned, tape, gradient, memory);
    if (!status)
        status = aac_to_operand(plan->convert, gradient, memory->wide, &operand, memory->scratch);
    if (!status)
        status = run_linear(plan->out, turned->out, operand, memory->narrow, memory->scratch);
    if (!status)
        status = run_attention(plan, tape, sequences, memory);
    if (!status)
        status = run_linear(plan->qkv, turned->qkv, memory->wide, memory->adapted, memory->scratch);
    return status ? status
                  : run_norm(plan, tape->x, block->ln_1_gain, memory->adapted, gradient,
                             memory->scratch);
}
