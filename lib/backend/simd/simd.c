/* Everything but matrix products, on vectorised row kernels. Other backends fall back to it. */
#include <math.h>
#include <string.h>

#include "backend/simd/kernels.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

typedef struct simd_plan {
    aac_plan base;
    const aac_kernels *kernels;
    size_t thread_scratch; /* bytes of scratch for each thread */
} simd_plan;

static size_t round_up(size_t size)
{
    return (size + AAC_ALIGNMENT - 1) / AAC_ALIGNMENT * AAC_ALIGNMENT;
}

static float *thread_buffer(const simd_plan *plan, void *scratch)
{
    return (float *)((char *)scratch + (size_t)aac_threads_index() * plan->thread_scratch);
}

static aaclip_status run_layer_norm(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const simd_plan *plan = (const simd_plan *)base;
    int64_t columns = base->desc.layer_norm.columns;
    const float *x = args->x;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < base->desc.layer_norm.rows; i++) {
        bool narrow = base->desc.layer_norm.y == AAC_BF16;
        float *y = narrow ? thread_buffer(plan, scratch) : (float *)args->y + i * columns;
        plan->kernels->layer_norm(x + i * columns, columns, base->desc.layer_norm.epsilon,
                                  args->gain, args->bias, y);
        if (narrow)
            plan->kernels->scale_bf16(y, columns, 1.0f, (uint16_t *)args->y + i * columns);
    }
    return AACLIP_OK;
}

static aaclip_status run_blend(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const simd_plan *plan = (const simd_plan *)base;
    int64_t columns = base->desc.blend.columns;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < base->desc.blend.rows; i++)
        plan->kernels->blend(args->a + i * columns, columns, base->desc.blend.weight,
                             (float *)args->y + i * columns);
    return AACLIP_OK;
}

static float inverse_norm(const aac_kernels *kernels, const float *x, int64_t columns)
{
    float norm = sqrtf(kernels->dot(x, x, columns));
    return 1.0f / (norm > 1e-12f ? norm : 1e-12f);
}

/* Each thread sums its own columns over all rows, so the order of the sum is fixed. */
static void mean_of_rows(const simd_plan *plan, const aac_op_args *args, const float *inverse)
{
    int64_t rows = plan->base.desc.normalize.rows, columns = plan->base.desc.normalize.columns;
    const int64_t slice = 256;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < columns; first += slice) {
        int64_t count = columns - first < slice ? columns - first : slice;
        float *y = (float *)args->y + first;
        memset(y, 0, (size_t)count * sizeof *y);
        for (int64_t i = 0; i < rows; i++)
            plan->kernels->add_scaled((const float *)args->x + i * columns + first, count,
                                      inverse[i] / (float)rows, y);
    }
}

static aaclip_status run_normalize(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const simd_plan *plan = (const simd_plan *)base;
    int64_t rows = base->desc.normalize.rows, columns = base->desc.normalize.columns;
    bool mean = base->desc.normalize.mean;
    const float *x = args->x;
    float *inverse = scratch; /* used with mean only */
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        const float *row = x + i * columns;
        float factor = inverse_norm(plan->kernels, row, columns);
        if (mean)
            inverse[i] = factor;
        else
            plan->kernels->scale_f32(row, columns, factor, (float *)args->y + i * columns);
    }
    if (mean)
        mean_of_rows(plan, args, inverse);
    return AACLIP_OK;
}

static aaclip_status run_convert(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const simd_plan *plan = (const simd_plan *)base;
    int64_t columns = base->desc.convert.columns;
    bool widen = base->desc.convert.x == AAC_BF16;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < base->desc.convert.rows; i++) {
        if (widen)
            plan->kernels->widen_bf16((const uint16_t *)args->x + i * columns, columns,
                                      (float *)args->y + i * columns);
        else
            plan->kernels->scale_bf16((const float *)args->x + i * columns, columns, 1.0f,
                                      (uint16_t *)args->y + i * columns);
    }
    return AACLIP_OK;
}

