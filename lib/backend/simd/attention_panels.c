/* Rows of one head, between memory of an attention's type and float32: dense, or laid out as the
 * panels of the block kernels. */
#include "backend/simd/attention.h"

#include <string.h>

#define TILE_BYTES (192 * 1024)

int64_t aac_simd_tile_rows(const aac_block_kernels *blocks, int64_t columns, int64_t longest)
{
    int64_t rows = TILE_BYTES / (int64_t)sizeof(float) / columns / blocks->rows * blocks->rows;
    int64_t most = aac_simd_round_up(longest, blocks->rows);
    return rows < blocks->rows ? blocks->rows : rows < most ? rows : most;
}

aac_simd_backward_sizes aac_simd_size_backward(const aac_op_desc *desc)
{
    const aac_block_kernels *blocks = aac_block_kernels_get();
    int64_t longest = desc->attention.longest;
    aac_simd_backward_sizes sizes = {
        .keys = aac_simd_round_up(longest, blocks->columns),
        .sums = aac_simd_round_up(longest, blocks->rows),
        .width = aac_simd_round_up(desc->attention.head_size, blocks->columns)};
    int64_t most = sizes.keys > sizes.sums ? sizes.keys : sizes.sums;
    sizes.scores = aac_simd_round_up(most, blocks->columns);
    sizes.rows = aac_simd_tile_rows(blocks, sizes.scores, longest);
    return sizes;
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

void aac_simd_lay_out_transposed(const aac_simd_plan *plan, aac_simd_rows rows, float *panels,
                                 float *row)
{
    int64_t size = plan->base.desc.attention.head_size, columns = plan->blocks->columns;
    for (int64_t first = 0; first < rows.count; first += columns, panels += columns * size) {
        int64_t count = rows.count - first < columns ? rows.count - first : columns;
        for (int64_t j = 0; j < count; j++) {
            aac_simd_load_rows(plan, rows.from, rows.at + (first + j) * rows.stride, 0, 1, row);
            for (int64_t d = 0; d < size; d++)
                panels[d * columns + j] = row[d];
        }
        for (int64_t d = 0; count < columns && d < size; d++)
            memset(panels + d * columns + count, 0, (size_t)(columns - count) * sizeof *panels);
    }
}

void aac_simd_lay_out_straight(const aac_simd_plan *plan, aac_simd_rows rows, float *panels,
                               float *row)
{
    int64_t size = plan->base.desc.attention.head_size, columns = plan->blocks->columns;
    for (int64_t i = 0; i < rows.count; i++) {
        aac_simd_load_rows(plan, rows.from, rows.at + i * rows.stride, 0, 1, row);
        for (int64_t d = 0; d < size; d += columns) {
            float *to = panels + d * rows.count + i * columns;
            int64_t count = size - d < columns ? size - d : columns;
            memcpy(to, row + d, (size_t)count * sizeof *to);
            memset(to + count, 0, (size_t)(columns - count) * sizeof *to);
        }
    }
}

void aac_simd_multiply_transposed(const aac_block_kernels *blocks, const float *left, int64_t rows,
                                  const float *panels, int64_t size, int64_t count, float *out,
                                  int64_t stride)
{
    for (int64_t j = 0; j < count; j += blocks->columns)
        for (int64_t i = 0; i < rows; i += blocks->rows)
            blocks->product(left + i * size, size, panels + j * size, size, false,
                            out + i * stride + j, stride);
}

void aac_simd_multiply_straight(const aac_block_kernels *blocks, const float *left, int64_t stride,
                                int64_t rows, aac_simd_panels panels, int64_t depth, float *out,
                                int64_t width)
{
    /* Rows of a panel that stay in the first-level cache, or in the second where that is fast
     * enough. */
    int64_t most = aac_kernels_isa() == AAC_ISA_AVX512 ? 2048 : 128;
    for (int64_t k = 0; k < depth; k += most)
        for (int64_t d = 0; d < width; d += blocks->columns)
            for (int64_t i = 0; i < rows; i += blocks->rows)
                blocks->product(left + i * stride + k, stride,
                                panels.data + d * panels.rows + k * blocks->columns,
                                depth - k < most ? depth - k : most, k > 0, out + i * width + d,
                                width);
}
