/* Gradient of a trained matrix: one product with the left side turned, added to what is there. */
#include "backend/onednn/onednn.h"
#include "core/error.h"
#include "core/memory.h"

typedef struct gradient_plan {
    aac_plan base;
    aac_dnnl_layout left, right, result;
    dnnl_primitive_t primitive;
} gradient_plan;

static aaclip_status failure(const char *what, const aac_op_desc *desc)
{
    return aac_error(AACLIP_ERROR_BACKEND, "oneDNN: cannot %s the gradient of a matrix %lldx%lld",
                     what, (long long)desc->linear_gradient.outputs,
                     (long long)desc->linear_gradient.inputs);
}

static aaclip_status run_gradient(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const gradient_plan *plan = (const gradient_plan *)base;
    const aac_dnnl_argument arguments[] = {{DNNL_ARG_SRC, &plan->left, args->dy},
                                           {DNNL_ARG_WEIGHTS, &plan->right, args->x},
                                           {DNNL_ARG_DST, &plan->result, args->y}};
    return aac_dnnl_execute(plan->primitive, arguments, 3, base->scratch, scratch)
               ? AACLIP_OK
               : failure("run", &base->desc);
}

aaclip_status aac_onednn_plan_linear_gradient(aac_plan **out, const aac_op_desc *desc, int threads)
{
    *out = NULL;
    gradient_plan *plan = aac_calloc(1, sizeof *plan);
    if (!plan)
        return aac_error_memory();
    plan->base = (aac_plan){
        .backend = &aac_backend_onednn, .desc = *desc, .threads = threads, .run = run_gradient};
    int64_t rows = desc->linear_gradient.rows, inputs = desc->linear_gradient.inputs;
    int64_t outputs = desc->linear_gradient.outputs;
    aac_dtype type = desc->linear_gradient.type;
    const aac_dnnl_matrix dy_turned = {outputs, rows, 1, outputs, type},
                          x = {rows, inputs, inputs, 1, type},
                          result = {outputs, inputs, inputs, 1, AAC_F32};
    const aac_dnnl_epilogue epilogue = {.accumulate = true};
    if (!aac_dnnl_layout_plain(&plan->left, &dy_turned) ||
        !aac_dnnl_layout_plain(&plan->right, &x) ||
        !aac_dnnl_layout_plain(&plan->result, &result) ||
        !aac_dnnl_matmul(&plan->primitive, &plan->base.scratch, &plan->left, &plan->right, NULL,
                         &plan->result, &epilogue)) {
        aac_onednn_free_linear_gradient(&plan->base);
        return failure("plan", desc);
    }
    *out = &plan->base;
    return AACLIP_OK;
}

void aac_onednn_free_linear_gradient(aac_plan *base)
{
    gradient_plan *plan = (gradient_plan *)base;
    if (plan->primitive)
        dnnl_primitive_destroy(plan->primitive);
    aac_dnnl_layout_free(&plan->left);
    aac_dnnl_layout_free(&plan->right);
    aac_dnnl_layout_free(&plan->result);
    aac_free(plan);
}
