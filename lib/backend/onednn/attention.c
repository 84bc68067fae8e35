/*
 * Attention over long sequences. A task is a tile of query rows of one head: scores = q k^T, row
 * softmax, y = p v, all in the thread's own scratch, so that the full score matrix never exists.
 */
#include <math.h>
#include <string.h>

#include "backend/onednn/onednn.h"
#include "backend/simd/kernels.h"
#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

#define TILE_ROWS 256

/* The two products of one tile shape (rows x keys). */
typedef struct tile_products {
    aac_dnnl_layout q, keys, scores, p, v, y;
    dnnl_primitive_t scores_of, values_of;
    size_t scratch;
} tile_products;

/* Everything for sequences of one length: full tiles and the remainder. */
typedef struct attention_plan {
    aac_plan base;
    const aac_kernels *kernels;
    tile_products full, rest;
    size_t scores_bytes, p_bytes, y_bytes, thread_bytes;
} attention_plan;

static aaclip_status failure(const char *what)
{
    return aac_error(AACLIP_ERROR_BACKEND, "oneDNN: cannot %s attention", what);
}

static void free_products(tile_products *products)
{
    if (products->scores_of)
        dnnl_primitive_destroy(products->scores_of);
    if (products->values_of)
        dnnl_primitive_destroy(products->values_of);
    aac_dnnl_layout *layouts[] = {&products->q, &products->keys, &products->scores,
                                  &products->p, &products->v,    &products->y};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        aac_dnnl_layout_free(layouts[i]);
}

/* Of x: q, k and v, or v alone. */
static int64_t row_stride(const aac_op_desc *desc)
{
    int64_t width = desc->attention.heads * desc->attention.head_size;
    return desc->attention.kind == AAC_ATTENTION_VALUE ? width : 3 * width;
}

static bool make_products(tile_products *products, const aac_op_desc *desc, int64_t rows,
                          int64_t keys)
{
    int64_t size = desc->attention.head_size, stride = row_stride(desc);
    aac_dtype type = desc->attention.type;
    const aac_dnnl_matrix q = {rows, size, stride, 1, type}, k = {size, keys, 1, stride, type},
                          v = {keys, size, stride, 1, type}, p = {rows, keys, keys, 1, type},
                          scores = {rows, keys, keys, 1, AAC_F32},
                          y = {rows, size, size, 1, AAC_F32};
    const aac_dnnl_epilogue none = {0};
    size_t first = 0, second = 0;
    bool done =
        aac_dnnl_layout_plain(&products->q, &q) && aac_dnnl_layout_plain(&products->keys, &k) &&
        aac_dnnl_layout_plain(&products->scores, &scores) &&
        aac_dnnl_layout_plain(&products->p, &p) && aac_dnnl_layout_plain(&products->v, &v) &&
        aac_dnnl_layout_plain(&products->y, &y) &&
        aac_dnnl_matmul(&products->scores_of, &first, &products->q, &products->keys, NULL,
                        &products->scores, &none) &&
        aac_dnnl_matmul(&products->values_of, &second, &products->p, &products->v, NULL,
                        &products->y, &none);
    products->scratch = first > second ? first : second;
    return done;
}

/* Where one tile reads and writes. */
typedef struct query_tile {
    const char *q, *k, *v;
    char *y;
    int64_t rows, keys;
} query_tile;

static query_tile find_tile(const attention_plan *plan, const aac_op_args *args, int64_t sequence,
                            int64_t head, int64_t first_row)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    int64_t element = (int64_t)aac_dtype_size(desc->attention.type);
    int64_t start = args->offsets[sequence], keys = args->offsets[sequence + 1] - start;
    int64_t stride = row_stride(desc);
    const char *x = (const char *)args->x + (start * stride + head * size) * element;
    bool value = desc->attention.kind == AAC_ATTENTION_VALUE;
    int64_t rows = keys - first_row < TILE_ROWS ? keys - first_row : TILE_ROWS;
    return (query_tile){
        .q = x + first_row * stride * element,
        .k = value ? x : x + width * element,
        .v = value ? x : x + 2 * width * element,
        .y = (char *)args->y + ((start + first_row) * width + head * size) * element,
        .rows = rows,
        .keys = keys,
    };
}

static void store_rows(const attention_plan *plan, const query_tile *tile, const float *y,
                       const float *inverse)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    for (int64_t i = 0; i < tile->rows; i++) {
        if (desc->attention.type == AAC_BF16)
            plan->kernels->scale_bf16(y + i * size, size, inverse[i],
                                      (uint16_t *)tile->y + i * width);
        else
            plan->kernels->scale_f32(y + i * size, size, inverse[i], (float *)tile->y + i * width);
    }
}

