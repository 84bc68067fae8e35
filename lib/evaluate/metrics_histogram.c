#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "evaluate/metrics_types.h"

#define MANTISSA_BITS  23
#define LEAST_EXPONENT (-126) /* of a normal float */

static int64_t half_down(int64_t index)
{
    return (index - (index & 1)) / 2;
}

static void move_bin(aac_bin *to, aac_bin *from)
{
    const aac_bin moved = *from;
    *from = (aac_bin){0};
    to->normal += moved.normal;
    to->abnormal += moved.abnormal;
    to->overlap += moved.overlap;
}

/* Makes bins twice as wide; they begin at multiples of their width, so none is split. */
static void coarsen(aac_histogram *histogram)
{
    const int64_t first = half_down(histogram->first);
    for (uint32_t i = 0; i < histogram->used; i++)
        move_bin(&histogram->bins[half_down(histogram->first + i) - first], &histogram->bins[i]);
    if (histogram->used)
        histogram->used = (uint32_t)(half_down(histogram->first + histogram->used - 1) - first) + 1;
    histogram->first = first;
    histogram->exponent++;
}

/* Widens the part in use so that it begins with bin `first` and reaches `last`. */
static void extend(aac_histogram *histogram, int64_t first, int64_t last)
{
    if (histogram->used) {
        const size_t shift = (size_t)(histogram->first - first);
        memmove(histogram->bins + shift, histogram->bins, histogram->used * sizeof(aac_bin));
        memset(histogram->bins, 0,
               (shift < histogram->used ? shift : histogram->used) * sizeof(aac_bin));
    }
    histogram->first = first;
    histogram->used = (uint32_t)(last - first) + 1;
}

/* Floats of this size are at least 2^finest apart. */
static int finest_exponent(float least, float largest)
{
    const float size = fmaxf(fabsf(least), fabsf(largest));
    const int exponent = size > 0 ? ilogbf(size) : LEAST_EXPONENT;
    return (exponent > LEAST_EXPONENT ? exponent : LEAST_EXPONENT) - MANTISSA_BITS;
}

/* In double, which holds every index exactly: indices may be huge until the width is found. */
static void fit(aac_histogram *histogram, float least, float largest)
{
    if (!histogram->used)
        histogram->exponent = finest_exponent(least, largest);
    double first = floor(ldexp((double)least, -histogram->exponent));
    double last = floor(ldexp((double)largest, -histogram->exponent));
    if (histogram->used) {
        first = fmin(first, (double)histogram->first);
        last = fmax(last, (double)(histogram->first + histogram->used - 1));
    }
    while (last - first >= (double)histogram->count) {
        coarsen(histogram);
        first = floor(first / 2);
        last = floor(last / 2);
    }
    extend(histogram, (int64_t)first, (int64_t)last);
}

aaclip_status aac_histogram_add(aac_histogram *histogram, uint32_t bins, const float *map,
                                const uint32_t *labels, const double *overlaps, size_t count,
                                float least, float largest)
{
    if (!histogram->bins) {
        histogram->bins = aac_calloc(bins, sizeof *histogram->bins);
        if (!histogram->bins)
            return aac_error_memory();
        histogram->count = bins;
    }
    fit(histogram, least, largest);
    const double scale = ldexp(1, -histogram->exponent), first = (double)histogram->first;
    for (size_t i = 0; i < count; i++) {
        aac_bin *bin = &histogram->bins[(size_t)(floor((double)map[i] * scale) - first)];
        if (labels[i]) {
            bin->abnormal++;
            bin->overlap += overlaps[labels[i] - 1];
        } else {
            bin->normal++;
        }
    }
    return AACLIP_OK;
}

static int64_t last_bin(const aac_histogram *histogram)
{
    return histogram->first + histogram->used - 1;
}

/* From the first bin of either to the last. */
static int64_t common_span(const aac_histogram *a, const aac_histogram *b)
{
    const int64_t last = last_bin(a) > last_bin(b) ? last_bin(a) : last_bin(b);
    return last - (a->first < b->first ? a->first : b->first) + 1;
}

static void add_bins(aac_histogram *histogram, aac_histogram *other)
{
    while (histogram->exponent < other->exponent)
        coarsen(histogram);
    while (other->exponent < histogram->exponent)
        coarsen(other);
    while (common_span(histogram, other) > histogram->count) {
        coarsen(histogram);
        coarsen(other);
    }
    const int64_t first = histogram->first < other->first ? histogram->first : other->first;
    extend(histogram, first, first + common_span(histogram, other) - 1);
    for (uint32_t i = 0; i < other->used; i++)
        move_bin(&histogram->bins[other->first + i - first], &other->bins[i]);
}

void aac_histogram_merge(aac_histogram *histogram, aac_histogram *other)
{
    if (!histogram->used) {
        const aac_histogram empty = *histogram;
        *histogram = *other;
        *other = empty;
    } else if (other->used) {
        add_bins(histogram, other);
    }
    aac_free(other->bins);
    *other = (aac_histogram){0};
}

void aac_histogram_walk(const aac_histogram *histogram, aac_tie_visitor visit, void *user)
{
    for (uint32_t i = histogram->used; i-- > 0;) {
        const aac_bin *bin = &histogram->bins[i];
        const double score = ldexp((double)(histogram->first + i), histogram->exponent);
        if (bin->normal || bin->abnormal)
            visit(user, &(aac_tie){score, bin->normal, bin->abnormal, bin->overlap});
    }
}