/* One patch as a row of float32: channel by channel, each patch x patch. */
static void gather_patch(const aac_op_desc *desc, float table[3][256], const uint8_t *rgb,
                         int64_t index, float *row)
{
    int64_t size = desc->patches.size, patch = desc->patches.patch, grid = size / patch;
    const uint8_t *corner = rgb + 3 * (index / grid * patch * size + index % grid * patch);
    for (int channel = 0; channel < 3; channel++)
        for (int64_t v = 0; v < patch; v++)
            for (int64_t u = 0; u < patch; u++)
                *row++ = table[channel][corner[3 * (v * size + u) + channel]];
}

static aaclip_status run_patches(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const simd_plan *plan = (const simd_plan *)base;
    const aac_op_desc *desc = &base->desc;
    int64_t grid = desc->patches.size / desc->patches.patch;
    int64_t columns = 3 * desc->patches.patch * desc->patches.patch;
    float table[3][256];
    for (int channel = 0; channel < 3; channel++)
        for (int byte = 0; byte < 256; byte++)
            table[channel][byte] = ((float)byte / 255.0f - desc->patches.mean[channel]) /
                                   desc->patches.deviation[channel];
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < grid * grid; i++) {
        bool narrow = desc->patches.y == AAC_BF16;
        float *row = narrow ? thread_buffer(plan, scratch) : (float *)args->y + i * columns;
        gather_patch(desc, table, args->x, i, row);
        if (narrow)
            plan->kernels->scale_bf16(row, columns, 1.0f, (uint16_t *)args->y + i * columns);
    }
    return AACLIP_OK;
}

static aaclip_status run_similarity(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const simd_plan *plan = (const simd_plan *)base;
    int64_t columns = base->desc.similarity.columns;
    const float *x = args->x;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < base->desc.similarity.rows; i++)
        for (int64_t j = 0; j < 2; j++)
            ((float *)args->y)[2 * i + j] =
                base->desc.similarity.scale *
                plan->kernels->dot(x + i * columns, args->a + j * columns, columns);
    return AACLIP_OK;
}

static int64_t reflect(int64_t i, int64_t count)
{
    i = i < 0 ? -i : i;
    return i >= count ? 2 * (count - 1) - i : i;
}

static void gaussian(float *weights, int64_t kernel, float sigma)
{
    double sum = 0;
    for (int64_t i = 0; i < kernel; i++) {
        double distance = (double)(i - kernel / 2);
        sum += exp(-distance * distance / (2.0 * sigma * sigma));
    }
    for (int64_t i = 0; i < kernel; i++) {
        double distance = (double)(i - kernel / 2);
        weights[i] = (float)(exp(-distance * distance / (2.0 * sigma * sigma)) / sum);
    }
}

/* One pass along rows (step 1) or columns (step grid) of the grid. */
static void blur_pass(const float *x, float *y, int64_t grid, int64_t along, int64_t across,
                      const float *weights, int64_t kernel)
{
    for (int64_t line = 0; line < grid; line++)
        for (int64_t i = 0; i < grid; i++) {
            float sum = 0;
            for (int64_t k = 0; k < kernel; k++)
                sum += weights[k] * x[line * across + reflect(i + k - kernel / 2, grid) * along];
            y[line * across + i * along] = sum;
        }
}

static void upsample(const float *grid_map, int64_t grid, float *y, int64_t size)
{
    double step = size > 1 ? (double)(grid - 1) / (double)(size - 1) : 0.0;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < size; row++) {
        double v = (double)row * step;
        int64_t top = (int64_t)v, bottom = top + 1 < grid ? top + 1 : top;
        float below = (float)(v - (double)top);
        for (int64_t column = 0; column < size; column++) {
            double u = (double)column * step;
            int64_t left = (int64_t)u, right = left + 1 < grid ? left + 1 : left;
            float beside = (float)(u - (double)left);
            float upper =
                grid_map[top * grid + left] * (1 - beside) + grid_map[top * grid + right] * beside;
            float lower = grid_map[bottom * grid + left] * (1 - beside) +
                          grid_map[bottom * grid + right] * beside;
            y[row * size + column] = upper * (1 - below) + lower * below;
        }
    }
}

