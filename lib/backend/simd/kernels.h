/*
 * Row kernels: plain C loops that the compiler vectorises, compiled once per instruction set and
 * selected at run time.
 */
#ifndef AAC_BACKEND_SIMD_KERNELS_H
#define AAC_BACKEND_SIMD_KERNELS_H

#include <stdint.h>

#include "backend/backend.h"
#include "core/platform.h"

/* bfloat16 values are passed as their bits. In-place use is allowed if the types are the same. */
typedef struct aac_kernels {
    /* row = exp(scale * (row - max)), not divided by the sum; returns 1 / sum. */
    float (*softmax_f32)(float *row, int64_t count, float scale);
    /* The same, stored as bfloat16; the sum is that of the rounded values. */
    float (*softmax_bf16)(const float *row, int64_t count, float scale, uint16_t *out);

    void (*scale_f32)(const float *x, int64_t count, float factor, float *y);
    void (*scale_bf16)(const float *x, int64_t count, float factor, uint16_t *y);
    void (*widen_bf16)(const uint16_t *x, int64_t count, float *y);
    void (*widen_f16)(const uint16_t *x, int64_t count, float *y);

    void (*add)(const float *x, int64_t count, float *y); /* y += x */
    void (*add_scaled)(const float *x, int64_t count, float factor, float *y);
    float (*dot)(const float *x, const float *y, int64_t count);
    void (*activate)(float *x, int64_t count, aac_activation activation, float slope);

    void (*layer_norm)(const float *x, int64_t count, float epsilon, const float *gain,
                       const float *bias, float *y);
    /* y = weight * a * |x| / |a| + (1 - weight) * x; y may be x */
    void (*blend)(const float *x, const float *a, int64_t count, float weight, float *y);

    /* y = dy * activation'(x); y may be dy. */
    void (*activate_backward)(const float *x, const float *dy, int64_t count,
                              aac_activation activation, float slope, float *y);
    /* y += gradient of x */
    void (*layer_norm_backward)(const float *x, const float *dy, int64_t count, float epsilon,
                                const float *gain, float *y);
    /* y = gradient of x (y may be dy), da = gradient of a */
    void (*blend_backward)(const float *x, const float *a, const float *dy, int64_t count,
                           float weight, float *y, float *da);
    /* y = factor * (dy - x (x . dy) / |x|^2) / |x| */
    void (*normalize_backward)(const float *x, const float *dy, int64_t count, float factor,
                               float *y);
    /*
     * For a softmax row: e (not divided by the sum, as softmax_f32 leaves it) becomes the
     * probabilities p; out = gradient of the scores: scale * p * (dp - expected). dp may be out.
     */
    void (*softmax_backward)(float *e, const float *dp, int64_t count, float inverse, float scale,
                             float expected, float *out);
    void (*adam)(float *y, const float *gradient, int64_t count, const aac_adam_step *step);
} aac_kernels;

/* Integer products of one row with some channels, and what converts them to floats. */
typedef struct aac_quantized_sums {
    const int32_t *values;
    float step; /* of the row */
    int32_t zero;
    const float *channel_steps;
    const int32_t *channel_sums;
    const float *bias; /* NULL: none */
} aac_quantized_sums;

/*
 * Quantisation for 8-bit products, and back. A row of x becomes step * (q - zero) with q in 0 ..
 * 255, a row of weights (a channel) step * q with q in -limit .. limit. A row that is not all
 * finite gets a step of NaN.
 */
typedef struct aac_quantized_kernels {
    void (*quantize_row)(const float *x, int64_t count, uint8_t *q, float *step, int32_t *zero);
    /* `sum`: sum of the integers. */
    void (*quantize_channel)(const float *w, int64_t count, int32_t limit, int8_t *q, float *step,
                             int32_t *sum);
    /* y (count) = what the sums stand for, added to y if `add`. */
    void (*restore_sums)(const aac_quantized_sums *sums, int64_t count, bool add, float *y);
    /*
     * c (rows, columns) = a (rows, depth) panel (depth, columns), a block of the block kernels'
     * size; depth and strides in units of four bytes that follow each other in depth. a: unsigned,
     * panel: signed; the sums are exact. With each unit of depth another `step` bytes of `next` are
     * prefetched into the second-level cache.
     */
    void (*multiply)(const uint32_t *a, int64_t a_stride, const uint32_t *panel, int64_t depth,
                     int32_t *c, int64_t c_stride, const void *next, int64_t step);
} aac_quantized_kernels;

