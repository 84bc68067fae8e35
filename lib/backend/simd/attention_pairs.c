/* Attention's products in bfloat16, two values per unit of the narrow kernels. */
#include "backend/simd/attention.h"

#include <string.h>

bool aac_simd_attends_in_pairs(const aac_op_desc *desc)
{
    return aac_narrow_kernels_get() && desc->attention.type == AAC_BF16 &&
           desc->attention.head_size % 2 == 0 &&
           (desc->attention.kind == AAC_ATTENTION_FULL ||
            desc->attention.kind == AAC_ATTENTION_VALUE);
}

void aac_simd_load_pairs(const aac_simd_plan *plan, aac_simd_rows rows, uint32_t *to)
{
    size_t size = (size_t)plan->base.desc.attention.head_size;
    const uint16_t *from = (const uint16_t *)rows.from + rows.at;
    for (int64_t i = 0; i < rows.count; i++, from += rows.stride, to += size / 2)
        memcpy(to, from, size * sizeof *from);
    int64_t padding = aac_simd_round_up(rows.count, plan->blocks->rows) - rows.count;
    memset(to, 0, (size_t)padding * size * sizeof *from);
}

void aac_simd_lay_out_pairs_transposed(const aac_simd_plan *plan, aac_simd_rows rows,
                                       uint32_t *panels)
{
    int64_t units = plan->base.desc.attention.head_size / 2, columns = plan->blocks->columns;
    for (int64_t first = 0; first < rows.count; first += columns, panels += columns * units) {
        int64_t count = rows.count - first < columns ? rows.count - first : columns;
        const uint16_t *from = (const uint16_t *)rows.from + rows.at + first * rows.stride;
        if (count < columns)
            memset(panels, 0, (size_t)(columns * units) * sizeof *panels);
        for (int64_t j = 0; j < count; j++, from += rows.stride)
            for (int64_t d = 0; d < units; d++)
                memcpy(&panels[d * columns + j], from + 2 * d, sizeof *panels);
    }
}

/* units (columns): `low` and `high` (columns) interleaved. */
static void join(const uint16_t *low, const uint16_t *high, int64_t count, uint32_t *units)
{
#pragma omp simd
    for (int64_t j = 0; j < count; j++)
        units[j] = (uint32_t)low[j] | (uint32_t)high[j] << 16;
}

void aac_simd_lay_out_pairs_straight(const aac_simd_plan *plan, aac_simd_rows rows,
                                     uint32_t *panels)
{
    int64_t size = plan->base.desc.attention.head_size, columns = plan->blocks->columns;
    int64_t units = aac_simd_pairs(rows.count);
    static const uint16_t zeros[AAC_BLOCK_MOST];
    for (int64_t i = 0; i < rows.count; i += 2) {
        const uint16_t *low = (const uint16_t *)rows.from + rows.at + i * rows.stride;
        for (int64_t d = 0; d < size; d += columns) {
            uint32_t *to = panels + d * units + i / 2 * columns;
            int64_t count = size - d < columns ? size - d : columns;
            join(low + d, i + 1 < rows.count ? low + rows.stride + d : zeros, count, to);
            memset(to + count, 0, (size_t)(columns - count) * sizeof *to);
        }
    }
}

void aac_simd_multiply_pairs_transposed(const aac_simd_plan *plan, const uint32_t *left,
                                        int64_t rows, const uint32_t *panels, int64_t count,
                                        float *out, int64_t stride)
{
    const aac_block_kernels *blocks = plan->blocks;
    int64_t units = plan->base.desc.attention.head_size / 2;
    for (int64_t j = 0; j < count; j += blocks->columns)
        for (int64_t i = 0; i < rows; i += blocks->rows)
            plan->narrow->multiply_bf16(left + i * units, units, panels + j * units, units,
                                        out + i * stride + j, stride);
}

void aac_simd_multiply_pairs_straight(const aac_simd_plan *plan, const uint32_t *left,
                                      int64_t stride, int64_t rows, const uint32_t *panels,
                                      int64_t units, float *out, int64_t width)
{
    const aac_block_kernels *blocks = plan->blocks;
    for (int64_t d = 0; d < width; d += blocks->columns)
        for (int64_t i = 0; i < rows; i += blocks->rows)
            plan->narrow->multiply_bf16(left + i * stride, stride, panels + d * units, units,
                                        out + i * width + d, width);
}