/* Blur and interpolation are linear, so the levels are summed on the grid first. */
static aaclip_status run_anomaly_map(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    int64_t grid = base->desc.anomaly_map.grid, cells = grid * grid;
    int64_t kernel = base->desc.anomaly_map.kernel;
    float *sum = scratch, *blurred = sum + cells, *weights = blurred + cells;
    const float *x = args->x;
    memset(sum, 0, (size_t)cells * sizeof *sum);
    for (int64_t level = 0; level < base->desc.anomaly_map.levels; level++, x += 2 * cells)
        for (int64_t i = 0; i < cells; i++)
            sum[i] += (x[2 * i + 1] + 1.0f - x[2 * i]) / 2.0f;
    gaussian(weights, kernel, base->desc.anomaly_map.sigma);
    blur_pass(sum, blurred, grid, 1, grid, weights, kernel);
    blur_pass(blurred, sum, grid, grid, 1, weights, kernel);
    upsample(sum, grid, args->y, base->desc.anomaly_map.size);
    return AACLIP_OK;
}

/* Attention over one (sequence, head): rows of float32 q, k, v gathered side by side. */
typedef struct short_head {
    float *q, *k, *v, *scores; // (longest, head_size) each, (longest)
} short_head;

static void gather_head(const simd_plan *plan, const aac_op_args *args, int64_t first, int64_t rows,
                        int64_t head, const short_head *buffer)
{
    int64_t size = plan->base.desc.attention.head_size;
    int64_t width = plan->base.desc.attention.heads * size;
    float *parts[3] = {buffer->q, buffer->k, buffer->v};
    for (int64_t part = 0; part < 3; part++)
        for (int64_t i = 0; i < rows; i++) {
            int64_t at = ((first + i) * 3 + part) * width + head * size;
            float *out = parts[part] + i * size;
            if (plan->base.desc.attention.type == AAC_BF16)
                plan->kernels->widen_bf16((const uint16_t *)args->x + at, size, out);
            else
                memcpy(out, (const float *)args->x + at, (size_t)size * sizeof *out);
        }
}

static void attend_row(const simd_plan *plan, const short_head *buffer, int64_t row, int64_t rows,
                       float *out)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t size = desc->attention.head_size;
    bool value = desc->attention.kind == AAC_ATTENTION_VALUE;
    const float *q = (value ? buffer->v : buffer->q) + row * size;
    const float *k = value ? buffer->v : buffer->k;
    int64_t visible = desc->attention.kind == AAC_ATTENTION_CAUSAL ? row + 1 : rows;
    for (int64_t j = 0; j < visible; j++)
        buffer->scores[j] = plan->kernels->dot(q, k + j * size, size);
    float inverse = plan->kernels->softmax_f32(buffer->scores, visible, 1.0f / sqrtf((float)size));
    memset(out, 0, (size_t)size * sizeof *out);
    for (int64_t j = 0; j < visible; j++)
        plan->kernels->add_scaled(buffer->v + j * size, size, inverse * buffer->scores[j], out);
}

