/*
 * Products of small blocks, held in registers. Compiled several times: AAC_BLOCK_KERNELS names the
 * table; meson.build sets the instruction set.
 */
#include "backend/simd/kernels_shape.h"

extern const aac_block_kernels AAC_BLOCK_KERNELS;

#define LINE 16 /* floats of a cache line */

typedef float vector __attribute__((vector_size(BYTES)));
typedef float unaligned_vector __attribute__((vector_size(BYTES), aligned(4), may_alias));

static inline vector load(const float *from)
{
    return *(const unaligned_vector *)from;
}

static inline void store(vector value, float *to)
{
    *(unaligned_vector *)to = value;
}

static inline __attribute__((always_inline)) void multiply(const float *a, int64_t row_stride,
                                                           int64_t depth_stride, const float *panel,
                                                           int64_t depth, bool add, float *c,
                                                           int64_t c_stride)
{
    vector sums[ROWS][2];
    UNROLLED
    for (int i = 0; i < ROWS; i++) {
        sums[i][0] = add ? load(c + i * c_stride) : (vector){0};
        sums[i][1] = add ? load(c + i * c_stride + LANES) : (vector){0};
    }
    for (int64_t k = 0; k < depth; k++, panel += 2 * LANES) {
        vector left = load(panel), right = load(panel + LANES);
        UNROLLED
        for (int i = 0; i < ROWS; i++) {
            float factor = a[i * row_stride + k * depth_stride];
            sums[i][0] += factor * left;
            sums[i][1] += factor * right;
        }
    }
    UNROLLED
    for (int i = 0; i < ROWS; i++) {
        store(sums[i][0], c + i * c_stride);
        store(sums[i][1], c + i * c_stride + LANES);
    }
}

static void product(const float *a, int64_t a_stride, const float *panel, int64_t depth, bool add,
                    float *c, int64_t c_stride)
{
    multiply(a, a_stride, 1, panel, depth, add, c, c_stride);
}

static void transposed_product(const float *a, int64_t a_stride, const float *panel, int64_t depth,
                               bool add, float *c, int64_t c_stride)
{
    multiply(a, 1, a_stride, panel, depth, add, c, c_stride);
}

static void streamed_product(const aac_streamed_block *block)
{
    vector sums[ROWS][2];
    const float *panel = block->panel;
    UNROLLED
    for (int i = 0; i < ROWS; i++) {
        __builtin_prefetch(block->fetched + i * block->fetched_stride, 1);
        __builtin_prefetch(block->fetched + i * block->fetched_stride + 2 * LANES - 1, 1);
        sums[i][0] = block->start ? load(block->start) : (vector){0};
        sums[i][1] = block->start ? load(block->start + LANES) : (vector){0};
    }
    for (int64_t line = 0, k = 0; line <= block->ahead; line++) {
        int64_t end = block->depth * (line + 1) / (block->ahead + 1);
        if (line < block->ahead)
            __builtin_prefetch(block->next + line * LINE, 0, 2);
        for (; k < end; k++, panel += 2 * LANES) {
            vector left = load(panel), right = load(panel + LANES);
            UNROLLED
            for (int i = 0; i < ROWS; i++) {
                float factor = block->a[i * block->a_stride + k];
                sums[i][0] += factor * left;
                sums[i][1] += factor * right;
            }
        }
    }
    UNROLLED
    for (int i = 0; i < ROWS; i++) {
        float *to = block->c + i * block->c_stride;
        if (block->added) {
            const float *added = block->added + i * block->added_stride;
            sums[i][0] += load(added);
            sums[i][1] += load(added + LANES);
        }
        store(sums[i][0], to);
        store(sums[i][1], to + LANES);
    }
}

const aac_block_kernels AAC_BLOCK_KERNELS = {
    .rows = ROWS,
    .columns = 2 * LANES,
    .product = product,
    .transposed_product = transposed_product,
    .streamed_product = streamed_product,
};
