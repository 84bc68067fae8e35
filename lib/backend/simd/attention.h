/* What the files of attention share: rows of heads, and their panels for the block kernels. */
#ifndef AAC_BACKEND_SIMD_ATTENTION_H
#define AAC_BACKEND_SIMD_ATTENTION_H

#include "backend/simd/simd.h"

/* `count` rows of head_size values in memory of the attention's type, the first at value `at`,
 * `stride` values apart. */
typedef struct aac_simd_rows {
    const void *from;
    int64_t at, stride, count;
} aac_simd_rows;

static inline int64_t aac_simd_round_up(int64_t count, int64_t unit)
{
    return (count + unit - 1) / unit * unit;
}

/* Rows of a tile, in whole blocks, so that its scores, `columns` a row, stay in the second level
 * cache; no more than `longest` needs. */
int64_t aac_simd_tile_rows(const aac_block_kernels *blocks, int64_t columns, int64_t longest);

/* Between the attention's type and dense float32. */
void aac_simd_load_rows(const aac_simd_plan *plan, const void *from, int64_t at, int64_t stride,
                        int64_t rows, float *to);
void aac_simd_store_rows(const aac_simd_plan *plan, const float *from, int64_t rows, void *to,
                         int64_t at, int64_t stride);

/* Panels of whole blocks of columns, the last one filled up with zeros; `row` is (head_size) of
 * scratch. Turned: (panels, head_size, columns), a row of the head is a column. Straight: (panels,
 * count, columns). */
void aac_simd_lay_out_turned(const aac_simd_plan *plan, aac_simd_rows rows, float *panels,
                             float *row);
void aac_simd_lay_out_straight(const aac_simd_plan *plan, aac_simd_rows rows, float *panels,
                               float *row);

/* out (rows, count) = left (rows, size) panels^T; rows and count in whole blocks, rows of `out`
 * are `stride` apart. */
void aac_simd_multiply_turned(const aac_block_kernels *blocks, const float *left, int64_t rows,
                              const float *panels, int64_t size, int64_t count, float *out,
                              int64_t stride);

/* Straight panels of `rows` rows. */
typedef struct aac_simd_panels {
    const float *data;
    int64_t rows;
} aac_simd_panels;

/* out (rows, width) = left (rows, depth) panels, of which the first `depth` rows count. */
void aac_simd_multiply_straight(const aac_block_kernels *blocks, const float *left, int64_t stride,
                                int64_t rows, aac_simd_panels panels, int64_t depth, float *out,
                                int64_t width);

/*
 * The same of bfloat16 in units of two values, for the narrow kernels: where a processor has them,
 * the head size is even and every row sees every other.
 */
bool aac_simd_attends_in_pairs(const aac_op_desc *desc);
static inline int64_t aac_simd_pairs(int64_t count)
{
    return (count + 1) / 2;
}
/* Dense rows of head_size / 2 units. */
void aac_simd_load_pairs(const aac_simd_plan *plan, aac_simd_rows rows, uint32_t *to);
/* (panels, head_size / 2, columns) and (panels, pairs of rows, columns); zeros fill both up. */
void aac_simd_lay_out_pairs_turned(const aac_simd_plan *plan, aac_simd_rows rows, uint32_t *panels);
void aac_simd_lay_out_pairs_straight(const aac_simd_plan *plan, aac_simd_rows rows,
                                     uint32_t *panels);
/* out (rows, count) and out (rows, width), as above; `units` pairs are the straight panels' rows.
 */
void aac_simd_multiply_pairs_turned(const aac_simd_plan *plan, const uint32_t *left, int64_t rows,
                                    const uint32_t *panels, int64_t count, float *out,
                                    int64_t stride);
void aac_simd_multiply_pairs_straight(const aac_simd_plan *plan, const uint32_t *left,
                                      int64_t stride, int64_t rows, const uint32_t *panels,
                                      int64_t units, float *out, int64_t width);

#endif
