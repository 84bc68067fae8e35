/*
 * Backward of attention in bfloat16 on the narrow kernels. As in attention_backward.c, except that
 * probabilities and gradients of scores are rounded to bfloat16, and kept for a group of tiles, two
 * query rows per unit: dk and dv are updated a group at a time, so that their blocks are read and
 * written less often.
 */
#include "backend/simd/attention.h"

#include <math.h>
#include <string.h>

#define GROUP 3 /* tiles; they have an even number of rows, as blocks have */
_Static_assert(AAC_BLOCK_ROWS % 2 == 0, "a unit holds two rows of a tile");

/* One (sequence, head) and the scratch of the thread that computes it. */
typedef struct pairs_head {
    aac_simd_head place;
    const aac_op_args *args;
    aac_simd_backward_sizes sizes;
    float *dk, *dv;                     // (sums, width)
    float *scores, *dscores;            // (rows, scores)
    float *dq;                          // (rows, width)
    float *y_row, *dy_row;              // (head_size)
    uint32_t *keys_transposed, *values; // panels (keys, head_size / 2), transposed
    uint32_t *keys;                     // panels (pairs of keys, width), straight
    uint32_t *q, *dy;                   // (rows, head_size / 2)
    uint32_t *ds;                       // (rows, scores / 2)
    uint32_t *p_pairs, *ds_pairs;       // of a group (pairs of rows, scores)
    uint32_t *q_panels, *dy_panels;     // of a group, straight (pairs of rows, width)
} pairs_head;

/* Lays out the parts one after another; without memory it only counts their units. */
static int64_t lay_out(pairs_head *head, const aac_op_desc *desc, uint32_t *memory)
{
    const aac_simd_backward_sizes *sizes = &head->sizes;
    int64_t size = desc->attention.head_size, total = 0;
    int64_t group = GROUP * sizes->rows / 2;
    const struct {
        void *part;
        int64_t units;
    } parts[] = {
        {&head->dk, sizes->sums * sizes->width},
        {&head->dv, sizes->sums * sizes->width},
        {&head->scores, sizes->rows * sizes->scores},
        {&head->dscores, sizes->rows * sizes->scores},
        {&head->dq, sizes->rows * sizes->width},
        {&head->y_row, size},
        {&head->dy_row, size},
        {&head->keys_transposed, sizes->keys * (size / 2)},
        {&head->values, sizes->keys * (size / 2)},
        {&head->keys, aac_simd_pairs(desc->attention.longest) * sizes->width},
        {&head->q, sizes->rows * (size / 2)},
        {&head->dy, sizes->rows * (size / 2)},
        {&head->ds, sizes->rows * sizes->scores / 2},
        {&head->p_pairs, group * sizes->scores},
        {&head->ds_pairs, group * sizes->scores},
        {&head->q_panels, group * sizes->width},
        {&head->dy_panels, group * sizes->width},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; total += parts[i++].units) {
        uint32_t *at = memory ? memory + total : NULL;
        memcpy(parts[i].part, &at, sizeof at);
    }
    return total;
}

int64_t aac_simd_attention_backward_pairs_floats(const aac_op_desc *desc)
{
    pairs_head head = {.sizes = aac_simd_size_backward(desc)};
    return lay_out(&head, desc, NULL);
}

/* y . dy */
static float expected_of(const pairs_head *head, int64_t row)
{
    const aac_simd_plan *plan = head->place.plan;
    int64_t size = plan->base.desc.attention.head_size;
    const aac_simd_rows y = aac_simd_narrow_rows(&head->place, head->args->out),
                        dy = aac_simd_narrow_rows(&head->place, head->args->dy);
    aac_simd_load_rows(plan, y.from, y.at + row * y.stride, 0, 1, head->y_row);
    aac_simd_load_rows(plan, dy.from, dy.at + row * dy.stride, 0, 1, head->dy_row);
    return plan->kernels->dot(head->y_row, head->dy_row, size);
}

/* Scores become probabilities, dscores their gradients: pair `pair` of the group, which is rows i
 * and i + 1 of the tile and `row` and row + 1 of the sequence. */
static void softmax_pair(const pairs_head *head, int64_t i, bool both, int64_t row, int64_t pair)
{
    const aac_simd_plan *plan = head->place.plan;
    int64_t stride = head->sizes.scores, keys = head->place.length;
    float scale = 1.0f / sqrtf((float)plan->base.desc.attention.head_size);
    aac_softmax_pair rows = {.count = keys, .whole = stride, .scale = scale, .both = both};
    for (int second = 0; second <= both; second++) {
        rows.e[second] = head->scores + (i + second) * stride;
        rows.de[second] = head->dscores + (i + second) * stride;
        rows.inverse[second] =
            plan->kernels->softmax_f32(head->scores + (i + second) * stride, keys, scale);
        rows.expected[second] = expected_of(head, row + second);
    }
    rows.ds[0] = (uint16_t *)head->ds + i * stride;
    rows.ds[1] = rows.ds[0] + stride;
    rows.p_pairs = head->p_pairs + pair * stride;
    rows.ds_pairs = head->ds_pairs + pair * stride;
    plan->narrow->softmax_backward_bf16(&rows);
}

