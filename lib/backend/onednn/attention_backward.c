/*
 * Backward of attention over long sequences. A task is one head: for each tile of query rows the
 * probabilities are recomputed, so that the full score matrix never exists, and the gradients of k
 * and v accumulate over the tiles.
 *
 * bfloat16 is used only for products like those of the forward run: left operand not transposed,
 * dense float32 output. Those with a transposed left operand are float32: not every version of
 * oneDNN is fast at them in bfloat16.
 */
#include <math.h>
#include <string.h>

#include "backend/onednn/onednn.h"
#include "backend/simd/kernels.h"
#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

#define TILE_ROWS 128

typedef struct product {
    aac_dnnl_layout left, right, result;
    dnnl_primitive_t primitive;
    size_t scratch;
} product;

/* The products of one tile of query rows with all keys. */
enum {
    SCORES, // (rows, keys) = q k^T
    DP,     // (rows, keys) = dy v^T
    DQ,     // (rows, size) = ds k
    DK,     // (keys, size) += ds^T q
    DV,     // (keys, size) += p^T dy
    PRODUCTS
};

typedef struct tile_products {
    product of[PRODUCTS];
} tile_products;

typedef struct attention_plan {
    aac_plan base;
    const aac_kernels *kernels;
    tile_products full, rest;
    size_t scores_bytes, narrow_bytes, wide_bytes, sums_bytes, thread_bytes;
} attention_plan;

/* A thread's own memory. */
typedef struct head_memory {
    float *scores, *dp; // (TILE_ROWS, keys)
    void *ds;           // (TILE_ROWS, keys) in the operation's type; float32: dp
    float *wide;        // (TILE_ROWS, size) bfloat16 only: q, dy or dq as float32
    float *dk, *dv;     // (keys, size)
    void *scratch;
} head_memory;

static aaclip_status failure(const char *what)
{
    return aac_error(AACLIP_ERROR_BACKEND, "oneDNN: cannot %s attention backward", what);
}

static void free_products(tile_products *tile)
{
    for (int i = 0; i < PRODUCTS; i++) {
        if (tile->of[i].primitive)
            dnnl_primitive_destroy(tile->of[i].primitive);
        aac_dnnl_layout_free(&tile->of[i].left);
        aac_dnnl_layout_free(&tile->of[i].right);
        aac_dnnl_layout_free(&tile->of[i].result);
    }
}

static bool make_product(product *made, aac_dnnl_matrix left, aac_dnnl_matrix right,
                         aac_dnnl_matrix result, bool accumulate)
{
    const aac_dnnl_epilogue epilogue = {.accumulate = accumulate};
    return aac_dnnl_layout_plain(&made->left, &left) &&
           aac_dnnl_layout_plain(&made->right, &right) &&
           aac_dnnl_layout_plain(&made->result, &result) &&
           aac_dnnl_matmul(&made->primitive, &made->scratch, &made->left, &made->right, NULL,
                           &made->result, &epilogue);
}

static bool make_products(tile_products *tile, const aac_op_desc *desc, int64_t rows, int64_t keys)
{
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    aac_dtype type = desc->attention.type;
    bool narrow = type == AAC_BF16;
    const aac_dnnl_matrix q = {rows, size, 3 * width, 1, type},
                          k = {keys, size, 3 * width, 1, type},
                          kv_transposed = {size, keys, 1, 3 * width, type},
                          dy = {rows, size, width, 1, type},
                          scores = {rows, keys, keys, 1, AAC_F32}, ds = {rows, keys, keys, 1, type},
                          transposed = {keys, rows, 1, keys, AAC_F32},
                          wide = {rows, size, size, 1, AAC_F32},
                          sums = {keys, size, size, 1, AAC_F32};
    return make_product(&tile->of[SCORES], q, kv_transposed, scores, false) &&
           make_product(&tile->of[DP], dy, kv_transposed, scores, false) &&
           make_product(&tile->of[DQ], ds, k, narrow ? wide : q, false) &&
           make_product(&tile->of[DK], transposed, narrow ? wide : q, sums, true) &&
           make_product(&tile->of[DV], transposed, narrow ? wide : dy, sums, true);
}

static bool run_product(const product *made, const void *left, const void *right, void *result,
                        void *scratch)
{
    const aac_dnnl_argument arguments[] = {{DNNL_ARG_SRC, &made->left, left},
                                           {DNNL_ARG_WEIGHTS, &made->right, right},
                                           {DNNL_ARG_DST, &made->result, result}};
    return aac_dnnl_execute(made->primitive, arguments, 3, made->scratch, scratch);
}

static head_memory lay_out(const attention_plan *plan, char *base)
{
    head_memory memory = {.scores = (float *)base, .dp = (float *)(base + plan->scores_bytes)};
    base += 2 * plan->scores_bytes;
    memory.ds = plan->narrow_bytes ? (void *)base : memory.dp;
    base += plan->narrow_bytes;
    memory.wide = (float *)base;
    base += plan->wide_bytes;
    memory.dk = (float *)base;
    memory.dv = (float *)(base + plan->sums_bytes);
    memory.scratch = base + 2 * plan->sums_bytes;
    return memory;
}

