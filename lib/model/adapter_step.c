/* The adapter that follows a block: adapt, restore the norm, blend with the input. */
#include "model/adapters.h"

static aaclip_status plan_linear(aac_plan **plan, const aac_dispatch *dispatch,
                                 const aac_block_shape *shape, int64_t inputs, int64_t outputs,
                                 aac_dtype y, aac_activation activation, float slope)
{
    const aac_op_desc desc = {.op = AAC_OP_LINEAR,
                              .linear = {.rows = shape->rows,
                                         .inputs = inputs,
                                         .outputs = outputs,
                                         .x = shape->type,
                                         .y = y,
                                         .activation = activation,
                                         .slope = slope}};
    return aac_dispatch_plan(dispatch, plan, &desc);
}

/* bottleneck: fc2(leaky(fc1(x))); linear: leaky(fc(x)) */
static aaclip_status plan_products(aac_adapter_plan *plan, const aaclip_config *config,
                                   const aac_block_shape *shape, const aac_dispatch *dispatch)
{
    int64_t width = shape->width, half = width / 2;
    float slope = config->layer_adapter_slope;
    if (config->layer_adapter == AACLIP_LAYER_ADAPTER_LINEAR)
        return plan_linear(&plan->first, dispatch, shape, width, width, AAC_F32,
                           AAC_ACTIVATION_LEAKY_RELU, slope);
    aaclip_status status = plan_linear(&plan->first, dispatch, shape, width, half, shape->type,
                                       AAC_ACTIVATION_LEAKY_RELU, slope);
    return status ? status
                  : plan_linear(&plan->second, dispatch, shape, half, width, AAC_F32,
                                AAC_ACTIVATION_NONE, 0);
}

aaclip_status aac_adapter_plan_make(aac_adapter_plan *plan, const aaclip_config *config,
                                    const aac_block_shape *shape, float weight,
                                    const aac_dispatch *dispatch)
{
    *plan = (aac_adapter_plan){0};
    const aac_op_desc convert = {.op = AAC_OP_CONVERT,
                                 .convert = {shape->rows, shape->width, AAC_F32, shape->type}};
    const aac_op_desc blend = {.op = AAC_OP_BLEND, .blend = {shape->rows, shape->width, weight}};
    aaclip_status status = AACLIP_OK;
    if (shape->type != AAC_F32)
        status = aac_dispatch_plan(dispatch, &plan->convert, &convert);
    if (!status)
        status = plan_products(plan, config, shape, dispatch);
    if (!status)
        status = aac_dispatch_plan(dispatch, &plan->blend, &blend);
    if (status)
        aac_adapter_plan_clear(plan);
    return status;
}

void aac_adapter_plan_clear(aac_adapter_plan *plan)
{
    aac_plan_free(&plan->convert);
    aac_plan_free(&plan->first);
    aac_plan_free(&plan->second);
    aac_plan_free(&plan->blend);
}

size_t aac_adapter_scratch(const aac_adapter_plan *plan)
{
    const aac_plan *const plans[] = {plan->convert, plan->first, plan->second, plan->blend};
    return aac_largest_scratch(plans, sizeof plans / sizeof *plans);
}

aaclip_status aac_adapter_run(const aac_adapter_plan *plan, const aac_layer_adapter *adapter,
                              const float *x, float *y, const aac_block_memory *memory,
                              const aac_adapter_tape *tape)
{
    const void *operand;
    float *adapted = tape ? tape->adapted : memory->adapted;
    aaclip_status status =
        aac_to_operand(plan->convert, x, memory->narrow, &operand, memory->scratch);
    void *middle = tape ? tape->middle : memory->wide;
    const aac_op_args first = {
        .x = operand, .y = plan->second ? middle : adapted, .weight = adapter->first};
    if (!status)
        status = aac_run(plan->first, &first, memory->scratch);
    const aac_op_args second = {.x = middle, .y = adapted, .weight = adapter->second};
    if (!status && plan->second)
        status = aac_run(plan->second, &second, memory->scratch);
    const aac_op_args blend = {.x = x, .a = adapted, .y = y};
    return status ? status : aac_run(plan->blend, &blend, memory->scratch);
}
