/*
 * Attention. A task is some tiles of query rows of one (sequence, head): keys and values are laid
 * out as panels for the block kernels; for each tile scores = q k^T, row softmax, y = p v, so that
 * the full score matrix never exists.
 */
#include "backend/simd/attention.h"

#include <math.h>
#include <string.h>

/* Sizes within a thread's scratch, in floats or other 4-byte units. */
typedef struct tile_sizes {
    bool pairs;            /* bfloat16 is multiplied as it is, not as float32 */
    int64_t rows;          /* of a tile, whole blocks */
    int64_t scores, sizes; /* columns of scores and of y, in whole blocks */
    int64_t keys, values;
    int64_t weights; /* with pairs: a tile's probabilities; else these replace the scores */
} tile_sizes;

static tile_sizes size_tiles(const aac_op_desc *desc, const aac_block_kernels *blocks)
{
    int64_t longest = desc->attention.longest, size = desc->attention.head_size;
    tile_sizes sizes = {.pairs = aac_simd_attends_in_pairs(desc),
                        .scores = aac_simd_round_up(longest, blocks->columns),
                        .sizes = aac_simd_round_up(size, blocks->columns)};
    sizes.rows = aac_simd_tile_rows(blocks, sizes.scores, longest);
    sizes.keys = sizes.scores * (sizes.pairs ? size / 2 : size);
    sizes.values = (sizes.pairs ? aac_simd_pairs(longest) : longest) * sizes.sizes;
    sizes.weights = sizes.pairs ? sizes.rows * sizes.scores / 2 : 0;
    return sizes;
}

int64_t aac_simd_attention_floats(const aac_op_desc *desc)
{
    if (desc->attention.kind == AAC_ATTENTION_TREE)
        return aac_simd_tree_attention_floats(desc);
    tile_sizes sizes = size_tiles(desc, aac_block_kernels_get());
    return sizes.keys + sizes.values + sizes.weights +
           sizes.rows * (sizes.scores + sizes.sizes + desc->attention.head_size);
}

/* One (sequence, head) and the scratch of the thread that computes it. */
typedef struct attention_head {
    aac_simd_head place;
    tile_sizes sizes;
    const void *x;
    void *y;
    float *keys, *values;    // (panels, head_size, columns), (panels, length, columns)
    float *q, *scores, *out; // (rows, head_size), (rows, scores), (rows, sizes)
    uint32_t *weights;       // (rows, scores / 2) pairs
} attention_head;

/* y = out / sum; q holds the inverse sums. */
static void store_tile(const attention_head *head, int64_t first, int64_t rows)
{
    const aac_op_desc *desc = &head->place.plan->base.desc;
    const aac_kernels *kernels = head->place.plan->kernels;
    const aac_simd_rows y = aac_simd_narrow_rows(&head->place, head->y);
    int64_t size = desc->attention.head_size, at = y.at + first * y.stride;
    for (int64_t i = 0; i < rows; i++, at += y.stride) {
        const float *out = head->out + i * head->sizes.sizes;
        if (desc->attention.type == AAC_BF16)
            kernels->scale_bf16(out, size, head->q[i], (uint16_t *)head->y + at);
        else
            kernels->scale_f32(out, size, head->q[i], (float *)head->y + at);
    }
}

/* scores = q k^T; returns the largest number of keys that a row sees. */
static int64_t score_tile(const attention_head *head, int64_t first, int64_t rows, int64_t whole)
{
    const aac_op_desc *desc = &head->place.plan->base.desc;
    int64_t size = desc->attention.head_size;
    int64_t keys = desc->attention.kind == AAC_ATTENTION_CAUSAL ? first + rows : head->place.length;
    const aac_simd_rows q =
        aac_simd_part_of(aac_simd_wide_rows(&head->place, head->x, 0), first, rows);
    if (head->sizes.pairs) {
        aac_simd_load_pairs(head->place.plan, q, (uint32_t *)head->q);
        aac_simd_multiply_pairs_transposed(head->place.plan, (uint32_t *)head->q, whole,
                                           (uint32_t *)head->keys, keys, head->scores,
                                           head->sizes.scores);
    } else {
        aac_simd_load_rows(head->place.plan, q.from, q.at, q.stride, rows, head->q);
        memset(head->q + rows * size, 0, (size_t)((whole - rows) * size) * sizeof *head->q);
        aac_simd_multiply_transposed(head->place.plan->blocks, head->q, whole, head->keys, size,
                                     keys, head->scores, head->sizes.scores);
    }
    return keys;
}

