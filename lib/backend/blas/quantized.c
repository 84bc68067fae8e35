/*
 * Linear layers of 8-bit integers, to save memory and give the same numbers, not for speed:
 * OpenBLAS has no integer GEMM, so rows and panels of weights become floats again, each the integer
 * times its step, and sgemm multiplies those.
 */
#include <stdio.h>

#include "backend/blas/blas.h"
#include "backend/simd/quantized.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

#define PANEL 256 /* outputs */

typedef struct quantized_weight {
    aac_weight base;
    aac_quantized_channels channels;
    int8_t *values; // (outputs, inputs)
} quantized_weight;

static int64_t panel_of(int64_t outputs)
{
    return outputs < PANEL ? outputs : PANEL;
}

void aac_blas_quantized_weight_free(aac_weight *base)
{
    quantized_weight *weight = (quantized_weight *)base;
    if (!base->adopted) {
        aac_quantized_channels_clear(&weight->channels);
        aac_free(weight->values);
    }
    aac_free(weight);
}

void aac_blas_quantized_image(const aac_weight *base, aac_weight_image *image)
{
    const quantized_weight *weight = (const quantized_weight *)base;
    snprintf(image->layout, sizeof image->layout, "blas int8 limit %d %lldx%lld",
             AAC_QUANTIZED_LIMIT, (long long)base->outputs, (long long)base->inputs);
    image->pieces[0].data = weight->values;
    image->pieces[0].size = (size_t)(base->outputs * base->inputs);
    image->count = 1 + aac_quantized_image(&weight->channels, base, 1, image);
}

aaclip_status aac_blas_adopt_quantized(aac_weight **out, const aac_op_desc *desc,
                                       const aac_weight_image *image)
{
    *out = NULL;
    quantized_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    aac_weight_image own = {0};
    weight->base = aac_quantized_adopted(&aac_backend_blas, desc);
    aac_blas_quantized_image(&weight->base, &own);
    if (!aac_weight_image_fits(&own, image) ||
        !aac_quantized_channels_adopt(&weight->channels, &weight->base, 1, image)) {
        aac_blas_quantized_weight_free(&weight->base);
        return AACLIP_OK;
    }
    weight->values = (int8_t *)image->pieces[0].data;
    *out = &weight->base;
    return AACLIP_OK;
}

aaclip_status aac_blas_pack_quantized(aac_weight **out, const aac_tensor *parts,
                                      const aac_tensor *bias_parts, int part_count)
{
    *out = NULL;
    quantized_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base = aac_quantized_packed(&aac_backend_blas, parts, bias_parts, part_count);
    aaclip_status status = aac_quantize_matrix(&weight->channels, &weight->values, parts,
                                               bias_parts, part_count, AAC_QUANTIZED_LIMIT);
    if (status)
        aac_blas_quantized_weight_free(&weight->base);
    else
        *out = &weight->base;
    return status;
}

/* The rows as floats, a panel as floats, and a row of integers for each thread. */
size_t aac_blas_quantized_scratch(const aac_op_desc *desc, int threads)
{
    size_t inputs = (size_t)desc->linear.inputs, rows = (size_t)desc->linear.rows;
    size_t panel = (size_t)panel_of(desc->linear.outputs);
    return aac_align(rows * inputs * sizeof(float)) + aac_align(panel * inputs * sizeof(float)) +
           (size_t)threads * aac_align(inputs);
}

static void round_rows(const aac_op_desc *desc, const float *x, float *rounded, char *threads)
{
    const aac_quantized_kernels *kernels = aac_quantized_kernels_get();
    int64_t inputs = desc->linear.inputs;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < desc->linear.rows; i++) {
        uint8_t *q = (uint8_t *)threads + (size_t)aac_threads_index() * aac_align((size_t)inputs);
        float step;
        int32_t zero;
        kernels->quantize_row(x + i * inputs, inputs, q, &step, &zero);
        kernels->restore_row(q, inputs, step, zero, rounded + i * inputs);
    }
}

static void restore_panel(const quantized_weight *weight, int64_t first, int64_t count,
                          float *panel)
{
    const aac_quantized_kernels *kernels = aac_quantized_kernels_get();
    int64_t inputs = weight->base.inputs;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++)
        kernels->restore_channel(weight->values + (first + i) * inputs, inputs,
                                 weight->channels.step[first + i], panel + i * inputs);
}

aaclip_status aac_blas_quantized(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_op_desc *desc = &base->desc;
    const quantized_weight *weight = (const quantized_weight *)args->weight;
    int64_t rows = desc->linear.rows, inputs = desc->linear.inputs, outputs = desc->linear.outputs;
    int64_t width = panel_of(outputs);
    float *rounded = scratch;
    float *panel =
        (float *)((char *)scratch + aac_align((size_t)(rows * inputs) * sizeof *rounded));
    char *threads = (char *)panel + aac_align((size_t)(width * inputs) * sizeof *panel);
    round_rows(desc, args->x, rounded, threads);
    for (int64_t first = 0; first < outputs; first += width) {
        int64_t count = outputs - first < width ? outputs - first : width;
        restore_panel(weight, first, count, panel);
        aac_blas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)count, (int)inputs,
                       1.0f, rounded, (int)inputs, panel, (int)inputs,
                       desc->linear.accumulate ? 1.0f : 0.0f, (float *)args->y + first,
                       (int)outputs);
    }
    aac_blas_finish_linear(base, weight->channels.bias, args->y);
    return AACLIP_OK;
}
