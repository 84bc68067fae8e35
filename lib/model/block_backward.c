#include "model/block_backward.h"

/* From the gradient of a product to that of its input. */
static aaclip_status plan_linear(aac_plan **plan, const aac_dispatch *dispatch,
                                 const aac_block_shape *shape, int64_t inputs, int64_t outputs,
                                 aac_dtype y)
{
    const aac_op_desc desc = {.op = AAC_OP_LINEAR,
                              .linear = {.rows = shape->rows,
                                         .inputs = inputs,
                                         .outputs = outputs,
                                         .x = shape->type,
                                         .y = y,
                                         .transposed = true}};
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
    const aac_op_desc norm = {
        .op = AAC_OP_LAYER_NORM_BACKWARD,
        .layer_norm = {shape->rows, shape->width, shape->type, shape->epsilon}};
    const aac_op_desc attention = {.op = AAC_OP_ATTENTION_BACKWARD,
                                   .attention = {.longest = shape->longest,
                                                 .uniform = shape->uniform,
                                                 .heads = shape->heads,
                                                 .head_size = shape->width / shape->heads,
                                                 .kind = shape->attention,
                                                 .type = shape->type,
                                                 .rows = shape->rows,
                                                 .pairs = shape->pairs}};
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

/* Whether layer norms also leave the gradient rounded, for the next product. */
static bool rounds(const aac_block_backward_plan *plan)
{
    return plan->convert && plan->norm->rounds;
}

/* rounded: receives the rounded gradient, if the plan rounds */
static aaclip_status run_norm(const aac_block_backward_plan *plan, const float *x,
                              const float *gain, const aac_stream_gradient *gradient, void *rounded,
                              const aac_block_memory *memory)
{
    const aac_op_args args = {.x = x,
                              .dy = memory->adapted,
                              .y = gradient->values,
                              .gain = gain,
                              .rounded = rounds(plan) ? rounded : NULL};
    return aac_run(plan->norm, &args, memory->scratch);
}

/* The gradient as a product's operand: in `rounded`, already there or converted now. */
static aaclip_status find_operand(const aac_block_backward_plan *plan,
                                  const aac_stream_gradient *gradient, bool there, void *rounded,
                                  const void **operand, const aac_block_memory *memory)
{
    *operand = rounded;
    return there
               ? AACLIP_OK
               : aac_to_operand(plan->convert, gradient->values, rounded, operand, memory->scratch);
}

/* Backward of x += proj(activation(fc(ln_2(x)))); if the plan rounds, the gradient is also in
 * `wide` */
static aaclip_status run_mlp(const aac_block_backward_plan *plan, const aac_block *block,
                             const aac_block_tape *tape, const aac_stream_gradient *gradient,
                             const aac_block_memory *memory)
{
    const void *operand;
    aaclip_status status =
        find_operand(plan, gradient, gradient->rounded, memory->narrow, &operand, memory);
    if (!status)
        status = run_linear(plan->proj, block->proj, operand, memory->wide, memory->scratch);
    const aac_op_args activate = {.x = tape->hidden, .dy = memory->wide, .y = memory->wide};
    if (!status)
        status = aac_run(plan->activate, &activate, memory->scratch);
    if (!status)
        status = run_linear(plan->fc, block->fc, memory->wide, memory->adapted, memory->scratch);
    return status ? status
                  : run_norm(plan, tape->middle, block->ln_2_gain, gradient, memory->wide, memory);
}

/* wide = gradient of q, k, v, from narrow = gradient of the attention's result */
static aaclip_status run_attention(const aac_block_backward_plan *plan, const aac_block_tape *tape,
                                   const aac_sequences *sequences, const aac_block_memory *memory)
{
    const aac_op_args args = {.x = tape->qkv,
                              .out = tape->attended,
                              .sums = tape->sums,
                              .dy = memory->narrow,
                              .y = memory->wide,
                              .offsets = sequences->offsets,
                              .sequences = sequences->count,
                              .parents = sequences->parents};
    return aac_run(plan->attention, &args, memory->scratch);
}

aaclip_status aac_block_backward_run(const aac_block_backward_plan *plan, const aac_block *block,
                                     const aac_block_tape *tape, aac_stream_gradient *gradient,
                                     const aac_sequences *sequences, const aac_block_memory *memory)
{
    const void *operand = NULL;
    aaclip_status status = run_mlp(plan, block, tape, gradient, memory);
    if (!status)
        status = find_operand(plan, gradient, rounds(plan), memory->wide, &operand, memory);
    if (!status)
        status = run_linear(plan->out, block->out, operand, memory->narrow, memory->scratch);
    if (!status)
        status = run_attention(plan, tape, sequences, memory);
    if (!status)
        status = run_linear(plan->qkv, block->qkv, memory->wide, memory->adapted, memory->scratch);
    if (!status)
        status = run_norm(plan, tape->x, block->ln_1_gain, gradient, memory->narrow, memory);
    gradient->rounded = rounds(plan);
    return status;
}
