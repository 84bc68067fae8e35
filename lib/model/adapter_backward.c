/* Backward of the adapter step: blend, then the adapter's one or two matrices. */
#include "model/block_backward.h"

static aaclip_status plan_matrix(aac_plan **input, aac_plan **gradient,
                                 const aac_dispatch *dispatch, const aac_block_shape *shape,
                                 int64_t inputs, int64_t outputs, bool accumulate)
{
    const aac_op_desc back = {.op = AAC_OP_LINEAR,
                              .linear = {.rows = shape->rows,
                                         .inputs = outputs,
                                         .outputs = inputs,
                                         .x = shape->type,
                                         .y = accumulate ? AAC_F32 : shape->type,
                                         .accumulate = accumulate,
                                         .transposed = true}};
    const aac_op_desc sum = {.op = AAC_OP_LINEAR_GRADIENT,
                             .linear_gradient = {shape->rows, inputs, outputs, shape->type}};
    aaclip_status status = aac_dispatch_plan(dispatch, input, &back);
    return status ? status : aac_dispatch_plan(dispatch, gradient, &sum);
}

aaclip_status aac_adapter_backward_plan_make(aac_adapter_backward_plan *plan,
                                             const aaclip_config *config,
                                             const aac_block_shape *shape, float weight,
                                             const aac_dispatch *dispatch)
{
    *plan = (aac_adapter_backward_plan){0};
    bool linear = config->layer_adapter == AACLIP_LAYER_ADAPTER_LINEAR;
    int64_t width = shape->width, between = linear ? width : width / 2;
    const aac_op_desc convert = {.op = AAC_OP_CONVERT,
                                 .convert = {shape->rows, width, AAC_F32, shape->type}};
    const aac_op_desc blend = {.op = AAC_OP_BLEND_BACKWARD, .blend = {shape->rows, width, weight}};
    const aac_op_desc activate = {.op = AAC_OP_ACTIVATE_BACKWARD,
                                  .activate = {.rows = shape->rows,
                                               .columns = between,
                                               .activation = AAC_ACTIVATION_LEAKY_RELU,
                                               .slope = config->layer_adapter_slope,
                                               .type = linear ? AAC_F32 : shape->type}};
    aaclip_status status = AACLIP_OK;
    if (shape->type != AAC_F32)
        status = aac_dispatch_plan(dispatch, &plan->convert, &convert);
    if (!status)
        status = aac_dispatch_plan(dispatch, &plan->blend, &blend);
    if (!status)
        status = aac_dispatch_plan(dispatch, &plan->activate, &activate);
    if (!status && !linear)
        status = plan_matrix(&plan->second, &plan->second_gradient, dispatch, shape, between, width,
                             false);
    if (!status)
        status =
            plan_matrix(&plan->first, &plan->first_gradient, dispatch, shape, width, between, true);
    if (status)
        aac_adapter_backward_plan_clear(plan);
    return status;
}

void aac_adapter_backward_plan_clear(aac_adapter_backward_plan *plan)
{
    aac_plan_free(&plan->convert);
    aac_plan_free(&plan->activate);
    aac_plan_free(&plan->blend);
    aac_plan_free(&plan->second);
    aac_plan_free(&plan->second_gradient);
    aac_plan_free(&plan->first);
    aac_plan_free(&plan->first_gradient);
}

size_t aac_adapter_backward_scratch(const aac_adapter_backward_plan *plan)
{
    const aac_plan *const plans[] = {plan->convert,       plan->activate,        plan->blend,
                                     plan->second,        plan->second_gradient, plan->first,
                                     plan->first_gradient};
    return aac_largest_scratch(plans, sizeof plans / sizeof *plans);
}

static aaclip_status add_gradient(const aac_plan *plan, const void *dy, const void *x, float *sum,
                                  void *scratch)
{
    const aac_op_args args = {.x = x, .dy = dy, .y = sum};
    return aac_run(plan, &args, scratch);
}

/* Through the second matrix and the activation; `wide` gets the gradient for the first matrix. */
static aaclip_status through_second(const aac_adapter_backward_plan *plan,
                                    const aac_trained_layer *layer, const aac_adapter_tape *tape,
                                    const aac_block_memory *memory)
{
    const void *operand;
    aaclip_status status =
        aac_to_operand(plan->convert, memory->adapted, memory->narrow, &operand, memory->scratch);
    if (!status)
        status = add_gradient(plan->second_gradient, operand, tape->middle, layer->second_gradient,
                              memory->scratch);
    const aac_op_args back = {.x = operand, .y = memory->wide, .weight = layer->adapter->second};
    if (!status)
        status = aac_run(plan->second, &back, memory->scratch);
    const aac_op_args activate = {.x = tape->middle, .dy = memory->wide, .y = memory->wide};
    return status ? status : aac_run(plan->activate, &activate, memory->scratch);
}

/* The single matrix of a linear adapter precedes the activation. */
static aaclip_status through_activation(const aac_adapter_backward_plan *plan,
                                        const aac_adapter_tape *tape,
                                        const aac_block_memory *memory, const void **operand)
{
    const aac_op_args activate = {.x = tape->adapted, .dy = memory->adapted, .y = memory->adapted};
    aaclip_status status = aac_run(plan->activate, &activate, memory->scratch);
    return status ? status
                  : aac_to_operand(plan->convert, memory->adapted, memory->wide, operand,
                                   memory->scratch);
}

aaclip_status aac_adapter_backward_run(const aac_adapter_backward_plan *plan,
                                       const aac_trained_layer *layer, const aac_adapter_tape *tape,
                                       aac_stream_gradient *gradient, bool last,
                                       const aac_block_memory *memory)
{
    const void *dy = memory->wide, *x = NULL;
    const aac_op_args blend = {.x = tape->x,
                               .a = tape->adapted,
                               .dy = gradient->values,
                               .y = gradient->values,
                               .da = memory->adapted};
    gradient->rounded = false;
    aaclip_status status = aac_run(plan->blend, &blend, memory->scratch);
    if (!status)
        status = plan->second ? through_second(plan, layer, tape, memory)
                              : through_activation(plan, tape, memory, &dy);
    if (!status)
        status = aac_to_operand(plan->convert, tape->x, memory->narrow, &x, memory->scratch);
    if (!status)
        status = add_gradient(plan->first_gradient, dy, x, layer->first_gradient, memory->scratch);
    const aac_op_args back = {.x = dy, .y = gradient->values, .weight = layer->adapter->first};
    return status || last ? status : aac_run(plan->first, &back, memory->scratch);
}
