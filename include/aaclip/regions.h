/**
 * @file
 * Where a map is anomalous: its mask at a threshold, and the connected regions of that mask.
 */
#ifndef AACLIP_REGIONS_H
#define AACLIP_REGIONS_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/**
 * @file
 *
 * Maps are width x height, row-major, of any size and scale; the threshold is on the map's scale.
 * For results at the size of the photograph, call aaclip_map_resize first; for a threshold between
 * 0 and 1, aaclip_map_probability. A pixel counts when its value is the threshold or more.
 *
 * A region of interest `roi`, of the map's size, is nonzero where to look; NULL: everywhere. Pixels
 * outside it are never read: a region ends at its border. It does not change the score, which sees
 * the whole image.
 *
 * Any thread. Errors: INVALID_ARGUMENT (an empty size, 2^32 - 1 pixels or more, NaN inside the
 * region of interest or as threshold), OUT_OF_MEMORY.
 */

/** An 8-connected region of pixels at or above a threshold. */
typedef struct aaclip_region {
    uint32_t x,      /**< column of the top left pixel of the bounding box */
        y,           /**< row of that pixel */
        width,       /**< of the box, in pixels */
        height;      /**< of the box, in pixels */
    uint32_t area;   /**< in pixels */
    uint32_t peak_x, /**< column of the peak; of several, the first in row order */
        peak_y;      /**< row of that pixel */
    float peak,      /**< largest value of its pixels */
        mean;        /**< mean value of its pixels */
} aaclip_region;

/**
 * Writes 255 where the map reaches the threshold inside the region of interest, 0 elsewhere; `mask`
 * has the map's size. Errors: INVALID_ARGUMENT; see regions.h.
 */
AACLIP_API aaclip_status aaclip_map_threshold(const float *map, const uint8_t *roi, uint32_t width,
                                              uint32_t height, float threshold, uint8_t *mask);

/**
 * The largest value inside the region of interest, which must have a pixel.
 * Errors: INVALID_ARGUMENT; see regions.h.
 */
AACLIP_API aaclip_status aaclip_map_peak(const float *map, const uint8_t *roi, uint32_t width,
                                         uint32_t height, float *peak);

/**
 * Finds the regions of that mask with `min_area` pixels or more, the highest peak first; equal
 * peaks in row order of their pixels. *regions becomes an array of *count, NULL when there are none
 * or on failure; free it with aaclip_regions_free.
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY; see regions.h.
 */
AACLIP_API aaclip_status aaclip_regions_find(aaclip_region **regions, size_t *count,
                                             const float *map, const uint8_t *roi, uint32_t width,
                                             uint32_t height, float threshold, uint32_t min_area);

/** Frees the array and sets *regions to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_regions_free(aaclip_region **regions);

AACLIP_END_DECLS

#endif
