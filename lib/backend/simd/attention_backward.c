/* Backward of attention for short sequences: one (sequence, head) a thread. */
#include "backend/simd/simd.h"

#include <math.h>
#include <string.h>

/* Rows of float32 of one (sequence, head), dense. */
typedef struct short_head {
    float *q, *k, *v, *y, *dy, *dq, *dk, *dv; // (longest, head_size) each
    float *weights, *dweights;                // (longest)
} short_head;

static short_head lay_out(const aac_op_desc *desc, float *memory)
{
    int64_t part = desc->attention.longest * desc->attention.head_size;
    short_head head = {0};
    float **parts[] = {&head.q, &head.k, &head.v, &head.y, &head.dy, &head.dq, &head.dk, &head.dv};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++, memory += part)
        *parts[i] = memory;
    head.weights = memory;
    head.dweights = memory + desc->attention.longest;
    return head;
}

int64_t aac_simd_attention_backward_floats(const aac_op_desc *desc)
{
    return desc->attention.longest * (8 * desc->attention.head_size + 2);
}

/* Rows of `size` values, `stride` apart, between memory of the operation's type and float32. */
static void gather(const aac_simd_plan *plan, const void *from, int64_t at, int64_t stride,
                   int64_t rows, float *to)
{
    int64_t size = plan->base.desc.attention.head_size;
    bool narrow = plan->base.desc.attention.type == AAC_BF16;
    for (int64_t i = 0; i < rows; i++, at += stride, to += size) {
        if (narrow)
            plan->kernels->widen_bf16((const uint16_t *)from + at, size, to);
        else
            memcpy(to, (const float *)from + at, (size_t)size * sizeof *to);
    }
}

static void scatter(const aac_simd_plan *plan, const float *from, int64_t rows, void *to,
                    int64_t at, int64_t stride)
{
    int64_t size = plan->base.desc.attention.head_size;
    bool narrow = plan->base.desc.attention.type == AAC_BF16;
    for (int64_t i = 0; i < rows; i++, at += stride, from += size) {
        if (narrow)
            plan->kernels->scale_bf16(from, size, 1.0f, (uint16_t *)to + at);
        else
            memcpy((float *)to + at, from, (size_t)size * sizeof *from);
    }
}

/* ds = p (dp - y . dy) with dp = dy . v; dq = ds k, dk += ds q, dv += p dy. */
static void backward_row(const aac_simd_plan *plan, const short_head *head, int64_t row,
                         int64_t visible)
{
    const aac_kernels *kernels = plan->kernels;
    int64_t size = plan->base.desc.attention.head_size;
    float scale = 1.0f / sqrtf((float)size);
    const float *q = head->q + row * size, *dy = head->dy + row * size;
    for (int64_t j = 0; j < visible; j++) {
        head->weights[j] = kernels->dot(q, head->k + j * size, size);
        head->dweights[j] = kernels->dot(dy, head->v + j * size, size);
    }
    float inverse = kernels->softmax_f32(head->weights, visible, scale);
    float expected = kernels->dot(head->y + row * size, dy, size);
    kernels->softmax_backward(head->weights, head->dweights, visible, inverse, scale, expected,
                              head->dweights);
    for (int64_t j = 0; j < visible; j++) {
        kernels->add_scaled(head->k + j * size, size, head->dweights[j], head->dq + row * size);
        kernels->add_scaled(q, size, head->dweights[j], head->dk + j * size);
        kernels->add_scaled(dy, size, head->weights[j], head->dv + j * size);
    }
}

static void backward_head(const aac_simd_plan *plan, const aac_op_args *args, int64_t first,
                          int64_t rows, int64_t index, const short_head *head)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    int64_t wide = first * 3 * width + index * size, narrow = first * width + index * size;
    gather(plan, args->x, wide, 3 * width, rows, head->q);
    gather(plan, args->x, wide + width, 3 * width, rows, head->k);
    gather(plan, args->x, wide + 2 * width, 3 * width, rows, head->v);
    gather(plan, args->out, narrow, width, rows, head->y);
    gather(plan, args->dy, narrow, width, rows, head->dy);
    float *const sums[] = {head->dq, head->dk, head->dv};
    for (int i = 0; i < 3; i++)
        memset(sums[i], 0, (size_t)(rows * size) * sizeof *sums[i]);
    for (int64_t row = 0; row < rows; row++)
        backward_row(plan, head, row,
                     desc->attention.kind == AAC_ATTENTION_CAUSAL ? row + 1 : rows);
    for (int i = 0; i < 3; i++)
        scatter(plan, sums[i], rows, args->y, wide + i * width, 3 * width);
}

aaclip_status aac_simd_attention_backward(const aac_plan *base, const aac_op_args *args,
                                          void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t sequence = 0; sequence < args->sequences; sequence++)
        for (int64_t index = 0; index < base->desc.attention.heads; index++) {
            const short_head head = lay_out(&base->desc, aac_simd_buffer(plan, scratch));
            int64_t first = args->offsets[sequence];
            backward_head(plan, args, first, args->offsets[sequence + 1] - first, index, &head);
        }
    return AACLIP_OK;
}
