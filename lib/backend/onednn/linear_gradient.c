/*
 * Gradient of a trained matrix: one product with the left operand transposed, accumulated. In
 * float32: not every version of oneDNN is fast at it in bfloat16, and it is a small part of a step.
 */
#include "backend/onednn/onednn.h"
#include "backend/simd/stack.h"
#include "core/error.h"
#include "core/memory.h"

typedef struct gradient_plan {
    aac_plan base;
    aac_dnnl_layout left, right, result;
    dnnl_primitive_t primitive;
    size_t dy_bytes, x_bytes; /* of bfloat16 operands as float32, in scratch */
} gradient_plan;

static aaclip_status failure(const char *what, const aac_op_desc *desc)
{
    return aac_error(AACLIP_ERROR_BACKEND, "oneDNN: cannot %s the gradient of a matrix %lldx%lld",
                     what, (long long)desc->linear_gradient.outputs,
                     (long long)desc->linear_gradient.inputs);
}

/* Dense rows as float32: in place, or in `buffer`. */
static const void *widen(const void *rows, int64_t count, int64_t columns, size_t bytes,
                         float *buffer)
{
    if (!bytes)
        return rows;
    const aac_tensor tensor = {.dtype = AAC_BF16,
                               .rank = 2,
                               .shape = {count, columns},
                               .stride = {columns, 1},
                               .data = rows};
    aac_stack_rows(&tensor, 1, buffer);
    return buffer;
}

static aaclip_status run_gradient(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const gradient_plan *plan = (const gradient_plan *)base;
    int64_t rows = base->desc.linear_gradient.rows;
    char *x = (char *)scratch + plan->dy_bytes, *rest = x + plan->x_bytes;
    const aac_dnnl_argument arguments[] = {
        {DNNL_ARG_SRC, &plan->left,
         widen(args->dy, rows, base->desc.linear_gradient.outputs, plan->dy_bytes, scratch)},
        {DNNL_ARG_WEIGHTS, &plan->right,
         widen(args->x, rows, base->desc.linear_gradient.inputs, plan->x_bytes, (float *)x)},
        {DNNL_ARG_DST, &plan->result, args->y}};
    size_t size = base->scratch - plan->dy_bytes - plan->x_bytes;
    return aac_dnnl_execute(plan->primitive, arguments, 3, size, rest)
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
    const aac_dnnl_matrix dy_transposed = {outputs, rows, 1, outputs, AAC_F32},
                          x = {rows, inputs, inputs, 1, AAC_F32},
                          result = {outputs, inputs, inputs, 1, AAC_F32};
    const aac_dnnl_epilogue epilogue = {.accumulate = true};
    if (!aac_dnnl_layout_plain(&plan->left, &dy_transposed) ||
        !aac_dnnl_layout_plain(&plan->right, &x) ||
        !aac_dnnl_layout_plain(&plan->result, &result) ||
        !aac_dnnl_matmul(&plan->primitive, &plan->base.scratch, &plan->left, &plan->right, NULL,
                         &plan->result, &epilogue)) {
        aac_onednn_free_linear_gradient(&plan->base);
        return failure("plan", desc);
    }
    if (desc->linear_gradient.type == AAC_BF16) {
        plan->dy_bytes = aac_align((size_t)(rows * outputs) * sizeof(float));
        plan->x_bytes = aac_align((size_t)(rows * inputs) * sizeof(float));
    }
    plan->base.scratch += plan->dy_bytes + plan->x_bytes;
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
