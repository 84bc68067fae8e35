/*
 * Backward of attention. A task is one (sequence, head): for each tile of query rows the
 * probabilities are recomputed, so that the full score matrix never exists, and the gradients of k
 * and v accumulate over the tiles.
 */
#include "backend/simd/attention.h"

#include <math.h>
#include <string.h>

/* One (sequence, head) and the scratch of the thread that computes it. */
typedef struct backward_head {
    aac_simd_head place;
    const aac_op_args *args;
    aac_simd_backward_sizes sizes;
    float *keys_transposed, *values;  // panels (keys, head_size), transposed
    float *keys;                      // panels (longest, width), straight
    float *dk, *dv;                   // (sums, width)
    float *scores, *dscores;          // (rows, scores)
    float *q, *dy, *row;              // (rows, head_size), (rows, head_size), (head_size)
    float *q_panels, *dy_panels, *dq; // (rows, width)
} backward_head;

enum { PARTS = 13 };

/* Lays out the parts one after another; without memory it only counts their values. */
static int64_t lay_out(backward_head *head, const aac_op_desc *desc, float *memory)
{
    const aac_simd_backward_sizes *sizes = &head->sizes;
    int64_t size = desc->attention.head_size, panel = sizes->keys * size, total = 0;
    int64_t sums = sizes->sums * sizes->width, scores = sizes->rows * sizes->scores;
    int64_t rows = sizes->rows * size, wide = sizes->rows * sizes->width;
    float **const parts[PARTS] = {
        &head->keys_transposed, &head->values,    &head->keys, &head->dk, &head->dv,
        &head->scores,          &head->dscores,   &head->q,    &head->dy, &head->row,
        &head->q_panels,        &head->dy_panels, &head->dq};
    const int64_t values[PARTS] = {panel,  panel, desc->attention.longest * sizes->width,
                                   sums,   sums,  scores,
                                   scores, rows,  rows,
                                   size,   wide,  wide,
                                   wide};
    for (int i = 0; i < PARTS; total += values[i++])
        *parts[i] = memory ? memory + total : NULL;
    return total;
}

int64_t aac_simd_attention_backward_floats(const aac_op_desc *desc)
{
    if (desc->attention.kind == AAC_ATTENTION_TREE)
        return aac_simd_tree_attention_floats(desc);
    if (aac_simd_attends_in_pairs(desc))
        return aac_simd_attention_backward_pairs_floats(desc);
    backward_head head = {.sizes = aac_simd_size_backward(desc)};
    return lay_out(&head, desc, NULL);
}

/* Loads a tile's rows as left operands, dense and padded to `whole` rows, and as panels. */
static void load_tile(const backward_head *head, aac_simd_rows rows, int64_t whole, float *dense,
                      float *panels)
{
    int64_t size = head->place.plan->base.desc.attention.head_size;
    aac_simd_load_rows(head->place.plan, rows.from, rows.at, rows.stride, rows.count, dense);
    memset(dense + rows.count * size, 0, (size_t)((whole - rows.count) * size) * sizeof *dense);
    aac_simd_lay_out_straight(head->place.plan, rows, panels, head->row);
}

/* Scores become probabilities, dscores = p (dscores - y . dy) their gradients; zeros where a row
 * does not see. */
static void softmax_rows(const backward_head *head, aac_simd_rows y, int64_t first, int64_t keys)
{
    const aac_kernels *kernels = head->place.plan->kernels;
    const aac_op_desc *desc = &head->place.plan->base.desc;
    bool causal = desc->attention.kind == AAC_ATTENTION_CAUSAL;
    int64_t size = desc->attention.head_size, stride = head->sizes.scores;
    float scale = 1.0f / sqrtf((float)size);
    for (int64_t i = 0; i < y.count; i++) {
        float *e = head->scores + i * stride, *gradient = head->dscores + i * stride;
        int64_t visible = causal ? first + i + 1 : keys;
        aac_simd_load_rows(head->place.plan, y.from, y.at + i * y.stride, 0, 1, head->row);
        float expected = kernels->dot(head->row, head->dy + i * size, size);
        float inverse = kernels->softmax_f32(e, visible, scale);
        kernels->softmax_backward(e, gradient, visible, inverse, scale, expected, gradient);
        memset(e + visible, 0, (size_t)(stride - visible) * sizeof *e);
        memset(gradient + visible, 0, (size_t)(stride - visible) * sizeof *gradient);
    }
}

