/* Gradients of the operations on each row by itself, and the optimizer's step. */
#include "backend/simd/simd.h"

#include <string.h>

/* Row `row` as float32: in place, or widened into `buffer`. */
static const float *load_row(const aac_simd_plan *plan, const void *values, aac_dtype type,
                             int64_t row, int64_t columns, float *buffer)
{
    if (type == AAC_F32)
        return (const float *)values + row * columns;
    plan->kernels->widen_bf16((const uint16_t *)values + row * columns, columns, buffer);
    return buffer;
}

aaclip_status aac_simd_activate(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    const aac_op_desc *desc = &base->desc;
    int64_t columns = desc->activate.columns;
    bool narrow = desc->activate.type == AAC_BF16;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < desc->activate.rows; i++) {
        float *y = narrow ? aac_simd_buffer(plan, scratch) : (float *)args->y + i * columns;
        const float *x = load_row(plan, args->x, desc->activate.type, i, columns, y);
        if (x != y)
            memcpy(y, x, (size_t)columns * sizeof *y);
        plan->kernels->activate(y, columns, desc->activate.activation, desc->activate.slope);
        if (narrow)
            plan->kernels->scale_bf16(y, columns, 1.0f, (uint16_t *)args->y + i * columns);
    }
    return AACLIP_OK;
}

aaclip_status aac_simd_activate_backward(const aac_plan *base, const aac_op_args *args,
                                         void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    const aac_op_desc *desc = &base->desc;
    int64_t columns = desc->activate.columns;
    bool narrow = desc->activate.type == AAC_BF16;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < desc->activate.rows; i++) {
        float *buffer = aac_simd_buffer(plan, scratch);
        const float *x = load_row(plan, args->x, desc->activate.type, i, columns, buffer);
        const float *dy =
            load_row(plan, args->dy, desc->activate.type, i, columns, buffer + columns);
        float *y = narrow ? buffer : (float *)args->y + i * columns;
        plan->kernels->activate_backward(x, dy, columns, desc->activate.activation,
                                         desc->activate.slope, y);
        if (narrow)
            plan->kernels->scale_bf16(y, columns, 1.0f, (uint16_t *)args->y + i * columns);
    }
    return AACLIP_OK;
}

aaclip_status aac_simd_layer_norm_backward(const aac_plan *base, const aac_op_args *args,
                                           void *scratch)
{
    (void)scratch;
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t columns = base->desc.layer_norm.columns;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < base->desc.layer_norm.rows * columns; at += columns)
        plan->kernels->layer_norm_backward(
            (const float *)args->x + at, (const float *)args->dy + at, columns,
            base->desc.layer_norm.epsilon, args->gain, (float *)args->y + at);
    return AACLIP_OK;
}

aaclip_status aac_simd_blend_backward(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t columns = base->desc.blend.columns;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < base->desc.blend.rows * columns; at += columns)
        plan->kernels->blend_backward(
            (const float *)args->x + at, args->a + at, (const float *)args->dy + at, columns,
            base->desc.blend.weight, (float *)args->y + at, args->da + at);
    return AACLIP_OK;
}

aaclip_status aac_simd_normalize_backward(const aac_plan *base, const aac_op_args *args,
                                          void *scratch)
{
    (void)scratch;
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t rows = base->desc.normalize.rows, columns = base->desc.normalize.columns;
    bool mean = base->desc.normalize.mean;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++)
        plan->kernels->normalize_backward((const float *)args->x + i * columns,
                                          (const float *)args->dy + (mean ? 0 : i * columns),
                                          columns, mean ? 1.0f / (float)rows : 1.0f,
                                          (float *)args->y + i * columns);
    return AACLIP_OK;
}

/* Columns of the pair's gradient that one thread sums over all rows, in their order. */
#define PAIR_SLICE 64

static void pair_gradient(const aac_simd_plan *plan, const aac_op_args *args)
{
    int64_t rows = plan->base.desc.similarity.rows, columns = plan->base.desc.similarity.columns;
    const float *x = args->x, *dy = args->dy;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < columns; first += PAIR_SLICE) {
        int64_t count = columns - first < PAIR_SLICE ? columns - first : PAIR_SLICE;
        for (int side = 0; side < 2; side++) {
            float sums[PAIR_SLICE] = {0};
            for (int64_t i = 0; i < rows; i++)
                plan->kernels->add_scaled(x + i * columns + first, count, dy[2 * i + side], sums);
            plan->kernels->add_scaled(sums, count, plan->base.desc.similarity.scale,
                                      args->da + side * columns + first);
        }
    }
}

aaclip_status aac_simd_similarity_backward(const aac_plan *base, const aac_op_args *args,
                                           void *scratch)
{
    (void)scratch;
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t columns = base->desc.similarity.columns;
    int64_t rows = args->y ? base->desc.similarity.rows : 0;
    const float *dy = args->dy;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        float *y = (float *)args->y + i * columns, scale = base->desc.similarity.scale;
        plan->kernels->scale_f32(args->a, columns, scale * dy[2 * i], y);
        plan->kernels->add_scaled(args->a + columns, columns, scale * dy[2 * i + 1], y);
    }
    if (args->da)
        pair_gradient(plan, args);
    return AACLIP_OK;
}

#define ADAM_RUN 16384

aaclip_status aac_simd_adam(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t total = base->desc.adam.count;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < total; first += ADAM_RUN) {
        aac_adam_step step = *args->adam;
        step.first_moment += first;
        step.second_moment += first;
        plan->kernels->adam((float *)args->y + first, (const float *)args->dy + first,
                            total - first < ADAM_RUN ? total - first : ADAM_RUN, &step);
    }
    return AACLIP_OK;
}