static aaclip_status run_attention(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const simd_plan *plan = (const simd_plan *)base;
    int64_t heads = base->desc.attention.heads, size = base->desc.attention.head_size;
    int64_t part = base->desc.attention.longest * size;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t sequence = 0; sequence < args->sequences; sequence++)
        for (int64_t head = 0; head < heads; head++) {
            float *memory = thread_buffer(plan, scratch);
            short_head buffer = {memory, memory + part, memory + 2 * part, memory + 3 * part};
            float *out = buffer.scores + base->desc.attention.longest;
            int64_t first = args->offsets[sequence], rows = args->offsets[sequence + 1] - first;
            gather_head(plan, args, first, rows, head, &buffer);
            for (int64_t row = 0; row < rows; row++) {
                int64_t at = (first + row) * heads * size + head * size;
                attend_row(plan, &buffer, row, rows, out);
                if (base->desc.attention.type == AAC_BF16)
                    plan->kernels->scale_bf16(out, size, 1.0f, (uint16_t *)args->y + at);
                else
                    memcpy((float *)args->y + at, out, (size_t)size * sizeof *out);
            }
        }
    return AACLIP_OK;
}

static bool available(void)
{
    return true;
}

static bool supports(const aac_op_desc *desc)
{
    return desc->op != AAC_OP_LINEAR;
}

/* Floats of scratch: for each thread, and once for all. */
static void scratch_sizes(const aac_op_desc *desc, int64_t *per_thread, int64_t *common)
{
    *per_thread = *common = 0;
    switch (desc->op) {
    case AAC_OP_LAYER_NORM:
        *per_thread = desc->layer_norm.columns;
        break;
    case AAC_OP_PATCHES:
        *per_thread = 3 * desc->patches.patch * desc->patches.patch;
        break;
    case AAC_OP_ATTENTION:
        *per_thread = desc->attention.longest * (3 * desc->attention.head_size + 1) +
                      desc->attention.head_size;
        break;
    case AAC_OP_NORMALIZE:
        *common = desc->normalize.rows;
        break;
    case AAC_OP_ANOMALY_MAP:
        *common = 2 * desc->anomaly_map.grid * desc->anomaly_map.grid + desc->anomaly_map.kernel;
        break;
    default:
        break;
    }
}

static aaclip_status plan_op(aac_plan **out, const aac_op_desc *desc, int threads)
{
    static aaclip_status (*const runs[AAC_OP_COUNT])(const aac_plan *, const aac_op_args *,
                                                     void *) = {
        [AAC_OP_LAYER_NORM] = run_layer_norm, [AAC_OP_ATTENTION] = run_attention,
        [AAC_OP_BLEND] = run_blend,           [AAC_OP_NORMALIZE] = run_normalize,
        [AAC_OP_CONVERT] = run_convert,       [AAC_OP_PATCHES] = run_patches,
        [AAC_OP_SIMILARITY] = run_similarity, [AAC_OP_ANOMALY_MAP] = run_anomaly_map,
    };
    *out = NULL;
    simd_plan *plan = aac_calloc(1, sizeof *plan);
    if (!plan)
        return aac_error_memory();
    int64_t per_thread, common;
    scratch_sizes(desc, &per_thread, &common);
    plan->kernels = aac_kernels_get();
    plan->thread_scratch = round_up((size_t)per_thread * sizeof(float));
    plan->base = (aac_plan){
        .backend = &aac_backend_simd,
        .desc = *desc,
        .scratch =
            plan->thread_scratch * (size_t)threads + round_up((size_t)common * sizeof(float)),
        .threads = threads,
        .run = runs[desc->op],
    };
    *out = &plan->base;
    return AACLIP_OK;
}

static void plan_free(aac_plan *plan)
{
    aac_free(plan);
}

static aaclip_status pack(aac_weight **weight, const aac_tensor *parts,
                          const aac_tensor *bias_parts, int part_count, aac_dtype type, int threads)
{
    (void)parts, (void)bias_parts, (void)part_count, (void)type, (void)threads;
    *weight = NULL;
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "backend 'simd' has no linear operation");
}

static void weight_free(aac_weight *weight)
{
    (void)weight; /* pack never makes one */
}

const aac_backend aac_backend_simd = {
    .name = "simd",
    .available = available,
    .supports = supports,
    .plan = plan_op,
    .plan_free = plan_free,
    .pack = pack,
    .weight_free = weight_free,
};
