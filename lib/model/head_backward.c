#include "model/head_backward.h"

static aaclip_status plan_matrix(aac_head_backward_plan *plan, const aac_head_shape *shape,
                                 const aac_dispatch *dispatch)
{
    const aac_op_desc gradient = {.op = AAC_OP_LINEAR_GRADIENT,
                                  .linear_gradient = {shape->images * shape->rows, shape->width,
                                                      shape->embedding, shape->type}};
    aac_op_desc project = {.op = AAC_OP_LINEAR,
                           .linear = {.rows = shape->images * shape->rows,
                                      .inputs = shape->embedding,
                                      .outputs = shape->width,
                                      .x = shape->type,
                                      .y = AAC_F32,
                                      .transposed = true}};
    aaclip_status status = aac_dispatch_plan(dispatch, &plan->gradient, &gradient);
    if (!status)
        status = aac_dispatch_plan(dispatch, &plan->project, &project);
    project.linear.accumulate = true;
    return status ? status : aac_dispatch_plan(dispatch, &plan->project_more, &project);
}

aaclip_status aac_head_backward_plan_make(aac_head_backward_plan *plan, const aac_head_shape *shape,
                                          const aac_dispatch *dispatch)
{
    int64_t rows = shape->rows, embedding = shape->embedding, all = shape->images * rows;
    *plan = (aac_head_backward_plan){.images = shape->images, .values = rows * embedding};
    const aac_op_desc normalize = {.op = AAC_OP_NORMALIZE_BACKWARD,
                                   .normalize = {rows, embedding, false}};
    const aac_op_desc mean = {.op = AAC_OP_NORMALIZE_BACKWARD,
                              .normalize = {rows, embedding, true}};
    const aac_op_desc activate = {
        .op = AAC_OP_ACTIVATE_BACKWARD,
        .activate = {all, embedding, AAC_ACTIVATION_LEAKY_RELU, shape->slope, AAC_F32}};
    const aac_op_desc convert = {.op = AAC_OP_CONVERT,
                                 .convert = {all, embedding, AAC_F32, shape->type}};
    aaclip_status status = aac_dispatch_plan(dispatch, &plan->normalize, &normalize);
    if (!status)
        status = aac_dispatch_plan(dispatch, &plan->mean, &mean);
    if (!status && shape->activation)
        status = aac_dispatch_plan(dispatch, &plan->activate, &activate);
    if (!status && shape->type != AAC_F32)
        status = aac_dispatch_plan(dispatch, &plan->convert, &convert);
    if (!status)
        status = plan_matrix(plan, shape, dispatch);
    if (status)
        aac_head_backward_plan_clear(plan);
    return status;
}

void aac_head_backward_plan_clear(aac_head_backward_plan *plan)
{
    aac_plan **const plans[] = {&plan->normalize,   &plan->mean,     &plan->activate,
                                &plan->convert,     &plan->gradient, &plan->project,
                                &plan->project_more};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        aac_plan_free(plans[i]);
}

size_t aac_head_backward_scratch(const aac_head_backward_plan *plan)
{
    const aac_plan *const plans[] = {plan->normalize,   plan->mean,     plan->activate,
                                     plan->convert,     plan->gradient, plan->project,
                                     plan->project_more};
    return aac_largest_scratch(plans, sizeof plans / sizeof *plans);
}

/* From the gradients of the results to those before the L2 norm, in `buffer`. */
static aaclip_status run_norms(const aac_head_backward_plan *plan,
                               const aac_head_backward_args *args, void *scratch)
{
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < plan->images; i++) {
        const aac_op_args normalize = {.x = args->projected + i * plan->values,
                                       .dy = args->dy + i * args->apart,
                                       .y = args->buffer + i * plan->values};
        status = aac_run(args->mean ? plan->mean : plan->normalize, &normalize, scratch);
    }
    return status;
}

aaclip_status aac_head_backward_run(const aac_head_backward_plan *plan,
                                    const aac_head_backward_args *args, void *scratch)
{
    const void *operand = NULL;
    aaclip_status status = run_norms(plan, args, scratch);
    const aac_op_args activate = {.x = args->projected, .dy = args->buffer, .y = args->buffer};
    if (!status && plan->activate)
        status = aac_run(plan->activate, &activate, scratch);
    if (!status)
        status = aac_to_operand(plan->convert, args->buffer, args->operand, &operand, scratch);
    const aac_op_args sum = {.x = args->normed, .dy = operand, .y = args->projection->gradient};
    if (!status)
        status = aac_run(plan->gradient, &sum, scratch);
    const aac_op_args back = {
        .x = operand, .y = args->back, .weight = args->projection->adapter->weight};
    return status ? status
                  : aac_run(args->more ? plan->project_more : plan->project, &back, scratch);
}