static void attend_tile(const attention_head *head, int64_t first, int64_t rows)
{
    const aac_kernels *kernels = head->place.plan->kernels;
    int64_t whole = aac_simd_round_up(rows, head->place.plan->blocks->rows);
    int64_t keys = score_tile(head, first, rows, whole), stride = head->sizes.scores;
    bool causal = head->place.plan->base.desc.attention.kind == AAC_ATTENTION_CAUSAL;
    float scale = 1.0f / sqrtf((float)head->place.plan->base.desc.attention.head_size);
    for (int64_t i = 0; i < rows; i++) { /* q has been used, its memory is free */
        float *row = head->scores + i * stride;
        if (head->sizes.pairs) {
            uint16_t *weights = (uint16_t *)head->weights + i * stride;
            head->q[i] = head->place.plan->narrow->softmax_bf16(row, keys, scale, weights);
            if (keys % 2)
                weights[keys] = 0;
            continue;
        }
        int64_t visible = causal ? first + i + 1 : keys;
        head->q[i] = kernels->softmax_f32(row, visible, scale);
        memset(row + visible, 0, (size_t)(keys - visible) * sizeof *row);
    }
    if (head->sizes.pairs)
        aac_simd_multiply_pairs_straight(head->place.plan, head->weights, stride / 2, whole,
                                         (uint32_t *)head->values, aac_simd_pairs(keys), head->out,
                                         head->sizes.sizes);
    else
        aac_simd_multiply_straight(head->place.plan->blocks, head->scores, stride, whole,
                                   (aac_simd_panels){head->values, head->place.length}, keys,
                                   head->out, head->sizes.sizes);
    store_tile(head, first, rows);
}

static void lay_out_head(const attention_head *head)
{
    const aac_simd_rows keys = aac_simd_wide_rows(&head->place, head->x, 1),
                        values = aac_simd_wide_rows(&head->place, head->x, 2);
    if (head->sizes.pairs) {
        aac_simd_lay_out_pairs_transposed(head->place.plan, keys, (uint32_t *)head->keys);
        aac_simd_lay_out_pairs_straight(head->place.plan, values, (uint32_t *)head->values);
    } else {
        aac_simd_lay_out_transposed(head->place.plan, keys, head->keys, head->q);
        aac_simd_lay_out_straight(head->place.plan, values, head->values, head->q);
    }
}

static void attend_part(const aac_simd_head *place, const aac_op_args *args, int64_t part,
                        int64_t parts, float *memory)
{
    const aac_simd_plan *plan = place->plan;
    attention_head head = {.place = *place,
                           .sizes = size_tiles(&plan->base.desc, plan->blocks),
                           .x = args->x,
                           .y = args->y};
    int64_t rows = head.sizes.rows;
    head.keys = memory;
    head.values = head.keys + head.sizes.keys;
    head.scores = head.values + head.sizes.values;
    head.out = head.scores + rows * head.sizes.scores;
    head.weights = (uint32_t *)(head.out + rows * head.sizes.sizes);
    head.q = (float *)(head.weights + head.sizes.weights);
    int64_t tiles = (place->length + rows - 1) / rows;
    int64_t tile = tiles * part / parts, end = tiles * (part + 1) / parts;
    if (tile == end || aac_cancel_is_raised(place->watch))
        return;
    lay_out_head(&head);
    for (; tile < end && !aac_cancel_is_raised(place->watch); tile++)
        attend_tile(&head, tile * rows,
                    place->length - tile * rows < rows ? place->length - tile * rows : rows);
}

aaclip_status aac_simd_attention(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    if (base->desc.attention.kind == AAC_ATTENTION_TREE) {
        aac_simd_tree_attention(plan, args, scratch);
        return AACLIP_OK;
    }
    /* Four tasks per thread balance the load; a head that is split lays out its panels once per
     * part. */
    int64_t heads = base->desc.attention.heads, pairs = args->sequences * heads;
    int64_t parts = pairs ? (4 * base->threads + pairs - 1) / pairs : 1;
    aac_cancel_watch watch;
    aac_cancel_share(&watch);
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t pair = 0; pair < pairs; pair++)
        for (int64_t part = 0; part < parts; part++) {
            const aac_simd_head place =
                aac_simd_head_of(plan, &watch, args, pair / heads, pair % heads);
            attend_part(&place, args, part, parts, aac_simd_buffer(plan, scratch));
        }
    return aac_cancel_end(&watch);
}
