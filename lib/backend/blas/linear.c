/* Linear layers: one sgemm, then bias and activation over the rows; gradients of matrices. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "backend/blas/blas.h"
#include "backend/simd/stack.h"
#include "core/error.h"
#include "core/memory.h"

typedef struct blas_weight {
    aac_weight base;
    const float *matrix; // (outputs, inputs): the file's own memory, or `copy`
    float *copy;
    float *bias; // (outputs)
} blas_weight;

void aac_blas_weight_free(aac_weight *base)
{
    blas_weight *weight = (blas_weight *)base;
    if (!base->adopted) {
        aac_free(weight->copy);
        aac_free(weight->bias);
    }
    aac_free(weight);
}

/* A matrix read in place from its file is not saved again. */
void aac_blas_weight_image(const aac_weight *base, aac_weight_image *image)
{
    const blas_weight *weight = (const blas_weight *)base;
    if (base->in_place)
        return;
    snprintf(image->layout, sizeof image->layout, "blas f32 %lldx%lld", (long long)base->outputs,
             (long long)base->inputs);
    image->pieces[0].data = weight->matrix;
    image->pieces[0].size = (size_t)(base->outputs * base->inputs) * sizeof *weight->matrix;
    image->pieces[1].data = weight->bias;
    image->pieces[1].size = (size_t)base->outputs * sizeof *weight->bias;
    image->count = base->bias ? 2 : 1;
}

aaclip_status aac_blas_adopt(aac_weight **out, const aac_op_desc *desc,
                             const aac_weight_image *image)
{
    *out = NULL;
    blas_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    aac_weight_image own = {0};
    weight->base = (aac_weight){.backend = &aac_backend_blas,
                                .inputs = desc->linear.inputs,
                                .outputs = desc->linear.outputs,
                                .bias = desc->linear.bias,
                                .adopted = true};
    aac_blas_weight_image(&weight->base, &own);
    if (!aac_weight_image_fits(&own, image)) {
        aac_blas_weight_free(&weight->base);
        return AACLIP_OK;
    }
    weight->matrix = image->pieces[0].data;
    weight->bias = desc->linear.bias ? (float *)image->pieces[1].data : NULL;
    *out = &weight->base;
    return AACLIP_OK;
}

/* The part itself if sgemm can read it in place. */
static const float *in_place(const aac_tensor *part, int part_count)
{
    bool usable = part_count == 1 && part->dtype == AAC_F32 && aac_tensor_is_contiguous(part) &&
                  (uintptr_t)part->data % sizeof(float) == 0;
    return usable ? part->data : NULL;
}

aaclip_status aac_blas_pack(aac_weight **out, const aac_tensor *parts, const aac_tensor *bias_parts,
                            int part_count, aac_dtype type, int threads)
{
    (void)type, (void)threads;
    *out = NULL;
    blas_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base = (aac_weight){
        .backend = &aac_backend_blas, .inputs = parts[0].shape[1], .bias = bias_parts != NULL};
    for (int i = 0; i < part_count; i++)
        weight->base.outputs += parts[i].shape[0];
    size_t outputs = (size_t)weight->base.outputs, inputs = (size_t)weight->base.inputs;
    weight->matrix = in_place(parts, part_count);
    weight->base.in_place = weight->matrix != NULL;
    if (!weight->matrix)
        weight->matrix = weight->copy = aac_alloc_array(outputs * inputs, sizeof(float));
    if (bias_parts)
        weight->bias = aac_alloc_array(outputs, sizeof(float));
    if (!weight->matrix || (bias_parts && !weight->bias)) {
        aac_blas_weight_free(&weight->base);
        return aac_error_memory();
    }
    if (weight->copy)
        aac_stack_rows(parts, part_count, weight->copy);
    if (bias_parts)
        aac_stack_rows(bias_parts, part_count, weight->bias);
    *out = &weight->base;
    return AACLIP_OK;
}

static void finish(const aac_plan *base, const float *bias, float *y)
{
    const aac_blas_plan *plan = (const aac_blas_plan *)base;
    const aac_op_desc *desc = &base->desc;
    int64_t outputs = desc->linear.outputs;
    if (!desc->linear.bias && desc->linear.activation == AAC_ACTIVATION_NONE)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < desc->linear.rows; row++) {
        float *values = y + row * outputs;
        if (desc->linear.bias)
            plan->kernels->add(bias, outputs, values);
        plan->kernels->activate(values, outputs, desc->linear.activation, desc->linear.slope);
    }
}

aaclip_status aac_blas_linear(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_op_desc *desc = &base->desc;
    const blas_weight *weight = (const blas_weight *)args->weight;
    int64_t rows = desc->linear.rows, inputs = desc->linear.inputs, outputs = desc->linear.outputs;
    bool transposed = desc->linear.transposed;
    aac_blas_sgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasNoTrans : CblasTrans, (int)rows,
                   (int)outputs, (int)inputs, 1.0f, args->x, (int)inputs, weight->matrix,
                   (int)(transposed ? outputs : inputs), desc->linear.accumulate ? 1.0f : 0.0f,
                   args->y, (int)outputs);
    finish(base, weight->bias, args->y);
    return AACLIP_OK;
}

aaclip_status aac_blas_linear_gradient(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    int rows = (int)base->desc.linear_gradient.rows;
    int inputs = (int)base->desc.linear_gradient.inputs;
    int outputs = (int)base->desc.linear_gradient.outputs;
    aac_blas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, outputs, inputs, rows, 1.0f, args->dy,
                   outputs, args->x, inputs, 1.0f, args->y, inputs);
    return AACLIP_OK;
}
