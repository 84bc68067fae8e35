/*
 * Attention. A task is some tiles of query rows of one (sequence, head): its keys and values are
 * laid out as panels for the block kernels; for each tile scores = q k^T, row softmax, y = p v, so
 * that the full score matrix never exists.
 */
#include "backend/simd/simd.h"

#include <math.h>
#include <string.h>

#define TILE_BYTES  (192 * 1024) /* of scores: they stay in the second level cache */
#define VALUE_DEPTH 128          /* rows of values whose panel stays in the first */

static int64_t round_up(int64_t count, int64_t unit)
{
    return (count + unit - 1) / unit * unit;
}

/* Of one thread's scratch, in floats. */
typedef struct tile_sizes {
    int64_t rows;          /* of a tile, whole blocks */
    int64_t scores, sizes; /* columns of scores, of y: whole blocks */
    int64_t keys_floats, values_floats;
} tile_sizes;

static tile_sizes size_tiles(const aac_op_desc *desc, const aac_block_kernels *blocks)
{
    int64_t longest = desc->attention.longest, size = desc->attention.head_size;
    tile_sizes sizes = {.scores = round_up(longest, blocks->columns),
                        .sizes = round_up(size, blocks->columns)};
    int64_t rows = TILE_BYTES / (int64_t)sizeof(float) / sizes.scores / blocks->rows * blocks->rows;
    int64_t most = round_up(longest, blocks->rows);
    sizes.rows = rows < blocks->rows ? blocks->rows : rows < most ? rows : most;
    sizes.keys_floats = sizes.scores * size;
    sizes.values_floats = longest * sizes.sizes;
    return sizes;
}

