/* Both ends of the vision path: bytes to patches, and similarities to the anomaly map. */
#include "backend/simd/simd.h"

#include <math.h>
#include <string.h>

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

aaclip_status aac_simd_patches(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
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
        float *row = narrow ? aac_simd_buffer(plan, scratch) : (float *)args->y + i * columns;
        gather_patch(desc, table, args->x, i, row);
        if (narrow)
            plan->kernels->scale_bf16(row, columns, 1.0f, (uint16_t *)args->y + i * columns);
    }
    return AACLIP_OK;
}

aaclip_status aac_simd_similarity(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
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
aaclip_status aac_simd_anomaly_map(const aac_plan *base, const aac_op_args *args, void *scratch)
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
