/* Linear layers and the gradients of their matrices: cuBLASLt, then bias and activation. */
#include "backend/cuda/cuda.h"

#include <cuda_runtime_api.h>

#include "backend/simd/stack.h"
#include "core/error.h"
#include "core/memory.h"

typedef struct cuda_weight {
    aac_weight base;
    void *matrix;      // (outputs, inputs), in the type it was packed for
    void *bias;        // (outputs), float32
    void *narrow_bias; // (outputs), in that type, for cuBLASLt to add to results of that type; or
                       // NULL
} cuda_weight;

typedef struct linear_plan {
    aac_plan base;
    aac_cuda_product *product;
    size_t sums; /* bytes of float32 sums if cuBLASLt cannot add the bias; else 0 */
} linear_plan;

void aac_cuda_weight_free(aac_weight *base)
{
    cuda_weight *weight = (cuda_weight *)base;
    aac_cuda_release(weight->matrix);
    aac_cuda_release(weight->bias);
    aac_cuda_release(weight->narrow_bias);
    aac_free(weight);
}

static aaclip_status upload(void **memory, const float *values, size_t count, aac_dtype type)
{
    if (type == AAC_F32)
        return aac_cuda_upload(memory, values, count * sizeof *values);
    uint16_t *narrow = aac_alloc_array(count, sizeof *narrow);
    if (!narrow)
        return aac_error_memory();
    for (size_t i = 0; i < count; i++)
        narrow[i] = type == AAC_F16 ? aac_f32_to_f16(values[i]) : aac_f32_to_bf16(values[i]);
    aaclip_status status = aac_cuda_upload(memory, narrow, count * sizeof *narrow);
    aac_free(narrow);
    return status;
}

static aaclip_status pack_matrix(cuda_weight *weight, const aac_tensor *parts, int part_count,
                                 aac_dtype type)
{
    size_t count = (size_t)(weight->base.outputs * weight->base.inputs);
    float *rows = aac_alloc_array(count, sizeof *rows);
    if (!rows)
        return aac_error_memory();
    aac_stack_rows(parts, part_count, rows);
    aaclip_status status = upload(&weight->matrix, rows, count, type);
    aac_free(rows);
    return status;
}

static aaclip_status pack_bias(cuda_weight *weight, const aac_tensor *bias_parts, int part_count,
                               aac_dtype type)
{
    size_t count = (size_t)weight->base.outputs;
    float *rows = aac_alloc_array(count, sizeof *rows);
    if (!rows)
        return aac_error_memory();
    aac_stack_rows(bias_parts, part_count, rows);
    weight->base.bias = true;
    aaclip_status status = upload(&weight->bias, rows, count, AAC_F32);
    if (!status && type != AAC_F32)
        status = upload(&weight->narrow_bias, rows, count, type);
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
        status = pack_bias(weight, bias_parts, part_count, type);
    if (status)
        aac_cuda_weight_free(&weight->base);
    else
        *out = &weight->base;
    return status;
}

/* From float32 `values` in host or device memory to device memory `to` of `type`. */
static aaclip_status write_values(void *to, const float *values, size_t count, aac_dtype type)
{
    struct cudaPointerAttributes where;
    int error = (int)cudaPointerGetAttributes(&where, values);
    if (error)
        return aac_cuda_error("pack", error);
    if (where.type == cudaMemoryTypeDevice)
        return aac_cuda_error("pack", aac_cuda_narrow(values, to, (int64_t)count, type));
    void *sent = NULL;
    aaclip_status status = upload(&sent, values, count, AAC_F32);
    if (!status)
        status = aac_cuda_error("pack", aac_cuda_narrow(sent, to, (int64_t)count, type));
    aac_cuda_release(sent); /* waits */
    return status;
}

/* All parts into `to`, which has room for them. */
static aaclip_status write_parts(void *to, const aac_tensor *parts, int part_count, aac_dtype type)
{
    aaclip_status status = AACLIP_OK;
    for (int i = 0; !status && i < part_count; i++) {
        size_t count = (size_t)aac_tensor_elements(&parts[i]);
        if (parts[i].dtype == AAC_F32 && aac_tensor_is_contiguous(&parts[i])) {
            status = write_values(to, parts[i].data, count, type);
        } else {
            float *values = aac_alloc_array(count, sizeof *values);
            if (!values)
                return aac_error_memory();
            aac_tensor_to_f32(&parts[i], values);
            status = write_values(to, values, count, type);
            aac_free(values);
        }
        to = (char *)to + count * aac_dtype_size(type);
    }
    return status;
}

