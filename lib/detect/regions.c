/* From a map and a threshold to a mask and its regions. */
#include <aaclip/regions.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "evaluate/components.h"

/* A map and where to look in it. */
typedef struct looked_at {
    const float *map;
    const uint8_t *roi;
    uint32_t width, height;
    size_t pixels;
} looked_at;

static bool is_inside(const looked_at *area, size_t pixel)
{
    return !area->roi || area->roi[pixel];
}

static aaclip_status look_at(looked_at *area, const char *function, const float *map,
                             const uint8_t *roi, uint32_t width, uint32_t height)
{
    if (!map)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: map is NULL", function);
    if (!width || !height || (uint64_t)width * height >= UINT32_MAX)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "%s: map: expected 1 to 2^32 - 2 pixels, found %ux%u", function, width,
                         height);
    *area = (looked_at){map, roi, width, height, (size_t)width * height};
    for (size_t i = 0; i < area->pixels; i++)
        if (is_inside(area, i) && isnan(map[i]))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "%s: map: row %zu, column %zu: expected a number, found NaN", function,
                             i / width, i % width);
    return AACLIP_OK;
}

static aaclip_status check_threshold(const char *function, float threshold)
{
    return isnan(threshold) ? aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                                        "%s: threshold: expected a number, found NaN", function)
                            : AACLIP_OK;
}

static void write_mask(const looked_at *area, float threshold, uint8_t *mask)
{
    for (size_t i = 0; i < area->pixels; i++)
        mask[i] = is_inside(area, i) && area->map[i] >= threshold ? 255 : 0;
}

aaclip_status aaclip_map_threshold(const float *map, const uint8_t *roi, uint32_t width,
                                   uint32_t height, float threshold, uint8_t *mask)
{
    static const char name[] = "aaclip_map_threshold";
    looked_at area;
    if (!mask)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: mask is NULL", name);
    aaclip_status status = check_threshold(name, threshold);
    if (!status)
        status = look_at(&area, name, map, roi, width, height);
    if (!status)
        write_mask(&area, threshold, mask);
    return status;
}

aaclip_status aaclip_map_peak(const float *map, const uint8_t *roi, uint32_t width, uint32_t height,
                              float *peak)
{
    static const char name[] = "aaclip_map_peak";
    looked_at area;
    if (!peak)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: peak is NULL", name);
    aaclip_status status = look_at(&area, name, map, roi, width, height);
    if (status)
        return status;
    float largest = -INFINITY;
    bool found = false;
    for (size_t i = 0; i < area.pixels; i++)
        if (is_inside(&area, i)) {
            found = true;
            largest = map[i] > largest ? map[i] : largest;
        }
    if (!found)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: roi: no pixel selected in %ux%u", name,
                         width, height);
    *peak = largest;
    return AACLIP_OK;
}

static void count_pixel(aaclip_region *region, double *sum, float value, uint32_t x, uint32_t y)
{
    *sum += (double)value;
    if (region->area++ && value <= region->peak)
        return;
    region->peak = value;
    region->peak_x = x;
    region->peak_y = y;
}

static void measure(const looked_at *area, const uint32_t *labels, aaclip_region *regions,
                    double *sums)
{
    for (uint32_t y = 0; y < area->height; y++)
        for (uint32_t x = 0; x < area->width; x++) {
            const size_t pixel = (size_t)y * area->width + x;
            const uint32_t label = labels[pixel];
            if (label)
                count_pixel(&regions[label - 1], &sums[label - 1], area->map[pixel], x, y);
        }
}

static void finish(aaclip_region *region, const aac_component *component, double sum)
{
    region->x = component->left;
    region->y = component->top;
    region->width = component->right - component->left;
    region->height = component->bottom - component->top;
    region->mean = (float)(sum / region->area);
}

/* By descending peak, then in row order; no two regions share a pixel. */
static int compare_regions(const void *left, const void *right)
{
    const aaclip_region *a = left, *b = right;
    if (a->peak != b->peak)
        return a->peak > b->peak ? -1 : 1;
    if (a->peak_y != b->peak_y)
        return a->peak_y < b->peak_y ? -1 : 1;
    return (a->peak_x > b->peak_x) - (a->peak_x < b->peak_x);
}

/* Keeps those of `found` components that are large enough in *regions, in their order. */
static aaclip_status collect(aaclip_region **regions, size_t *count, const looked_at *area,
                             const uint32_t *labels, const aac_component *components, size_t found,
                             uint32_t min_area)
{
    aaclip_region *all = aac_calloc(found, sizeof *all);
    double *sums = aac_calloc(found, sizeof *sums);
    size_t kept = 0;
    if (all && sums)
        measure(area, labels, all, sums);
    for (size_t i = 0; all && sums && i < found; i++) {
        finish(&all[i], &components[i], sums[i]);
        if (all[i].area >= min_area)
            all[kept++] = all[i];
    }
    aaclip_status status = all && sums ? AACLIP_OK : aac_error_memory();
    aac_free(sums);
    if (!kept)
        aac_free(all);
    else
        qsort(all, kept, sizeof *all, compare_regions);
    *regions = kept ? all : NULL;
    *count = kept;
    return status;
}

static aaclip_status find_regions(aaclip_region **regions, size_t *count, const looked_at *area,
                                  float threshold, uint32_t min_area)
{
    uint8_t *mask = aac_alloc(area->pixels);
    uint32_t *labels = aac_alloc_array(area->pixels, sizeof *labels);
    aac_component *components = NULL;
    size_t found = 0;
    aaclip_status status = mask && labels ? AACLIP_OK : aac_error_memory();
    if (!status) {
        write_mask(area, threshold, mask);
        status = aac_find_components(&components, &found, labels, mask, area->width, area->height);
    }
    if (!status && found)
        status = collect(regions, count, area, labels, components, found, min_area);
    aac_free(components);
    aac_free(labels);
    aac_free(mask);
    return status;
}

aaclip_status aaclip_regions_find(aaclip_region **regions, size_t *count, const float *map,
                                  const uint8_t *roi, uint32_t width, uint32_t height,
                                  float threshold, uint32_t min_area)
{
    static const char name[] = "aaclip_regions_find";
    looked_at area;
    if (regions)
        *regions = NULL;
    if (count)
        *count = 0;
    if (!regions || !count)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: regions or count is NULL", name);
    aaclip_status status = check_threshold(name, threshold);
    if (!status)
        status = look_at(&area, name, map, roi, width, height);
    return status ? status : find_regions(regions, count, &area, threshold, min_area);
}

void aaclip_regions_free(aaclip_region **regions)
{
    if (!regions)
        return;
    aac_free(*regions);
    *regions = NULL;
}
