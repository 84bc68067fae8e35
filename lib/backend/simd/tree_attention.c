/* Attention over a tree of rows: each sees itself and its ancestors. */
#include "backend/simd/attention.h"

#include <math.h>
#include <string.h>

/* Rows that a thread takes at once: neighbours share most of their path. */
#define TASK_ROWS 64

/* The path from a root to a row: dense float32 k and v of one head, and room for the row. */
typedef struct tree_path {
    int64_t count;
    int32_t *rows;            // (longest): the path's rows, from the root
    float *k, *v;             // (longest, head_size)
    float *weights;           // (longest)
    float *q, *y;             // (head_size)
    float *dweights;          // (longest); this and the following: backward only
    float *dy, *dq;           // (head_size)
    float *key_sums, *v_sums; // (rows, head_size): gradients of k and v
} tree_path;

enum { PARTS = 10 };

/* In the order of tree_path, from k on. */
static void part_sizes(const aac_op_desc *desc, int64_t sizes[PARTS])
{
    int64_t size = desc->attention.head_size, longest = desc->attention.longest;
    int64_t back = desc->op == AAC_OP_ATTENTION_BACKWARD, sums = desc->attention.rows * size;
    const int64_t all[PARTS] = {longest * size, longest * size, longest,     size,
                                size,           back * longest, back * size, back * size,
                                back * sums,    back * sums};
    memcpy(sizes, all, sizeof all);
}

static tree_path lay_out(const aac_op_desc *desc, float *memory)
{
    tree_path path = {.rows = (int32_t *)(void *)memory};
    float **const parts[PARTS] = {&path.k,        &path.v,        &path.weights, &path.q,
                                  &path.y,        &path.dweights, &path.dy,      &path.dq,
                                  &path.key_sums, &path.v_sums};
    int64_t sizes[PARTS];
    part_sizes(desc, sizes);
    memory += desc->attention.longest;
    for (int i = 0; i < PARTS; memory += sizes[i++])
        *parts[i] = memory;
    return path;
}

int64_t aac_simd_tree_attention_floats(const aac_op_desc *desc)
{
    int64_t sizes[PARTS], total = desc->attention.longest;
    part_sizes(desc, sizes);
    for (int i = 0; i < PARTS; i++)
        total += sizes[i];
    return total;
}

/* Makes the path that of `row`, keeping the part it shares with the previous one. */
static void follow(const aac_simd_plan *plan, const aac_op_args *args, int64_t head, int64_t row,
                   tree_path *path)
{
    int64_t size = plan->base.desc.attention.head_size;
    int64_t width = plan->base.desc.attention.heads * size, depth = 0;
    for (int64_t at = row; at >= 0; at = args->parents[at])
        depth++;
    int64_t i = depth - 1;
    for (int64_t at = row; at >= 0 && !(i < path->count && path->rows[i] == at);
         at = args->parents[at], i--) {
        int64_t key = (at * 3 + 1) * width + head * size;
        aac_simd_load_rows(plan, args->x, key, 0, 1, path->k + i * size);
        aac_simd_load_rows(plan, args->x, key + width, 0, 1, path->v + i * size);
        path->rows[i] = (int32_t)at;
    }
    path->count = depth;
}

/* out = softmax(q . k / sqrt(head_size)) v over `visible` dense rows of k and v. */
static void attend(const aac_simd_plan *plan, const float *q, const float *k, const float *v,
                   int64_t visible, float *scores, float *out)
{
    int64_t size = plan->base.desc.attention.head_size;
    for (int64_t j = 0; j < visible; j++)
        scores[j] = plan->kernels->dot(q, k + j * size, size);
    float inverse = plan->kernels->softmax_f32(scores, visible, 1.0f / sqrtf((float)size));
    memset(out, 0, (size_t)size * sizeof *out);
    for (int64_t j = 0; j < visible; j++)
        plan->kernels->add_scaled(v + j * size, size, inverse * scores[j], out);
}

