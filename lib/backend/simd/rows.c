/* Operations on each row by itself, and the mean of normalised rows. */
#include "backend/simd/simd.h"

#include <math.h>
#include <string.h>

aaclip_status aac_simd_layer_norm(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t columns = base->desc.layer_norm.columns;
    const float *x = args->x;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < base->desc.layer_norm.rows; i++) {
        bool narrow = base->desc.layer_norm.y == AAC_BF16;
        float *y = narrow ? aac_simd_buffer(plan, scratch) : (float *)args->y + i * columns;
        plan->kernels->layer_norm(x + i * columns, columns, base->desc.layer_norm.epsilon,
                                  args->gain, args->bias, y);
        if (narrow)
            plan->kernels->scale_bf16(y, columns, 1.0f, (uint16_t *)args->y + i * columns);
    }
    return AACLIP_OK;
}

aaclip_status aac_simd_blend(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t columns = base->desc.blend.columns;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < base->desc.blend.rows; i++)
        plan->kernels->blend((const float *)args->x + i * columns, args->a + i * columns, columns,
                             base->desc.blend.weight, (float *)args->y + i * columns);
    return AACLIP_OK;
}

static float inverse_norm(const aac_kernels *kernels, const float *x, int64_t columns)
{
    float norm = sqrtf(kernels->dot(x, x, columns));
    return 1.0f / (norm > 1e-12f ? norm : 1e-12f);
}

/* Each thread sums its own columns over all rows, so the order of the sum is fixed. */
static void mean_of_rows(const aac_simd_plan *plan, const aac_op_args *args, const float *inverse)
{
    int64_t rows = plan->base.desc.normalize.rows, columns = plan->base.desc.normalize.columns;
    const int64_t slice = 256;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < columns; first += slice) {
        int64_t count = columns - first < slice ? columns - first : slice;
        float *y = (float *)args->y + first;
        memset(y, 0, (size_t)count * sizeof *y);
        for (int64_t i = 0; i < rows; i++)
            plan->kernels->add_scaled((const float *)args->x + i * columns + first, count,
                                      inverse[i] / (float)rows, y);
    }
}

aaclip_status aac_simd_normalize(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t rows = base->desc.normalize.rows, columns = base->desc.normalize.columns;
    bool mean = base->desc.normalize.mean;
    const float *x = args->x;
    float *inverse = scratch; /* used with mean only */
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        const float *row = x + i * columns;
        float factor = inverse_norm(plan->kernels, row, columns);
        if (mean)
            inverse[i] = factor;
        else
            plan->kernels->scale_f32(row, columns, factor, (float *)args->y + i * columns);
    }
    if (mean)
        mean_of_rows(plan, args, inverse);
    return AACLIP_OK;
}

aaclip_status aac_simd_convert(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t columns = base->desc.convert.columns;
    bool widen = base->desc.convert.x == AAC_BF16;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < base->desc.convert.rows; i++) {
        if (widen)
            plan->kernels->widen_bf16((const uint16_t *)args->x + i * columns, columns,
                                      (float *)args->y + i * columns);
        else
            plan->kernels->scale_bf16((const float *)args->x + i * columns, columns, 1.0f,
                                      (uint16_t *)args->y + i * columns);
    }
    return AACLIP_OK;
}

aaclip_status aac_simd_gather(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    size_t bytes = (size_t)base->desc.gather.columns * aac_dtype_size(base->desc.gather.type);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < base->desc.gather.rows; i++)
        memcpy((char *)args->y + (size_t)i * bytes,
               (const char *)args->x + (size_t)args->index[i] * bytes, bytes);
    return AACLIP_OK;
}

/* As in mean_of_rows, each thread has its own columns, as rows may share a source. */
aaclip_status aac_simd_gather_backward(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t columns = base->desc.gather.columns, sources = base->desc.gather.sources;
    const int64_t slice = 256;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < columns; first += slice) {
        int64_t count = columns - first < slice ? columns - first : slice;
        float *y = (float *)args->y + first;
        for (int64_t i = 0; i < sources; i++)
            memset(y + i * columns, 0, (size_t)count * sizeof *y);
        for (int64_t i = 0; i < base->desc.gather.rows; i++)
            plan->kernels->add((const float *)args->dy + i * columns + first, count,
                               y + args->index[i] * columns);
    }
    return AACLIP_OK;
}