/* Where one head of one sequence lies in x, in `out` and dy, and in y. */
typedef struct head_place {
    const char *q, *k, *v, *y, *dy;
    char *dq, *dk, *dv;
    int64_t keys;
} head_place;

static head_place find_head(const attention_plan *plan, const aac_op_args *args, int64_t sequence,
                            int64_t head)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    int64_t element = (int64_t)aac_dtype_size(desc->attention.type);
    int64_t start = args->offsets[sequence], part = width * element;
    int64_t wide = (start * 3 * width + head * size) * element;
    int64_t narrow = (start * width + head * size) * element;
    const char *x = (const char *)args->x + wide;
    char *y = (char *)args->y + wide;
    return (head_place){x,
                        x + part,
                        x + 2 * part,
                        (const char *)args->out + narrow,
                        (const char *)args->dy + narrow,
                        y,
                        y + part,
                        y + 2 * part,
                        args->offsets[sequence + 1] - start};
}

static float row_product(const attention_plan *plan, const char *a, const char *b)
{
    int64_t size = plan->base.desc.attention.head_size;
    if (plan->base.desc.attention.type == AAC_F32)
        return plan->kernels->dot((const float *)a, (const float *)b, size);
    float sum = 0;
    for (int64_t i = 0; i < size; i++)
        sum +=
            aac_bf16_to_f32(((const uint16_t *)a)[i]) * aac_bf16_to_f32(((const uint16_t *)b)[i]);
    return sum;
}

/* Scores become probabilities, dp the gradients of the scores. */
static void softmax_rows(const attention_plan *plan, const head_memory *memory, const char *y,
                         const char *dy, int64_t rows, int64_t keys)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t width = desc->attention.heads * desc->attention.head_size;
    int64_t stride = width * (int64_t)aac_dtype_size(desc->attention.type);
    float scale = 1.0f / sqrtf((float)desc->attention.head_size);
    for (int64_t i = 0; i < rows; i++) {
        float *e = memory->scores + i * keys, *dp = memory->dp + i * keys;
        float inverse = plan->kernels->softmax_f32(e, keys, scale);
        float expected = row_product(plan, y + i * stride, dy + i * stride);
        plan->kernels->softmax_backward(e, dp, keys, inverse, scale, expected, dp);
        if (plan->narrow_bytes)
            plan->kernels->scale_bf16(dp, keys, 1.0f, (uint16_t *)memory->ds + i * keys);
    }
}

static void widen_rows(const attention_plan *plan, const char *from, int64_t rows, int64_t stride,
                       float *to)
{
    int64_t size = plan->base.desc.attention.head_size;
    for (int64_t i = 0; i < rows; i++)
        plan->kernels->widen_bf16((const uint16_t *)(from + i * stride), size, to + i * size);
}

static void narrow_rows(const attention_plan *plan, const float *from, int64_t rows, int64_t stride,
                        char *to)
{
    int64_t size = plan->base.desc.attention.head_size;
    for (int64_t i = 0; i < rows; i++)
        plan->kernels->scale_bf16(from + i * size, size, 1.0f, (uint16_t *)(to + i * stride));
}

/* dq, and what the tile adds to dk and dv; rows of dy are `stride` bytes apart, those of q three
 * times as many. */
static bool run_gradients(const attention_plan *plan, const tile_products *tile,
                          const head_place *place, const char *q, const char *dy, char *dq,
                          int64_t rows, int64_t stride, const head_memory *memory)
{
    bool narrow = plan->narrow_bytes > 0;
    const void *q_rows = narrow ? memory->wide : (const void *)q;
    const void *dy_rows = narrow ? memory->wide : (const void *)dy;
    if (!run_product(&tile->of[DQ], memory->ds, place->k, narrow ? (void *)memory->wide : dq,
                     memory->scratch))
        return false;
    if (narrow) {
        narrow_rows(plan, memory->wide, rows, 3 * stride, dq);
        widen_rows(plan, q, rows, 3 * stride, memory->wide);
    }
    if (!run_product(&tile->of[DK], memory->dp, q_rows, memory->dk, memory->scratch))
        return false;
    if (narrow)
        widen_rows(plan, dy, rows, stride, memory->wide);
    return run_product(&tile->of[DV], memory->scores, dy_rows, memory->dv, memory->scratch);
}

static bool run_tile(const attention_plan *plan, const head_place *place, int64_t first,
                     const head_memory *memory)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t element = (int64_t)aac_dtype_size(desc->attention.type);
    int64_t stride = desc->attention.heads * desc->attention.head_size * element;
    int64_t rows = place->keys - first < TILE_ROWS ? place->keys - first : TILE_ROWS;
    const tile_products *tile = rows == TILE_ROWS ? &plan->full : &plan->rest;
    const char *q = place->q + first * 3 * stride, *dy = place->dy + first * stride;
    if (!run_product(&tile->of[SCORES], q, place->k, memory->scores, memory->scratch) ||
        !run_product(&tile->of[DP], dy, place->v, memory->dp, memory->scratch))
        return false;
    softmax_rows(plan, memory, place->y + first * stride, dy, rows, place->keys);
    return run_gradients(plan, tile, place, q, dy, place->dq + first * 3 * stride, rows, stride,
                         memory);
}

