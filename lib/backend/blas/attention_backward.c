/* Backward of attention: tiles of query rows of one head, probabilities computed again. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "backend/blas/blas.h"
#include "core/memory.h"

#define TILE_ROWS 128

size_t aac_blas_attention_backward_scratch(const aac_op_desc *desc)
{
    return (size_t)(2 * TILE_ROWS * desc->attention.longest) * sizeof(float);
}

/* One head of one sequence: first elements, row strides are 3 * width and width. */
typedef struct head_place {
    const float *q, *k, *v, *y, *dy;
    float *dq, *dk, *dv;
    int64_t width, size, length;
    bool causal;
} head_place;

static void multiply(CBLAS_TRANSPOSE turn_left, CBLAS_TRANSPOSE turn_right, int64_t rows,
                     int64_t columns, int64_t depth, const float *left, int64_t left_stride,
                     const float *right, int64_t right_stride, float keep, float *result,
                     int64_t result_stride)
{
    cblas_sgemm(CblasRowMajor, turn_left, turn_right, (int)rows, (int)columns, (int)depth, 1.0f,
                left, (int)left_stride, right, (int)right_stride, keep, result, (int)result_stride);
}

/* Scores become probabilities, dp the scores' gradients; what a causal row cannot see is zero. */
static void turn_rows(const aac_blas_plan *plan, const head_place *place, int64_t first,
                      int64_t rows, int64_t keys, float *scores, float *dp)
{
    float scale = 1.0f / sqrtf((float)place->size);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        int64_t visible = place->causal ? first + i + 1 : keys, at = (first + i) * place->width;
        float *e = scores + i * keys, *gradient = dp + i * keys;
        float inverse = plan->kernels->softmax_f32(e, visible, scale);
        float expected = plan->kernels->dot(place->y + at, place->dy + at, place->size);
        plan->kernels->softmax_backward(e, gradient, visible, inverse, scale, expected, gradient);
        memset(e + visible, 0, (size_t)(keys - visible) * sizeof *e);
        memset(gradient + visible, 0, (size_t)(keys - visible) * sizeof *gradient);
    }
}

static void run_tile(const aac_blas_plan *plan, const head_place *place, int64_t first,
                     float *scratch)
{
    int64_t size = place->size, wide = 3 * place->width, narrow = place->width;
    int64_t rows = place->length - first < TILE_ROWS ? place->length - first : TILE_ROWS;
    int64_t keys = place->causal ? first + rows : place->length;
    const float *q = place->q + first * wide, *dy = place->dy + first * narrow;
    float *scores = scratch, *dp = scratch + TILE_ROWS * plan->base.desc.attention.longest;
    multiply(CblasNoTrans, CblasTrans, rows, keys, size, q, wide, place->k, wide, 0, scores, keys);
    multiply(CblasNoTrans, CblasTrans, rows, keys, size, dy, narrow, place->v, wide, 0, dp, keys);
    turn_rows(plan, place, first, rows, keys, scores, dp);
    multiply(CblasNoTrans, CblasNoTrans, rows, size, keys, dp, keys, place->k, wide, 0,
             place->dq + first * wide, wide);
    multiply(CblasTrans, CblasNoTrans, keys, size, rows, dp, keys, q, wide, 1, place->dk, wide);
    multiply(CblasTrans, CblasNoTrans, keys, size, rows, scores, keys, dy, narrow, 1, place->dv,
             wide);
}

static void run_head(const aac_blas_plan *plan, const head_place *place, float *scratch)
{
    for (int64_t i = 0; i < place->length; i++) {
        memset(place->dk + i * 3 * place->width, 0, (size_t)place->size * sizeof(float));
        memset(place->dv + i * 3 * place->width, 0, (size_t)place->size * sizeof(float));
    }
    for (int64_t first = 0; first < place->length; first += TILE_ROWS)
        run_tile(plan, place, first, scratch);
}

aaclip_status aac_blas_attention_backward(const aac_plan *base, const aac_op_args *args,
                                          void *scratch)
{
    const aac_blas_plan *plan = (const aac_blas_plan *)base;
    int64_t heads = base->desc.attention.heads, size = base->desc.attention.head_size;
    int64_t width = heads * size;
    for (int64_t sequence = 0; sequence < args->sequences; sequence++)
        for (int64_t head = 0; head < heads; head++) {
            int64_t start = args->offsets[sequence];
            const float *x = (const float *)args->x + start * 3 * width + head * size;
            float *y = (float *)args->y + start * 3 * width + head * size;
            const head_place place = {
                .q = x,
                .k = x + width,
                .v = x + 2 * width,
                .y = (const float *)args->out + start * width + head * size,
                .dy = (const float *)args->dy + start * width + head * size,
                .dq = y,
                .dk = y + width,
                .dv = y + 2 * width,
                .width = width,
                .size = size,
                .length = args->offsets[sequence + 1] - start,
                .causal = base->desc.attention.kind == AAC_ATTENTION_CAUSAL,
            };
            run_head(plan, &place, scratch);
        }
    return AACLIP_OK;
}
