/* Attention for short sequences: whole rows of scores, one (sequence, head) a thread. */
#include "backend/simd/simd.h"

#include <math.h>
#include <string.h>

/* Attention over one (sequence, head): rows of float32 q, k, v gathered side by side. */
typedef struct short_head {
    float *q, *k, *v, *scores; // (longest, head_size) each, (longest)
} short_head;

static void gather_head(const aac_simd_plan *plan, const aac_op_args *args, int64_t first,
                        int64_t rows, int64_t head, const short_head *buffer)
{
    int64_t size = plan->base.desc.attention.head_size;
    int64_t width = plan->base.desc.attention.heads * size;
    bool value = plan->base.desc.attention.kind == AAC_ATTENTION_VALUE;
    float *parts[3] = {value ? buffer->v : buffer->q, buffer->k, buffer->v};
    int64_t count = value ? 1 : 3;
    for (int64_t part = 0; part < count; part++)
        for (int64_t i = 0; i < rows; i++) {
            int64_t at = ((first + i) * count + part) * width + head * size;
            float *out = parts[part] + i * size;
            if (plan->base.desc.attention.type == AAC_BF16)
                plan->kernels->widen_bf16((const uint16_t *)args->x + at, size, out);
            else
                memcpy(out, (const float *)args->x + at, (size_t)size * sizeof *out);
        }
}

static void attend_row(const aac_simd_plan *plan, const short_head *buffer, int64_t row,
                       int64_t rows, float *out)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t size = desc->attention.head_size;
    bool value = desc->attention.kind == AAC_ATTENTION_VALUE;
    const float *q = (value ? buffer->v : buffer->q) + row * size;
    const float *k = value ? buffer->v : buffer->k;
    int64_t visible = desc->attention.kind == AAC_ATTENTION_CAUSAL ? row + 1 : rows;
    for (int64_t j = 0; j < visible; j++)
        buffer->scores[j] = plan->kernels->dot(q, k + j * size, size);
    float inverse = plan->kernels->softmax_f32(buffer->scores, visible, 1.0f / sqrtf((float)size));
    memset(out, 0, (size_t)size * sizeof *out);
    for (int64_t j = 0; j < visible; j++)
        plan->kernels->add_scaled(buffer->v + j * size, size, inverse * buffer->scores[j], out);
}

aaclip_status aac_simd_attention(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t heads = base->desc.attention.heads, size = base->desc.attention.head_size;
    int64_t part = base->desc.attention.longest * size;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t sequence = 0; sequence < args->sequences; sequence++)
        for (int64_t head = 0; head < heads; head++) {
            float *memory = aac_simd_buffer(plan, scratch);
            short_head buffer = {memory, memory + part, memory + 2 * part, memory + 3 * part};
            float *out = buffer.scores + base->desc.attention.longest;
            int64_t first = args->offsets[sequence], rows = args->offsets[sequence + 1] - first;
            gather_head(plan, args, first, rows, head, &buffer);
            for (int64_t row = 0; row < rows; row++) {
                int64_t at = (first + row) * heads * size + head * size;
                attend_row(plan, &buffer, row, rows, out);
                if (base->desc.attention.type == AAC_BF16)
                    plan->kernels->scale_bf16(out, size, 1.0f, (uint16_t *)args->y + at);
                else
                    memcpy((float *)args->y + at, out, (size_t)size * sizeof *out);
            }
        }
    return AACLIP_OK;
}
