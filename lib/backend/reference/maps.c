/* From bytes to patches, and from patch similarities to the anomaly map. */
#include <math.h>

#include "backend/reference/reference.h"

aaclip_status aac_reference_patches(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_op_desc *desc = &plan->desc;
    const uint8_t *rgb = args->x;
    int64_t size = desc->patches.size, patch = desc->patches.patch, at = 0;
    for (int64_t top = 0; top < size; top += patch)
        for (int64_t left = 0; left < size; left += patch)
            for (int64_t channel = 0; channel < 3; channel++)
                for (int64_t v = top; v < top + patch; v++)
                    for (int64_t u = left; u < left + patch; u++) {
                        double byte = rgb[3 * (v * size + u) + channel];
                        double value = (byte / 255 - (double)desc->patches.mean[channel]) /
                                       (double)desc->patches.deviation[channel];
                        aac_reference_set(args->y, desc->patches.y, at++, value);
                    }
    return AACLIP_OK;
}

aaclip_status aac_reference_similarity(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    int64_t columns = plan->desc.similarity.columns;
    for (int64_t row = 0; row < plan->desc.similarity.rows; row++)
        for (int64_t side = 0; side < 2; side++) {
            double sum = 0;
            for (int64_t i = 0; i < columns; i++)
                sum += (double)((const float *)args->x)[row * columns + i] *
                       (double)args->a[side * columns + i];
            ((float *)args->y)[2 * row + side] = (float)((double)plan->desc.similarity.scale * sum);
        }
    return AACLIP_OK;
}

static int64_t reflect(int64_t i, int64_t count)
{
    if (i < 0)
        return -i;
    return i >= count ? 2 * (count - 1) - i : i;
}

static double gaussian(int64_t distance, double sigma)
{
    return exp(-(double)(distance * distance) / (2 * sigma * sigma));
}

/* Blurs along one axis; `step` is 1 along rows and the grid's size along columns. */
static void blur(const double *x, double *y, const aac_op_desc *desc, int64_t step)
{
    int64_t grid = desc->anomaly_map.grid, half = desc->anomaly_map.kernel / 2;
    double sigma = (double)desc->anomaly_map.sigma;
    for (int64_t i = 0; i < grid * grid; i++) {
        int64_t place = i / step % grid, line = i - place * step;
        double sum = 0, weights = 0;
        for (int64_t offset = -half; offset <= half; offset++) {
            double weight = gaussian(offset, sigma);
            sum += weight * x[line + reflect(place + offset, grid) * step];
            weights += weight;
        }
        y[i] = sum / weights;
    }
}

static double interpolate(const double *x, int64_t grid, double v, double u)
{
    int64_t top = (int64_t)v, left = (int64_t)u;
    int64_t bottom = top + 1 < grid ? top + 1 : top, right = left + 1 < grid ? left + 1 : left;
    double down = v - (double)top, across = u - (double)left;
    return (1 - down) * ((1 - across) * x[top * grid + left] + across * x[top * grid + right]) +
           down * ((1 - across) * x[bottom * grid + left] + across * x[bottom * grid + right]);
}

static void add_level(const aac_op_desc *desc, const double *grid_map, float *y)
{
    int64_t grid = desc->anomaly_map.grid, size = desc->anomaly_map.size;
    double step = size > 1 ? (double)(grid - 1) / (double)(size - 1) : 0;
    for (int64_t row = 0; row < size; row++)
        for (int64_t column = 0; column < size; column++)
            y[row * size + column] +=
                (float)interpolate(grid_map, grid, (double)row * step, (double)column * step);
}

aaclip_status aac_reference_anomaly_map(const aac_plan *plan, const aac_op_args *args,
                                        void *scratch)
{
    const aac_op_desc *desc = &plan->desc;
    int64_t cells = desc->anomaly_map.grid * desc->anomaly_map.grid;
    double *map = scratch, *blurred = map + cells;
    const float *s = args->x;
    float *y = args->y;
    for (int64_t i = 0; i < desc->anomaly_map.size * desc->anomaly_map.size; i++)
        y[i] = 0;
    for (int64_t level = 0; level < desc->anomaly_map.levels; level++, s += 2 * cells) {
        for (int64_t i = 0; i < cells; i++)
            map[i] = ((double)s[2 * i + 1] + 1 - (double)s[2 * i]) / 2;
        blur(map, blurred, desc, 1);
        blur(blurred, map, desc, desc->anomaly_map.grid);
        add_level(desc, map, y);
    }
    return AACLIP_OK;
}
