/* Attention: tiles of query rows of one head, so that the full score matrix never exists. */
#include <cblas.h>
#include <math.h>

#include "backend/blas/blas.h"
#include "core/memory.h"

#define TILE_ROWS 128

size_t aac_blas_attention_scratch(const aac_op_desc *desc)
{
    return (size_t)(TILE_ROWS * (desc->attention.longest + desc->attention.head_size)) *
           sizeof(float);
}

/* Rows of a causal tile end at their own position; what lies behind counts as zero. */
static void soften(const aac_blas_plan *plan, float *scores, int64_t rows, int64_t keys,
                   int64_t first_row, float *inverse)
{
    const aac_op_desc *desc = &plan->base.desc;
    float scale = 1.0f / sqrtf((float)desc->attention.head_size);
    bool causal = desc->attention.kind == AAC_ATTENTION_CAUSAL;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        int64_t visible = causal ? first_row + i + 1 : keys;
        float *row = scores + i * keys;
        inverse[i] = plan->kernels->softmax_f32(row, visible, scale);
        for (int64_t j = visible; j < keys; j++)
            row[j] = 0;
    }
}

static void run_tile(const aac_blas_plan *plan, const float *x, float *out, int64_t head,
                     int64_t length, int64_t first_row, float *scratch)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    int64_t rows = length - first_row < TILE_ROWS ? length - first_row : TILE_ROWS;
    bool causal = desc->attention.kind == AAC_ATTENTION_CAUSAL;
    bool value = desc->attention.kind == AAC_ATTENTION_VALUE;
    int64_t keys = causal ? first_row + rows : length;
    int64_t stride = value ? width : 3 * width;
    const float *q = x + head * size + first_row * stride;
    const float *k = x + head * size + (value ? 0 : width);
    const float *v = x + head * size + (value ? 0 : 2 * width);
    float *scores = scratch, *y = scratch + TILE_ROWS * desc->attention.longest;
    float inverse[TILE_ROWS];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)keys, (int)size, 1.0f, q,
                (int)stride, k, (int)stride, 0.0f, scores, (int)keys);
    soften(plan, scores, rows, keys, first_row, inverse);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)size, (int)keys, 1.0f,
                scores, (int)keys, v, (int)stride, 0.0f, y, (int)size);
    for (int64_t i = 0; i < rows; i++)
        plan->kernels->scale_f32(y + i * size, size, inverse[i],
                                 out + (first_row + i) * width + head * size);
}

aaclip_status aac_blas_attention(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_blas_plan *plan = (const aac_blas_plan *)base;
    int64_t heads = base->desc.attention.heads, width = heads * base->desc.attention.head_size;
    for (int64_t sequence = 0; sequence < args->sequences; sequence++) {
        int64_t start = args->offsets[sequence], length = args->offsets[sequence + 1] - start;
        int64_t parts = base->desc.attention.kind == AAC_ATTENTION_VALUE ? 1 : 3;
        const float *x = (const float *)args->x + start * parts * width;
        for (int64_t head = 0; head < heads; head++)
            for (int64_t row = 0; row < length; row += TILE_ROWS)
                run_tile(plan, x, (float *)args->y + start * width, head, length, row, scratch);
    }
    return AACLIP_OK;
}
