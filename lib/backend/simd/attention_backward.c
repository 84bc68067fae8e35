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
    if (desc->attention.kind == AAC_ATTENTION_TREE)
        return aac_simd_tree_attention_floats(desc);
    return desc->attention.longest * (8 * desc->attention.head_size + 2);
}

void aac_simd_attend_backward(const aac_simd_plan *plan, const float *q, const float *k,
                              const float *v, const float *y, const float *dy, int64_t visible,
                              float *weights, float *dweights)
{
    const aac_kernels *kernels = plan->kernels;
    int64_t size = plan->base.desc.attention.head_size;
    float scale = 1.0f / sqrtf((float)size);
    for (int64_t j = 0; j < visible; j++) {
        weights[j] = kernels->dot(q, k + j * size, size);
        dweights[j] = kernels->dot(dy, v + j * size, size);
    }
    float inverse = kernels->softmax_f32(weights, visible, scale);
    float expected = kernels->dot(y, dy, size);
    kernels->softmax_backward(weights, dweights, visible, inverse, scale, expected, dweights);
}

/* ds = p (dp - y . dy) with dp = dy . v; dq = ds k, dk += ds q, dv += p dy. */
static void backward_row(const aac_simd_plan *plan, const short_head *head, int64_t row,
                         int64_t visible)
{
    const aac_kernels *kernels = plan->kernels;
    int64_t size = plan->base.desc.attention.head_size;
    const float *q = head->q + row * size, *dy = head->dy + row * size;
    aac_simd_attend_backward(plan, q, head->k, head->v, head->y + row * size, dy, visible,
                             head->weights, head->dweights);
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
    aac_simd_load_rows(plan, args->x, wide, 3 * width, rows, head->q);
    aac_simd_load_rows(plan, args->x, wide + width, 3 * width, rows, head->k);
    aac_simd_load_rows(plan, args->x, wide + 2 * width, 3 * width, rows, head->v);
    aac_simd_load_rows(plan, args->out, narrow, width, rows, head->y);
    aac_simd_load_rows(plan, args->dy, narrow, width, rows, head->dy);
    float *const sums[] = {head->dq, head->dk, head->dv};
    for (int i = 0; i < 3; i++)
        memset(sums[i], 0, (size_t)(rows * size) * sizeof *sums[i]);
    for (int64_t row = 0; row < rows; row++)
        backward_row(plan, head, row,
                     desc->attention.kind == AAC_ATTENTION_CAUSAL ? row + 1 : rows);
    for (int i = 0; i < 3; i++)
        aac_simd_store_rows(plan, sums[i], rows, args->y, wide + i * width, 3 * width);
}

aaclip_status aac_simd_attention_backward(const aac_plan *base, const aac_op_args *args,
                                          void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    if (base->desc.attention.kind == AAC_ATTENTION_TREE) {
        aac_simd_tree_attention_backward(plan, args, scratch);
        return AACLIP_OK;
    }
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t sequence = 0; sequence < args->sequences; sequence++)
        for (int64_t index = 0; index < base->desc.attention.heads; index++) {
            const short_head head = lay_out(&base->desc, aac_simd_buffer(plan, scratch));
            int64_t first = args->offsets[sequence];
            backward_head(plan, args, first, args->offsets[sequence + 1] - first, index, &head);
        }
    return AACLIP_OK;
}