int64_t aac_simd_attention_floats(const aac_op_desc *desc)
{
    if (desc->attention.kind == AAC_ATTENTION_TREE)
        return aac_simd_tree_attention_floats(desc);
    tile_sizes sizes = size_tiles(desc, aac_block_kernels_get());
    return sizes.keys_floats + sizes.values_floats +
           sizes.rows * (sizes.scores + sizes.sizes + desc->attention.head_size);
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

/* One (sequence, head) and the scratch of the thread that computes it. */
typedef struct attention_head {
    const aac_simd_plan *plan;
    tile_sizes sizes;
    const void *x;
    void *y;
    int64_t length, first, index; /* rows; the first one's number; which head */
    float *keys, *values;         // (panels, head_size, columns), (panels, length, columns)
    float *q, *scores, *out;      // (rows, head_size), (rows, scores), (rows, sizes)
} attention_head;

/* Rows `first` and on of part 0, 1, 2 (q, k, v) as float32. */
static void load_part(const attention_head *head, int part, int64_t first, int64_t rows, float *to)
{
    const aac_op_desc *desc = &head->plan->base.desc;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    bool value = desc->attention.kind == AAC_ATTENTION_VALUE;
    int64_t stride = value ? width : 3 * width;
    int64_t at = (head->first + first) * stride + (value ? 0 : part * width) + head->index * size;
    aac_simd_load_rows(head->plan, head->x, at, stride, rows, to);
}

/* Blocks of `columns` keys, transposed; q's memory holds one block in between. */
static void lay_out_keys(const attention_head *head, int64_t columns)
{
    int64_t size = head->plan->base.desc.attention.head_size;
    float *to = head->keys;
    for (int64_t first = 0; first < head->length; first += columns, to += columns * size) {
        int64_t rows = head->length - first < columns ? head->length - first : columns;
        for (int64_t j = 0; j < rows; j++) {
            load_part(head, 1, first + j, 1, head->q);
            for (int64_t d = 0; d < size; d++)
                to[d * columns + j] = head->q[d];
        }
        for (int64_t d = 0; rows < columns && d < size; d++)
            memset(to + d * columns + rows, 0, (size_t)(columns - rows) * sizeof *to);
    }
}

static void lay_out_values(const attention_head *head, int64_t columns)
{
    int64_t size = head->plan->base.desc.attention.head_size, panel = head->length * columns;
    for (int64_t row = 0; row < head->length; row++) {
        load_part(head, 2, row, 1, head->q);
        for (int64_t d = 0; d < head->sizes.sizes; d += columns) {
            float *to = head->values + d / columns * panel + row * columns;
            int64_t count = size - d < columns ? size - d : columns;
            memcpy(to, head->q + d, (size_t)count * sizeof *to);
            memset(to + count, 0, (size_t)(columns - count) * sizeof *to);
        }
    }
}

/* scores = q k^T: rows of queries with `keys` keys, both in whole blocks. */
static void multiply_keys(const attention_head *head, int64_t rows, int64_t keys)
{
    const aac_block_kernels *blocks = head->plan->blocks;
    int64_t size = head->plan->base.desc.attention.head_size;
    for (int64_t j = 0; j < keys; j += blocks->columns)
        for (int64_t i = 0; i < rows; i += blocks->rows)
            blocks->product(head->q + i * size, size, head->keys + j * size, size, false,
                            head->scores + i * head->sizes.scores + j, head->sizes.scores);
}

/* out = p v over `keys` keys. */
static void multiply_values(const attention_head *head, int64_t rows, int64_t keys)
{
    const aac_block_kernels *blocks = head->plan->blocks;
    int64_t stride = head->sizes.scores, width = head->sizes.sizes;
    for (int64_t k = 0; k < keys; k += VALUE_DEPTH)
        for (int64_t d = 0; d < width; d += blocks->columns)
            for (int64_t i = 0; i < rows; i += blocks->rows)
                blocks->product(head->scores + i * stride + k, stride,
                                head->values + d * head->length + k * blocks->columns,
                                keys - k < VALUE_DEPTH ? keys - k : VALUE_DEPTH, k > 0,
                                head->out + i * width + d, width);
}

/* y = out / sum; q holds the inverse sums. */
static void store_tile(const attention_head *head, int64_t first, int64_t rows)
{
    const aac_op_desc *desc = &head->plan->base.desc;
    const aac_kernels *kernels = head->plan->kernels;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    int64_t at = (head->first + first) * width + head->index * size;
    for (int64_t i = 0; i < rows; i++, at += width) {
        const float *out = head->out + i * head->sizes.sizes;
        if (desc->attention.type == AAC_BF16)
            kernels->scale_bf16(out, size, head->q[i], (uint16_t *)head->y + at);
        else
            kernels->scale_f32(out, size, head->q[i], (float *)head->y + at);
    }
}

static void attend_tile(const attention_head *head, int64_t first, int64_t rows)
{
    const aac_op_desc *desc = &head->plan->base.desc;
    const aac_kernels *kernels = head->plan->kernels;
    int64_t size = desc->attention.head_size;
    bool causal = desc->attention.kind == AAC_ATTENTION_CAUSAL;
    int64_t keys = causal ? first + rows : head->length;
    int64_t whole = round_up(rows, head->plan->blocks->rows);
    float scale = 1.0f / sqrtf((float)size);
    load_part(head, 0, first, rows, head->q);
    memset(head->q + rows * size, 0, (size_t)((whole - rows) * size) * sizeof *head->q);
    multiply_keys(head, whole, keys);
    for (int64_t i = 0; i < rows; i++) {
        float *row = head->scores + i * head->sizes.scores;
        int64_t visible = causal ? first + i + 1 : keys;
        float inverse = kernels->softmax_f32(row, visible, scale);
        memset(row + visible, 0, (size_t)(keys - visible) * sizeof *row);
        head->q[i] = inverse; /* q was multiplied, its memory is free */
    }
    multiply_values(head, whole, keys);
    store_tile(head, first, rows);
}

static void attend_part(const aac_simd_plan *plan, const aac_op_args *args, int64_t sequence,
                        int64_t index, int64_t part, int64_t parts, float *memory)
{
    const aac_op_desc *desc = &plan->base.desc;
    attention_head head = {
        .plan = plan, .sizes = size_tiles(desc, plan->blocks), .x = args->x, .y = args->y};
    int64_t rows = head.sizes.rows;
    head.index = index;
    head.first = args->offsets[sequence];
    head.length = args->offsets[sequence + 1] - head.first;
    head.keys = memory;
    head.values = head.keys + head.sizes.keys_floats;
    head.scores = head.values + head.sizes.values_floats;
    head.out = head.scores + rows * head.sizes.scores;
    head.q = head.out + rows * head.sizes.sizes;
    int64_t tiles = (head.length + rows - 1) / rows;
    int64_t tile = tiles * part / parts, end = tiles * (part + 1) / parts;
    if (tile == end)
        return;
    lay_out_keys(&head, plan->blocks->columns);
    lay_out_values(&head, plan->blocks->columns);
    for (; tile < end; tile++)
        attend_tile(&head, tile * rows,
                    head.length - tile * rows < rows ? head.length - tile * rows : rows);
}

aaclip_status aac_simd_attention(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    if (base->desc.attention.kind == AAC_ATTENTION_TREE) {
        aac_simd_tree_attention(plan, args, scratch);
        return AACLIP_OK;
    }
    /* Four tasks for each thread even out; a head in parts has its panels laid out for each. */
    int64_t heads = base->desc.attention.heads, pairs = args->sequences * heads;
    int64_t parts = pairs ? (4 * base->threads + pairs - 1) / pairs : 1;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t pair = 0; pair < pairs; pair++)
        for (int64_t part = 0; part < parts; part++)
            attend_part(plan, args, pair / heads, pair % heads, part, parts,
                        aac_simd_buffer(plan, scratch));
    return AACLIP_OK;
}