static void store_sums(const attention_plan *plan, const float *sums, char *out, int64_t keys)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t size = desc->attention.head_size, stride = 3 * desc->attention.heads * size;
    if (desc->attention.type == AAC_BF16) {
        narrow_rows(plan, sums, keys, stride * (int64_t)sizeof(uint16_t), out);
        return;
    }
    for (int64_t i = 0; i < keys; i++)
        memcpy((float *)out + i * stride, sums + i * size, (size_t)size * sizeof *sums);
}

static bool run_head(const attention_plan *plan, const aac_op_args *args, int64_t task, char *base,
                     aac_cancel_watch *watch)
{
    int64_t heads = plan->base.desc.attention.heads, size = plan->base.desc.attention.head_size;
    const head_memory memory = lay_out(plan, base);
    const head_place place = find_head(plan, args, task / heads, task % heads);
    size_t bytes = (size_t)(place.keys * size) * sizeof(float);
    memset(memory.dk, 0, bytes);
    memset(memory.dv, 0, bytes);
    for (int64_t first = 0; first < place.keys && !aac_cancel_is_raised(watch); first += TILE_ROWS)
        if (!run_tile(plan, &place, first, &memory))
            return false;
    store_sums(plan, memory.dk, place.dk, place.keys);
    store_sums(plan, memory.dv, place.dv, place.keys);
    return true;
}

/* Every sequence has `longest` rows: images of one size. */
static aaclip_status run_backward(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const attention_plan *plan = (const attention_plan *)base;
    int failures = 0;
    aac_cancel_watch watch;
    aac_cancel_share(&watch);
#pragma omp parallel for schedule(dynamic) reduction(+ : failures)
    for (int64_t task = 0; task < args->sequences * base->desc.attention.heads; task++)
        failures +=
            !run_head(plan, args, task,
                      (char *)scratch + (size_t)aac_threads_index() * plan->thread_bytes, &watch);
    return failures ? failure("run") : aac_cancel_end(&watch);
}

static size_t largest_scratch(const tile_products *tile)
{
    size_t largest = 0;
    for (int i = 0; i < PRODUCTS; i++)
        largest = tile->of[i].scratch > largest ? tile->of[i].scratch : largest;
    return largest;
}

static void size_scratch(attention_plan *plan)
{
    const aac_op_desc *desc = &plan->base.desc;
    size_t scores = (size_t)(TILE_ROWS * desc->attention.longest);
    size_t full = largest_scratch(&plan->full), rest = largest_scratch(&plan->rest);
    bool narrow = desc->attention.type == AAC_BF16;
    plan->scores_bytes = aac_align(scores * sizeof(float));
    plan->narrow_bytes = narrow ? aac_align(scores * sizeof(uint16_t)) : 0;
    plan->wide_bytes =
        narrow ? aac_align((size_t)(TILE_ROWS * desc->attention.head_size) * sizeof(float)) : 0;
    plan->sums_bytes =
        aac_align((size_t)(desc->attention.longest * desc->attention.head_size) * sizeof(float));
    plan->thread_bytes = 2 * (plan->scores_bytes + plan->sums_bytes) + plan->narrow_bytes +
                         plan->wide_bytes + aac_align(full > rest ? full : rest);
    plan->base.scratch = plan->thread_bytes * (size_t)plan->base.threads;
}

aaclip_status aac_onednn_plan_attention_backward(aac_plan **out, const aac_op_desc *desc,
                                                 int threads)
{
    *out = NULL;
    attention_plan *plan = aac_calloc(1, sizeof *plan);
    if (!plan)
        return aac_error_memory();
    plan->base = (aac_plan){
        .backend = &aac_backend_onednn, .desc = *desc, .threads = threads, .run = run_backward};
    plan->kernels = aac_kernels_get();
    int64_t longest = desc->attention.longest, rest = longest % TILE_ROWS;
    aac_team team = aac_threads_set(1); /* each head runs within one thread */
    bool done = (longest < TILE_ROWS || make_products(&plan->full, desc, TILE_ROWS, longest)) &&
                (rest == 0 || make_products(&plan->rest, desc, rest, longest));
    aac_threads_restore(team);
    if (!done) {
        aac_onednn_free_attention_backward(&plan->base);
        return failure("plan");
    }
    size_scratch(plan);
    *out = &plan->base;
    return AACLIP_OK;
}

void aac_onednn_free_attention_backward(aac_plan *base)
{
    attention_plan *plan = (attention_plan *)base;
    free_products(&plan->full);
    free_products(&plan->rest);
    aac_free(plan);
}