static bool run_tile(const attention_plan *plan, const tile_products *products,
                     const query_tile *tile, char *scratch)
{
    bool narrow = plan->base.desc.attention.type == AAC_BF16;
    float scale = 1.0f / sqrtf((float)plan->base.desc.attention.head_size);
    float *scores = (float *)scratch, *y = (float *)(scratch + plan->scores_bytes + plan->p_bytes);
    void *p = narrow ? (void *)(scratch + plan->scores_bytes) : scores;
    char *rest = (char *)y + plan->y_bytes;
    float inverse[TILE_ROWS];
    const aac_dnnl_argument first[] = {{DNNL_ARG_SRC, &products->q, tile->q},
                                       {DNNL_ARG_WEIGHTS, &products->keys, tile->k},
                                       {DNNL_ARG_DST, &products->scores, scores}};
    const aac_dnnl_argument second[] = {{DNNL_ARG_SRC, &products->p, p},
                                        {DNNL_ARG_WEIGHTS, &products->v, tile->v},
                                        {DNNL_ARG_DST, &products->y, y}};
    if (!aac_dnnl_execute(products->scores_of, first, 3, products->scratch, rest))
        return false;
    for (int64_t i = 0; i < tile->rows; i++) {
        float *row = scores + i * tile->keys;
        inverse[i] = narrow ? plan->kernels->softmax_bf16(row, tile->keys, scale,
                                                          (uint16_t *)p + i * tile->keys)
                            : plan->kernels->softmax_f32(row, tile->keys, scale);
    }
    if (!aac_dnnl_execute(products->values_of, second, 3, products->scratch, rest))
        return false;
    store_rows(plan, tile, y, inverse);
    return true;
}

/* Every sequence has `longest` rows: images of one size. */
static aaclip_status run_attention(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const attention_plan *plan = (const attention_plan *)base;
    int64_t tiles = (base->desc.attention.longest + TILE_ROWS - 1) / TILE_ROWS;
    int64_t heads = base->desc.attention.heads;
    int failures = 0;
    aac_cancel_watch watch;
    aac_cancel_share(&watch);
#pragma omp parallel for schedule(dynamic) reduction(+ : failures)
    for (int64_t task = 0; task < args->sequences * heads * tiles; task++) {
        if (aac_cancel_is_raised(&watch))
            continue;
        query_tile tile = find_tile(plan, args, task / tiles / heads, task / tiles % heads,
                                    task % tiles * TILE_ROWS);
        char *memory = (char *)scratch + (size_t)aac_threads_index() * plan->thread_bytes;
        failures +=
            !run_tile(plan, tile.rows == TILE_ROWS ? &plan->full : &plan->rest, &tile, memory);
    }
    return failures ? failure("run") : aac_cancel_end(&watch);
}

static void size_scratch(attention_plan *plan)
{
    const aac_op_desc *desc = &plan->base.desc;
    size_t scores = (size_t)(TILE_ROWS * desc->attention.longest);
    size_t products =
        plan->full.scratch > plan->rest.scratch ? plan->full.scratch : plan->rest.scratch;
    plan->scores_bytes = aac_align(scores * sizeof(float));
    plan->p_bytes = desc->attention.type == AAC_BF16 ? aac_align(scores * sizeof(uint16_t)) : 0;
    plan->y_bytes = aac_align((size_t)(TILE_ROWS * desc->attention.head_size) * sizeof(float));
    plan->thread_bytes = plan->scores_bytes + plan->p_bytes + plan->y_bytes + aac_align(products);
    plan->base.scratch = plan->thread_bytes * (size_t)plan->base.threads;
}

aaclip_status aac_onednn_plan_attention(aac_plan **out, const aac_op_desc *desc, int threads)
{
    *out = NULL;
    attention_plan *plan = aac_calloc(1, sizeof *plan);
    if (!plan)
        return aac_error_memory();
    plan->base = (aac_plan){
        .backend = &aac_backend_onednn, .desc = *desc, .threads = threads, .run = run_attention};
    plan->kernels = aac_kernels_get();
    int64_t longest = desc->attention.longest, rest = longest % TILE_ROWS;
    aac_team team = aac_threads_set(1); /* each tile runs within one thread */
    bool done = (longest < TILE_ROWS || make_products(&plan->full, desc, TILE_ROWS, longest)) &&
                (rest == 0 || make_products(&plan->rest, desc, rest, longest));
    aac_threads_restore(team);
    if (!done) {
        aac_onednn_free_attention(&plan->base);
        return failure("plan");
    }
    size_scratch(plan);
    *out = &plan->base;
    return AACLIP_OK;
}

void aac_onednn_free_attention(aac_plan *base)
{
    attention_plan *plan = (attention_plan *)base;
    free_products(&plan->full);
    free_products(&plan->rest);
    aac_free(plan);
}