/* out (keys, width) += left (rows, keys)^T panels (rows, width) */
static void add_transposed(const backward_head *head, const float *left, const float *panels,
                           int64_t rows, int64_t keys, float *out)
{
    const aac_block_kernels *blocks = head->place.plan->blocks;
    int64_t width = head->sizes.width;
    for (int64_t j = 0; j < keys; j += blocks->rows)
        for (int64_t d = 0; d < width; d += blocks->columns)
            blocks->transposed_product(left + j, head->sizes.scores, panels + d * rows, rows, true,
                                       out + j * width + d, width);
}

/* `from` has rows of `width` values. */
static void store(const backward_head *head, const float *from, aac_simd_rows rows)
{
    for (int64_t i = 0; i < rows.count; i++)
        aac_simd_store_rows(head->place.plan, from + i * head->sizes.width, 1, head->args->y,
                            rows.at + i * rows.stride, 0);
}

static void backward_tile(const backward_head *head, int64_t first, int64_t rows)
{
    const aac_simd_plan *plan = head->place.plan;
    const aac_op_args *args = head->args;
    const aac_simd_backward_sizes *sizes = &head->sizes;
    int64_t size = plan->base.desc.attention.head_size;
    bool causal = plan->base.desc.attention.kind == AAC_ATTENTION_CAUSAL;
    int64_t keys = causal ? first + rows : head->place.length;
    int64_t whole = aac_simd_round_up(rows, plan->blocks->rows);
    load_tile(head, aac_simd_part_of(aac_simd_wide_rows(&head->place, args->x, 0), first, rows),
              whole, head->q, head->q_panels);
    load_tile(head, aac_simd_part_of(aac_simd_narrow_rows(&head->place, args->dy), first, rows),
              whole, head->dy, head->dy_panels);
    aac_simd_multiply_transposed(plan->blocks, head->q, whole, head->keys_transposed, size, keys,
                                 head->scores, sizes->scores);
    aac_simd_multiply_transposed(plan->blocks, head->dy, whole, head->values, size, keys,
                                 head->dscores, sizes->scores);
    softmax_rows(head, aac_simd_part_of(aac_simd_narrow_rows(&head->place, args->out), first, rows),
                 first, keys);
    aac_simd_multiply_straight(plan->blocks, head->dscores, sizes->scores, whole,
                               (aac_simd_panels){head->keys, head->place.length}, keys, head->dq,
                               sizes->width);
    store(head, head->dq,
          aac_simd_part_of(aac_simd_wide_rows(&head->place, args->y, 0), first, rows));
    add_transposed(head, head->dscores, head->q_panels, rows, keys, head->dk);
    add_transposed(head, head->scores, head->dy_panels, rows, keys, head->dv);
}

static void run_head(const aac_simd_head *place, const aac_op_args *args, float *memory)
{
    const aac_simd_plan *plan = place->plan;
    const aac_op_desc *desc = &plan->base.desc;
    backward_head head = {.place = *place, .args = args, .sizes = aac_simd_size_backward(desc)};
    lay_out(&head, desc, memory);
    aac_simd_lay_out_transposed(plan, aac_simd_wide_rows(&head.place, args->x, 1),
                                head.keys_transposed, head.row);
    aac_simd_lay_out_transposed(plan, aac_simd_wide_rows(&head.place, args->x, 2), head.values,
                                head.row);
    aac_simd_lay_out_straight(plan, aac_simd_wide_rows(&head.place, args->x, 1), head.keys,
                              head.row);
    size_t sums = (size_t)(head.sizes.sums * head.sizes.width) * sizeof(float);
    memset(head.dk, 0, sums);
    memset(head.dv, 0, sums);
    for (int64_t first = 0; first < place->length && !aac_cancel_is_raised(place->watch);
         first += head.sizes.rows)
        backward_tile(&head, first,
                      place->length - first < head.sizes.rows ? place->length - first
                                                              : head.sizes.rows);
    store(&head, head.dk, aac_simd_wide_rows(&head.place, args->y, 1));
    store(&head, head.dv, aac_simd_wide_rows(&head.place, args->y, 2));
}

aaclip_status aac_simd_attention_backward(const aac_plan *base, const aac_op_args *args,
                                          void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    if (base->desc.attention.kind == AAC_ATTENTION_TREE) {
        aac_simd_tree_attention_backward(plan, args, scratch);
        return AACLIP_OK;
    }
    bool pairs = aac_simd_attends_in_pairs(&base->desc);
    aac_cancel_watch watch;
    aac_cancel_share(&watch);
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t sequence = 0; sequence < args->sequences; sequence++)
        for (int64_t index = 0; index < base->desc.attention.heads; index++) {
            const aac_simd_head place = aac_simd_head_of(plan, &watch, args, sequence, index);
            float *memory = aac_simd_buffer(plan, scratch);
            (pairs ? aac_simd_attention_backward_pairs : run_head)(&place, args, memory);
        }
    return aac_cancel_end(&watch);
}