/* c (rows, columns) = a (rows, depth) panel (depth, columns) + start + added; prefetches cache
 * lines meanwhile. Strides are in values. */
typedef struct aac_streamed_block {
    const float *a;
    int64_t a_stride;
    const float *panel;
    int64_t depth;
    const float *start; // (columns), for every row; NULL: zeros
    const float *added; // (rows, columns); NULL: zeros
    int64_t added_stride;
    float *c;
    int64_t c_stride;
    const float *fetched; // (rows, columns): prefetched, to be read or written soon
    int64_t fetched_stride;
    const float *next; /* `ahead` lines, prefetched into the second-level cache */
    int64_t ahead;
} aac_streamed_block;

/* Rows of a block with 64-byte vectors; the most values in a block of any kernels. */
#define AAC_BLOCK_ROWS 14
#define AAC_BLOCK_MOST (AAC_BLOCK_ROWS * 32)

/* One block of a float32 matrix product. */
typedef struct aac_block_kernels {
    int rows, columns;
    /*
     * c (rows, columns) = a (rows, depth) panel (depth, columns), added to c if `add`. The panel is
     * dense; strides of a and c are in values.
     */
    void (*product)(const float *a, int64_t a_stride, const float *panel, int64_t depth, bool add,
                    float *c, int64_t c_stride);
    void (*streamed_product)(const aac_streamed_block *block);
    /* As product, with a transposed: a is (depth, rows). */
    void (*transposed_product)(const float *a, int64_t a_stride, const float *panel, int64_t depth,
                               bool add, float *c, int64_t c_stride);
} aac_block_kernels;

/* Two softmax rows, e not divided by the sum, and the gradients of the probabilities. */
typedef struct aac_softmax_pair {
    const float *e[2], *de[2]; // (count)
    float inverse[2], expected[2];
    float scale;
    bool both;                    /* else the second row is zeros, without e and de */
    int64_t count, whole;         /* what is written beyond `count` is zero */
    uint16_t *ds[2];              // (whole) scale * p * (de - expected)
    uint32_t *p_pairs, *ds_pairs; // (whole) both rows' values in a unit
} aac_softmax_pair;

/*
 * bfloat16. Products are blocks of the block kernels' size from operands in units of two values
 * that follow each other in depth: c (rows, columns) = a (rows, depth) panel (depth, columns),
 * depth and strides in units.
 */
typedef struct aac_narrow_kernels {
    void (*multiply_bf16)(const uint32_t *a, int64_t a_stride, const uint32_t *panel, int64_t depth,
                          float *c, int64_t c_stride);
    /* c += a^T panel, a being (depth, rows). */
    void (*add_transposed_bf16)(const uint32_t *a, int64_t a_stride, const uint32_t *panel,
                                int64_t depth, float *c, int64_t c_stride);
    void (*softmax_backward_bf16)(const aac_softmax_pair *rows);
    /* As in the row kernels. */
    float (*softmax_bf16)(const float *row, int64_t count, float scale, uint16_t *out);
    /* As quantize_row of the quantized kernels, bit for bit. */
    void (*quantize_bf16)(const uint16_t *x, int64_t count, uint8_t *q, float *step, int32_t *zero);
    /* y (count) = what the sums stand for, through QuickGELU if `gelu`. */
    void (*restore_bf16)(const aac_quantized_sums *sums, int64_t count, bool gelu, uint16_t *y);
} aac_narrow_kernels;

/* The best for this processor. Any thread. */
const aac_kernels *aac_kernels_get(void);
const aac_block_kernels *aac_block_kernels_get(void);
/* NULL if the processor or the build has none. */
const aac_narrow_kernels *aac_narrow_kernels_get(void);
/* The instruction set of aac_kernels_get. */
aac_isa aac_kernels_isa(void);
const aac_quantized_kernels *aac_quantized_kernels_get(void);
/* Whether those multiply integers with the processor's own instruction for them. */
bool aac_kernels_have_vnni(void);

#endif
