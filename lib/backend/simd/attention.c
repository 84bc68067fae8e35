/* Attention for short sequences: whole rows of scores, one (sequence, head) a thread. */
#include "backend/simd/simd.h"

#include <math.h>
#include <string.h>

int64_t aac_simd_attention_floats(const aac_op_desc *desc)
{
    if (desc->attention.kind == AAC_ATTENTION_TREE)
        return aac_simd_tree_attention_floats(desc);
    return desc->attention.longest * (3 * desc->attention.head_size + 1) +
           desc->attention.head_size;
}

void aac_simd_load_rows(const aac_simd_plan *plan, const void *from, int64_t at, int64_t stride,
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

void aac_simd_store_rows(const aac_simd_plan *plan, const float *from, int64_t rows, void *to,
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

void aac_simd_attend(const aac_simd_plan *plan, const float *q, const float *k, const float *v,
                     int64_t visible, float *scores, float *out)
{
    int64_t size = plan->base.desc.attention.head_size;
    for (int64_t j = 0; j < visible; j++)
        scores[j] = plan->kernels->dot(q, k + j * size, size);
    float inverse = plan->kernels->softmax_f32(scores, visible, 1.0f / sqrtf((float)size));
    memset(out, 0, (size_t)size * sizeof *out);
    for (int64_t j = 0; j < visible; j++)
        plan->kernels->add_scaled(v + j * size, size, inverse * scores[j], out);
}

/* Attention over one (sequence, head): rows of float32 q, k, v gathered side by side. */
typedef struct short_head {
    float *q, *k, *v, *scores; // (longest, head_size) each, (longest)
    float *out;                // (head_size)
} short_head;

static short_head lay_out(const aac_op_desc *desc, float *memory)
{
    int64_t part = desc->attention.longest * desc->attention.head_size;
    bool value = desc->attention.kind == AAC_ATTENTION_VALUE;
    float *v = memory + 2 * part;
    return (short_head){value ? v : memory, value ? v : memory + part, v, memory + 3 * part,
                        memory + 3 * part + desc->attention.longest};
}

static void gather_head(const aac_simd_plan *plan, const aac_op_args *args, int64_t first,
                        int64_t rows, int64_t head, const short_head *buffer)
{
    int64_t size = plan->base.desc.attention.head_size;
    int64_t width = plan->base.desc.attention.heads * size;
    bool value = plan->base.desc.attention.kind == AAC_ATTENTION_VALUE;
    float *parts[3] = {value ? buffer->v : buffer->q, buffer->k, buffer->v};
    int64_t count = value ? 1 : 3;
    for (int64_t part = 0; part < count; part++)
        aac_simd_load_rows(plan, args->x, (first * count + part) * width + head * size,
                           count * width, rows, parts[part]);
}

static void attend_head(const aac_simd_plan *plan, const aac_op_args *args, int64_t sequence,
                        int64_t head, const short_head *buffer)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    int64_t first = args->offsets[sequence], rows = args->offsets[sequence + 1] - first;
    bool causal = desc->attention.kind == AAC_ATTENTION_CAUSAL;
    gather_head(plan, args, first, rows, head, buffer);
    for (int64_t row = 0; row < rows; row++) {
        aac_simd_attend(plan, buffer->q + row * size, buffer->k, buffer->v, causal ? row + 1 : rows,
                        buffer->scores, buffer->out);
        aac_simd_store_rows(plan, buffer->out, 1, args->y, (first + row) * width + head * size,
                            width);
    }
}

aaclip_status aac_simd_attention(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    if (base->desc.attention.kind == AAC_ATTENTION_TREE) {
        aac_simd_tree_attention(plan, args, scratch);
        return AACLIP_OK;
    }
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t sequence = 0; sequence < args->sequences; sequence++)
        for (int64_t head = 0; head < base->desc.attention.heads; head++) {
            const short_head buffer = lay_out(&base->desc, aac_simd_buffer(plan, scratch));
            attend_head(plan, args, sequence, head, &buffer);
        }
    return AACLIP_OK;
}