aaclip_status aac_cuda_repack(aac_weight *base, const aac_tensor *parts,
                              const aac_tensor *bias_parts, int part_count, aac_dtype type)
{
    cuda_weight *weight = (cuda_weight *)base;
    aaclip_status status = write_parts(weight->matrix, parts, part_count, type);
    if (!status && bias_parts)
        status = write_parts(weight->bias, bias_parts, part_count, AAC_F32);
    if (!status && weight->narrow_bias)
        status = write_parts(weight->narrow_bias, bias_parts, part_count, type);
    return status;
}

#define LINE 256 /* alignment that cuBLASLt wants for its workspace */

static void *align(void *scratch)
{
    return (void *)(((uintptr_t)scratch + LINE - 1) / LINE * LINE);
}

static aaclip_status run_linear(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const linear_plan *plan = (const linear_plan *)base;
    const cuda_weight *weight = (const cuda_weight *)args->weight;
    const aac_op_desc *desc = &base->desc;
    const void *bias = desc->linear.y == AAC_F32 ? weight->bias : weight->narrow_bias;
    scratch = align(scratch);
    void *d = plan->sums ? scratch : args->y;
    const void *c = args->added && base->adds_elsewhere ? args->added : d;
    aaclip_status status = aac_cuda_product_run(plan->product, args->x, weight->matrix, bias, c, d,
                                                (char *)scratch + plan->sums);
    if (status)
        return status;
    int error = 0;
    if (plan->sums)
        error = aac_cuda_epilogue(desc, scratch, weight->bias, args->y);
    else if (desc->linear.activation != AAC_ACTIVATION_NONE)
        error = aac_cuda_activate_outputs(desc, args->y);
    return aac_cuda_error("epilogue", error);
}

static aaclip_status run_gradient(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const linear_plan *plan = (const linear_plan *)base;
    return aac_cuda_product_run(plan->product, args->dy, args->x, NULL, args->y, args->y,
                                align(scratch));
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
        plan->base.scratch = LINE + plan->sums + aac_cuda_product_workspace(plan->product);
        return AACLIP_OK;
    }
    aac_cuda_free_linear(&plan->base);
    *out = NULL;
    return status;
}

static aaclip_status make_product(linear_plan *plan, bool inside)
{
    const aac_op_desc *desc = &plan->base.desc;
    return aac_cuda_product_new(
        &plan->product, &(aac_cuda_product_shape){.rows = desc->linear.rows,
                                                  .outputs = desc->linear.outputs,
                                                  .inner = desc->linear.inputs,
                                                  .type = desc->linear.x,
                                                  .d = inside ? desc->linear.y : AAC_F32,
                                                  .transposed_b = desc->linear.transposed,
                                                  .accumulate = inside && desc->linear.accumulate,
                                                  .bias = inside && desc->linear.bias,
                                                  .tensor_float = desc->tensor_float});
}

aaclip_status aac_cuda_plan_linear(aac_plan **out, const aac_op_desc *desc, int threads)
{
    linear_plan *plan;
    aaclip_status status = make(out, desc, threads, &plan);
    if (status)
        return status;
    plan->base.run = run_linear;
    status = make_product(plan, true);
    if (!status && desc->linear.bias && !aac_cuda_product_adds_bias(plan->product)) {
        aac_cuda_product_free(plan->product);
        plan->product = NULL;
        size_t bytes = (size_t)(desc->linear.rows * desc->linear.outputs) * sizeof(float);
        plan->sums = (bytes + LINE - 1) / LINE * LINE;
        status = make_product(plan, false);
    }
    plan->base.adds_elsewhere = desc->linear.accumulate && !plan->sums;
    return finish(out, plan, status);
}

aaclip_status aac_cuda_plan_linear_gradient(aac_plan **out, const aac_op_desc *desc, int threads)
{
    linear_plan *plan;
    aaclip_status status = make(out, desc, threads, &plan);
    if (status)
        return status;
    plan->base.run = run_gradient;
    status = aac_cuda_product_new(&plan->product,
                                  &(aac_cuda_product_shape){.rows = desc->linear_gradient.outputs,
                                                            .outputs = desc->linear_gradient.inputs,
                                                            .inner = desc->linear_gradient.rows,
                                                            .type = desc->linear_gradient.type,
                                                            .d = AAC_F32,
                                                            .transposed_a = true,
                                                            .transposed_b = true,
                                                            .accumulate = true,
                                                            .tensor_float = desc->tensor_float});
    return finish(out, plan, status);
}

void aac_cuda_free_linear(aac_plan *base)
{
    linear_plan *plan = (linear_plan *)base;
    aac_cuda_product_free(plan->product);
    aac_free(plan);
}
