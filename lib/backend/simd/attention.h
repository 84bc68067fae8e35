/* What the attention files share: rows of heads, and their panels for the block kernels. */
#ifndef AAC_BACKEND_SIMD_ATTENTION_H
#define AAC_BACKEND_SIMD_ATTENTION_H

#include "backend/simd/simd.h"
#include "core/cancel.h"

/* `count` rows of head_size values in memory of the attention's type, the first at value `at`,
 * `stride` values apart. */
typedef struct aac_simd_rows {
    const void *from;
    int64_t at, stride, count;
} aac_simd_rows;

/* One sequence of one head. */
typedef struct aac_simd_head {
    const aac_simd_plan *plan;
    aac_cancel_watch *watch;      /* of the operation: checked before each tile */
    int64_t first, length, index; /* rows; which head */
} aac_simd_head;

static inline aac_simd_head aac_simd_head_of(const aac_simd_plan *plan, aac_cancel_watch *watch,
                                             const aac_op_args *args, int64_t sequence,
                                             int64_t index)
{
    int64_t first = args->offsets[sequence];
    return (aac_simd_head){plan, watch, first, args->offsets[sequence + 1] - first, index};
}

/* The head's rows of part 0, 1, 2 (q, k, v; v alone where the kind has no others) of the
 * operation's input or its gradient. */
static inline aac_simd_rows aac_simd_wide_rows(const aac_simd_head *head, const void *from,
                                               int part)
{
    const aac_op_desc *desc = &head->plan->base.desc;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    bool value = desc->attention.kind == AAC_ATTENTION_VALUE;
    int64_t stride = value ? width : 3 * width;
    int64_t at = head->first * stride + (value ? 0 : part * width) + head->index * size;
    return (aac_simd_rows){from, at, stride, head->length};
}

/* The head's rows of the operation's result or its gradient. */
static inline aac_simd_rows aac_simd_narrow_rows(const aac_simd_head *head, const void *from)
{
    const aac_op_desc *desc = &head->plan->base.desc;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    return (aac_simd_rows){from, head->first * width + head->index * size, width, head->length};
}

static inline aac_simd_rows aac_simd_part_of(aac_simd_rows rows, int64_t first, int64_t count)
{
    return (aac_simd_rows){rows.from, rows.at + first * rows.stride, rows.stride, count};
}

static inline int64_t aac_simd_round_up(int64_t count, int64_t unit)
{
    return (count + unit - 1) / unit * unit;
}

/* Rows of a tile, in whole blocks, so that its scores, `columns` per row, stay in the second-level
 * cache; no more than `longest` needs. */
int64_t aac_simd_tile_rows(const aac_block_kernels *blocks, int64_t columns, int64_t longest);

/* Sizes of a backward run. */
typedef struct aac_simd_backward_sizes {
    int64_t rows;   /* of a tile, whole blocks */
    int64_t scores; /* columns of scores: whole blocks of columns, and of rows within */
    int64_t keys;   /* whole blocks of columns */
    int64_t sums;   /* rows of dk and dv, whole blocks of rows */
    int64_t width;  /* columns of dq, dk and dv: whole blocks */
} aac_simd_backward_sizes;
aac_simd_backward_sizes aac_simd_size_backward(const aac_op_desc *desc);

/* Between the attention's type and dense float32. */
void aac_simd_load_rows(const aac_simd_plan *plan, const void *from, int64_t at, int64_t stride,
                        int64_t rows, float *to);
void aac_simd_store_rows(const aac_simd_plan *plan, const float *from, int64_t rows, void *to,
                         int64_t at, int64_t stride);

/* Panels of whole blocks of columns, the last one padded with zeros; `row` is (head_size) of
 * scratch. Transposed: (panels, head_size, columns), each row of the head is a column. Straight:
 * (panels, count, columns). */
void aac_simd_lay_out_transposed(const aac_simd_plan *plan, aac_simd_rows rows, float *panels,
                                 float *row);
void aac_simd_lay_out_straight(const aac_simd_plan *plan, aac_simd_rows rows, float *panels,
                               float *row);

/* out (rows, count) = left (rows, size) panels^T; rows and count in whole blocks, rows of `out`
 * are `stride` apart. */
void aac_simd_multiply_transposed(const aac_block_kernels *blocks, const float *left, int64_t rows,
                                  const float *panels, int64_t size, int64_t count, float *out,
                                  int64_t stride);

/* Straight panels of `rows` rows. */
typedef struct aac_simd_panels {
    const float *data;
    int64_t rows;
} aac_simd_panels;

/* out (rows, width) = left (rows, depth) panels, of which the first `depth` rows are used. */
void aac_simd_multiply_straight(const aac_block_kernels *blocks, const float *left, int64_t stride,
                                int64_t rows, aac_simd_panels panels, int64_t depth, float *out,
                                int64_t width);

/*
 * The same for bfloat16 in units of two values, for the narrow kernels. Requires a processor that
 * has them, an even head size, and every row to see every other.
 */
bool aac_simd_attends_in_pairs(const aac_op_desc *desc);
static inline int64_t aac_simd_pairs(int64_t count)
{
    return (count + 1) / 2;
}
/* Dense rows of head_size / 2 units, padded with zeros to whole blocks. */
void aac_simd_load_pairs(const aac_simd_plan *plan, aac_simd_rows rows, uint32_t *to);
/* (panels, head_size / 2, columns) and (panels, pairs of rows, columns), both padded with zeros. */
void aac_simd_lay_out_pairs_transposed(const aac_simd_plan *plan, aac_simd_rows rows,
                                       uint32_t *panels);
void aac_simd_lay_out_pairs_straight(const aac_simd_plan *plan, aac_simd_rows rows,
                                     uint32_t *panels);
/* out (rows, count) and out (rows, width), as above; `units` pairs are the straight panels' rows.
 */
void aac_simd_multiply_pairs_transposed(const aac_simd_plan *plan, const uint32_t *left,
                                        int64_t rows, const uint32_t *panels, int64_t count,
                                        float *out, int64_t stride);
void aac_simd_multiply_pairs_straight(const aac_simd_plan *plan, const uint32_t *left,
                                      int64_t stride, int64_t rows, const uint32_t *panels,
                                      int64_t units, float *out, int64_t width);

/* The gradients of one head; `memory` has as many floats as the function below says. */
void aac_simd_attention_backward_pairs(const aac_simd_head *place, const aac_op_args *args,
                                       float *memory);
int64_t aac_simd_attention_backward_pairs_floats(const aac_op_desc *desc);

#endif
