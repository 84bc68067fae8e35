/* Connected regions of a mask. */
#ifndef AAC_EVALUATE_COMPONENTS_H
#define AAC_EVALUATE_COMPONENTS_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

/* One region: its number of pixels and bounding box; right and bottom are exclusive. */
typedef struct aac_component {
    uint32_t area;
    uint32_t left, top, right, bottom;
} aac_component;

/*
 * Finds the 8-connected components of the pixels that are not 0. labels (height, width) becomes 0
 * outside and 1 .. *count inside, numbered in the order of their first pixels by rows. Component n
 * is (*components)[n - 1]; free the array with aac_free (it is NULL when there are none).
 * Errors: INVALID_ARGUMENT (2^32 - 1 pixels or more), OUT_OF_MEMORY; then *components is NULL.
 */
aaclip_status aac_find_components(aac_component **components, size_t *count, uint32_t *labels,
                                  const uint8_t *mask, uint32_t width, uint32_t height);

#endif