static void attend_rows(const aac_simd_plan *plan, const aac_op_args *args, int64_t head,
                        int64_t first, int64_t end, tree_path *path)
{
    int64_t size = plan->base.desc.attention.head_size;
    int64_t width = plan->base.desc.attention.heads * size;
    for (int64_t row = first; row < end; row++) {
        follow(plan, args, head, row, path);
        aac_simd_load_rows(plan, args->x, row * 3 * width + head * size, 0, 1, path->q);
        attend(plan, path->q, path->k, path->v, path->count, path->weights, path->y);
        aac_simd_store_rows(plan, path->y, 1, args->y, row * width + head * size, 0);
    }
}

void aac_simd_tree_attention(const aac_simd_plan *plan, const aac_op_args *args, void *scratch)
{
    int64_t rows = plan->base.desc.attention.rows, heads = plan->base.desc.attention.heads;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t head = 0; head < heads; head++)
        for (int64_t first = 0; first < rows; first += TASK_ROWS) {
            tree_path path = lay_out(&plan->base.desc, aac_simd_buffer(plan, scratch));
            int64_t end = first + TASK_ROWS < rows ? first + TASK_ROWS : rows;
            attend_rows(plan, args, head, first, end, &path);
        }
}

/* weights = probabilities, dweights = gradient of q . k; y is the forward run's result. */
static void attend_backward(const aac_simd_plan *plan, const float *q, const float *k,
                            const float *v, const float *y, const float *dy, int64_t visible,
                            float *weights, float *dweights)
{
    const aac_kernels *kernels = plan->kernels;
    int64_t size = plan->base.desc.attention.head_size;
    float scale = 1.0f / sqrtf((float)size);
    for (int64_t j = 0; j < visible; j++) {
        weights[j] = kernels->dot(q, k + j * size, size);
        dweights[j] = kernels->dot(dy, v + j * size, size);
    }
    float inverse = kernels->softmax_f32(weights, visible, scale);
    float expected = kernels->dot(y, dy, size);
    kernels->softmax_backward(weights, dweights, visible, inverse, scale, expected, dweights);
}

/* ds = p (dp - y . dy) with dp = dy . v; dq = ds k; for the rows of the path dk += ds q, dv += p
 * dy. */
static void backward_row(const aac_simd_plan *plan, const aac_op_args *args, int64_t head,
                         int64_t row, tree_path *path)
{
    const aac_kernels *kernels = plan->kernels;
    int64_t size = plan->base.desc.attention.head_size;
    int64_t width = plan->base.desc.attention.heads * size;
    int64_t wide = row * 3 * width + head * size, narrow = row * width + head * size;
    follow(plan, args, head, row, path);
    aac_simd_load_rows(plan, args->x, wide, 0, 1, path->q);
    aac_simd_load_rows(plan, args->out, narrow, 0, 1, path->y);
    aac_simd_load_rows(plan, args->dy, narrow, 0, 1, path->dy);
    attend_backward(plan, path->q, path->k, path->v, path->y, path->dy, path->count, path->weights,
                    path->dweights);
    memset(path->dq, 0, (size_t)size * sizeof *path->dq);
    for (int64_t i = 0; i < path->count; i++) {
        int64_t at = path->rows[i] * size;
        kernels->add_scaled(path->k + i * size, size, path->dweights[i], path->dq);
        kernels->add_scaled(path->q, size, path->dweights[i], path->key_sums + at);
        kernels->add_scaled(path->dy, size, path->weights[i], path->v_sums + at);
    }
    aac_simd_store_rows(plan, path->dq, 1, args->y, wide, 0);
}

void aac_simd_tree_attention_backward(const aac_simd_plan *plan, const aac_op_args *args,
                                      void *scratch)
{
    int64_t rows = plan->base.desc.attention.rows, size = plan->base.desc.attention.head_size;
    int64_t width = plan->base.desc.attention.heads * size;
#pragma omp parallel for schedule(dynamic)
    for (int64_t head = 0; head < plan->base.desc.attention.heads; head++) {
        tree_path path = lay_out(&plan->base.desc, aac_simd_buffer(plan, scratch));
        memset(path.key_sums, 0, (size_t)(2 * rows * size) * sizeof *path.key_sums);
        for (int64_t row = 0; row < rows; row++)
            backward_row(plan, args, head, row, &path);
        int64_t at = width + head * size;
        aac_simd_store_rows(plan, path.key_sums, rows, args->y, at, 3 * width);
        aac_simd_store_rows(plan, path.v_sums, rows, args->y, at + width, 3 * width);
    }
}
