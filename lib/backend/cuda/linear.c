/* Linear layers and the gradients of their matrices: cuBLASLt, then bias and activation. */
#include "backend/cuda/cuda.h"

#include <cuda_runtime_api.h>

#include "backend/simd/stack.h"
#include "core/error.h"
#include "core/memory.h"

typedef struct cuda_weight {
    aac_weight base;
    void *matrix; // (outputs, inputs), in the type that it was packed for
    float *bias;  // (outputs)
} cuda_weight;

typedef struct linear_plan {
    aac_plan base;
    aac_cuda_product *product;
    size_t
        sums; /* bytes of float32 sums before bias, activation and rounding; 0: none are needed */
} linear_plan;

void aac_cuda_weight_free(aac_weight *base)
{
    cuda_weight *weight = (cuda_weight *)base;
    cudaFree(weight->matrix);
    cudaFree(weight->bias);
    aac_free(weight);
}

static aaclip_status pack_matrix(cuda_weight *weight, const aac_tensor *parts, int part_count,
                                 aac_dtype type)
{
    size_t count = (size_t)(weight->base.outputs * weight->base.inputs);
    float *rows = aac_alloc_array(count, sizeof *rows);
    if (!rows)
        return aac_error_memory();
    aac_stack_rows(parts, part_count, rows);
    uint16_t *narrow = NULL;
    if (type == AAC_BF16) {
        narrow = aac_alloc_array(count, sizeof *narrow);
        for (size_t i = 0; narrow && i < count; i++)
            narrow[i] = aac_f32_to_bf16(rows[i]);
    }
    aaclip_status status = type == AAC_BF16 && !narrow
                               ? aac_error_memory()
                               : aac_cuda_upload(&weight->matrix, narrow ? (void *)narrow : rows,
                                                 count * aac_dtype_size(type));
    aac_free(narrow);
    aac_free(rows);
    return status;
}

static aaclip_status pack_bias(cuda_weight *weight, const aac_tensor *bias_parts, int part_count)
{
    size_t count = (size_t)weight->base.outputs;
    float *rows = aac_alloc_array(count, sizeof *rows);
    if (!rows)
        return aac_error_memory();
    aac_stack_rows(bias_parts, part_count, rows);
    void *bias = NULL;
    aaclip_status status = aac_cuda_upload(&bias, rows, count * sizeof *rows);
    weight->bias = bias;
    weight->base.bias = true;
    aac_free(rows);
    return status;
}

aaclip_status aac_cuda_pack(aac_weight **out, const aac_tensor *parts, const aac_tensor *bias_parts,
                            int part_count, aac_dtype type, int threads)
{
    (void)threads;
    *out = NULL;
    cuda_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base.backend = &aac_backend_cuda;
    weight->base.inputs = parts[0].shape[1];
    for (int i = 0; i < part_count; i++)
        weight->base.outputs += parts[i].shape[0];
    aaclip_status status = pack_matrix(weight, parts, part_count, type);
    if (!status && bias_parts)
        status = pack_bias(weight, bias_parts, part_count);
    if (status)
        aac_cuda_weight_free(&weight->base);
    else
        *out = &weight->base;
    return status;
}

/* What the product itself cannot do: bias, activation, and rounding after them. */
static bool needs_epilogue(const aac_op_desc *desc)
{
    return desc->linear.bias || desc->linear.activation != AAC_ACTIVATION_NONE;
}

static aaclip_status run_linear(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const linear_plan *plan = (const linear_plan *)base;
    const cuda_weight *weight = (const cuda_weight *)args->weight;
    void *sums = plan->sums ? scratch : args->y;
    aaclip_status status = aac_cuda_product_run(plan->product, args->x, weight->matrix, sums,
                                                (char *)scratch + plan->sums);
    if (status || !plan->sums)
        return status;
    const float *bias = base->desc.linear.bias ? weight->bias : NULL;
    return aac_cuda_error("epilogue", aac_cuda_epilogue(&base->desc, sums, bias, args->y));
}

static aaclip_status run_gradient(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const linear_plan *plan = (const linear_plan *)base;
    return aac_cuda_product_run(plan->product, args->dy, args->x, args->y, scratch);
}

static aaclip_status make(aac_plan **out, const aac_op_desc *desc, int threads, linear_plan **made)
{
    linear_plan *plan = *made = aac_calloc(1, sizeof *plan);
    *out = plan ? &plan->base : NULL;
    if (!plan)
        return aac_error_memory();
    plan->base = (aac_plan){.backend = &aac_backend_cuda, .desc = *desc, .threads = threads};
    return AACLIP_OK;
}

static aaclip_status finish(aac_plan **out, linear_plan *plan, aaclip_status status)
{
    if (!status) {
        plan->base.scratch = plan->sums + aac_cuda_product_workspace(plan->product);
        return AACLIP_OK;
    }
    aac_cuda_free_linear(&plan->base);
    *out = NULL;
    return status;
}

aaclip_status aac_cuda_plan_linear(aac_plan **out, const aac_op_desc *desc, int threads)
{
    linear_plan *plan;
    aaclip_status status = make(out, desc, threads, &plan);
    if (status)
        return status;
    int64_t rows = desc->linear.rows, outputs = desc->linear.outputs;
    bool epilogue = needs_epilogue(desc);
    plan->base.run = run_linear;
    if (epilogue)
        plan->sums = ((size_t)(rows * outputs) * sizeof(float) + 255) / 256 * 256;
    status = aac_cuda_product_new(&plan->product, rows, outputs, desc->linear.inputs,
                                  desc->linear.x, epilogue ? AAC_F32 : desc->linear.y,
                                  (aac_cuda_turned){.b = desc->linear.turned},
                                  desc->linear.accumulate && !epilogue);
    return finish(out, plan, status);
}

aaclip_status aac_cuda_plan_linear_gradient(aac_plan **out, const aac_op_desc *desc, int threads)
{
    linear_plan *plan;
    aaclip_status status = make(out, desc, threads, &plan);
    if (status)
        return status;
    plan->base.run = run_gradient;
    status = aac_cuda_product_new(&plan->product, desc->linear_gradient.outputs,
                                  desc->linear_gradient.inputs, desc->linear_gradient.rows,
                                  desc->linear_gradient.type, AAC_F32,
                                  (aac_cuda_turned){.a = true, .b = true}, true);
    return finish(out, plan, status);
}

void aac_cuda_free_linear(aac_plan *base)
{
    linear_plan *plan = (linear_plan *)base;
    aac_cuda_product_free(plan->product);
    aac_free(plan);
}
