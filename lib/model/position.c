#include "model/position.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

/* The weights of one output coordinate over a run of inputs. */
typedef struct filter {
    int64_t first, count;
    double *weights;
} filter;

static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

/* When shrinking, the kernel is widened by the scale, so that every input counts. */
static void make_filter(filter *out, int64_t index, int64_t size_in, int64_t size_out,
                        double *weights)
{
    double scale = (double)size_in / (double)size_out, widen = scale > 1 ? scale : 1;
    double centre = scale * ((double)index + 0.5), support = 2 * widen;
    int64_t first = (int64_t)(centre - support + 0.5), end = (int64_t)(centre + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > size_in ? size_in : end;
    double sum = 0;
    for (int64_t i = first; i < end; i++)
        sum += weights[i - first] = cubic(((double)i - centre + 0.5) / widen);
    for (int64_t i = first; i < end; i++)
        weights[i - first] /= sum;
    *out = (filter){first, end - first, weights};
}

static void resample_cell(const float *in, int64_t grid_in, const filter *vertical,
                          const filter *horizontal, float *out, int64_t width, double *sums)
{
    memset(sums, 0, (size_t)width * sizeof *sums);
    for (int64_t v = 0; v < vertical->count; v++)
        for (int64_t u = 0; u < horizontal->count; u++) {
            double weight = vertical->weights[v] * horizontal->weights[u];
            const float *cell =
                in + ((vertical->first + v) * grid_in + horizontal->first + u) * width;
            for (int64_t i = 0; i < width; i++)
                sums[i] += weight * (double)cell[i];
        }
    for (int64_t i = 0; i < width; i++)
        out[i] = (float)sums[i];
}

aaclip_status aac_position_resample(const float *in, int64_t grid_in, float *out, int64_t grid_out,
                                    int64_t width)
{
    if (grid_in == grid_out) {
        memcpy(out, in, (size_t)(grid_in * grid_in * width) * sizeof *out);
        return AACLIP_OK;
    }
    filter *filters = aac_alloc_array((size_t)grid_out, sizeof *filters);
    double *weights = aac_alloc_array((size_t)(grid_out * grid_in), sizeof *weights);
    double *sums = aac_alloc_array((size_t)width, sizeof *sums);
    bool memory = filters && weights && sums;
    for (int64_t i = 0; memory && i < grid_out; i++)
        make_filter(&filters[i], i, grid_in, grid_out, weights + i * grid_in);
    for (int64_t row = 0; memory && row < grid_out; row++)
        for (int64_t column = 0; column < grid_out; column++)
            resample_cell(in, grid_in, &filters[row], &filters[column],
                          out + (row * grid_out + column) * width, width, sums);
    aac_free(filters);
    aac_free(weights);
    aac_free(sums);
    return memory ? AACLIP_OK : aac_error_memory();
}