/* `from` has rows of `width` values. */
static void store(const pairs_head *head, const float *from, aac_simd_rows rows)
{
    for (int64_t i = 0; i < rows.count; i++)
        aac_simd_store_rows(head->place.plan, from + i * head->sizes.width, 1, head->args->y,
                            rows.at + i * rows.stride, 0);
}

/* Rows [first, first + rows) of the sequence; the group begins at row `group`. */
static void backward_tile(const pairs_head *head, int64_t group, int64_t first, int64_t rows)
{
    const aac_simd_plan *plan = head->place.plan;
    int64_t keys = head->place.length, stride = head->sizes.scores;
    int64_t whole = aac_simd_round_up(rows, plan->blocks->rows);
    const aac_simd_head *place = &head->place;
    aac_simd_load_pairs(
        plan, aac_simd_part_of(aac_simd_wide_rows(place, head->args->x, 0), first, rows), head->q);
    aac_simd_load_pairs(
        plan, aac_simd_part_of(aac_simd_narrow_rows(place, head->args->dy), first, rows), head->dy);
    aac_simd_multiply_pairs_transposed(plan, head->q, whole, head->keys_transposed, keys,
                                       head->scores, stride);
    aac_simd_multiply_pairs_transposed(plan, head->dy, whole, head->values, keys, head->dscores,
                                       stride);
    for (int64_t i = 0; i < rows; i += 2)
        softmax_pair(head, i, i + 1 < rows, first + i, (first - group + i) / 2);
    int64_t written = aac_simd_round_up(rows, 2);
    memset((uint16_t *)head->ds + written * stride, 0,
           (size_t)((whole - written) * stride) * sizeof(uint16_t));
    aac_simd_multiply_pairs_straight(plan, head->ds, stride / 2, whole, head->keys,
                                     aac_simd_pairs(keys), head->dq, head->sizes.width);
    store(head, head->dq,
          aac_simd_part_of(aac_simd_wide_rows(place, head->args->y, 0), first, rows));
}

/* out (keys, width) += left (pairs, keys)^T panels (pairs, width) */
static void add_transposed(const pairs_head *head, const uint32_t *left, const uint32_t *panels,
                           int64_t pairs, float *out)
{
    const aac_simd_plan *plan = head->place.plan;
    int64_t width = head->sizes.width;
    for (int64_t j = 0; j < head->place.length; j += plan->blocks->rows)
        for (int64_t d = 0; d < width; d += plan->blocks->columns)
            plan->narrow->add_transposed_bf16(left + j, head->sizes.scores, panels + d * pairs,
                                              pairs, out + j * width + d, width);
}

static void backward_group(const pairs_head *head, int64_t group, int64_t rows)
{
    const aac_simd_plan *plan = head->place.plan;
    const aac_simd_head *place = &head->place;
    for (int64_t i = 0; i < rows; i += head->sizes.rows)
        backward_tile(head, group, group + i,
                      rows - i < head->sizes.rows ? rows - i : head->sizes.rows);
    aac_simd_lay_out_pairs_straight(
        plan, aac_simd_part_of(aac_simd_wide_rows(place, head->args->x, 0), group, rows),
        head->q_panels);
    aac_simd_lay_out_pairs_straight(
        plan, aac_simd_part_of(aac_simd_narrow_rows(place, head->args->dy), group, rows),
        head->dy_panels);
    add_transposed(head, head->ds_pairs, head->q_panels, aac_simd_pairs(rows), head->dk);
    add_transposed(head, head->p_pairs, head->dy_panels, aac_simd_pairs(rows), head->dv);
}

void aac_simd_attention_backward_pairs(const aac_simd_head *place, const aac_op_args *args,
                                       float *memory)
{
    const aac_simd_plan *plan = place->plan;
    pairs_head head = {
        .place = *place, .args = args, .sizes = aac_simd_size_backward(&plan->base.desc)};
    lay_out(&head, &plan->base.desc, (uint32_t *)memory);
    const aac_simd_rows k = aac_simd_wide_rows(place, args->x, 1),
                        v = aac_simd_wide_rows(place, args->x, 2);
    aac_simd_lay_out_pairs_transposed(plan, k, head.keys_transposed);
    aac_simd_lay_out_pairs_transposed(plan, v, head.values);
    aac_simd_lay_out_pairs_straight(plan, k, head.keys);
    size_t sums = (size_t)(head.sizes.sums * head.sizes.width) * sizeof(float);
    memset(head.dk, 0, sums);
    memset(head.dv, 0, sums);
    int64_t most = GROUP * head.sizes.rows;
    for (int64_t first = 0; first < place->length && !aac_cancel_is_raised(place->watch);
         first += most)
        backward_group(&head, first, place->length - first < most ? place->length - first : most);
    store(&head, head.dk, aac_simd_wide_rows(place, args->y, 1));
    store(&head, head.dv, aac_simd_wide_rows(place, args->y, 2));
}
