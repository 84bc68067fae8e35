/*
 * An image in overlapping tiles: where they lie, and how their maps become one. Rows and columns
 * are laid out in the same way, independently.
 */
#ifndef AAC_DETECT_TILES_H
#define AAC_DETECT_TILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/image.h>

/* The tiles along one axis. An image no longer than a tile is a single tile. */
typedef struct aac_tile_axis {
    uint32_t length, tile; /* of the image and of each tile, in pixels; tile <= length */
    uint32_t count;
    uint32_t tile_map; /* the side of a tile's map */
    uint64_t map;      /* the side of the whole map, at the scale of the tiles */
} aac_tile_axis;

/*
 * `count` is the smallest for which evenly spaced tiles overlap by at least `overlap` (0 to 0.9) of
 * a tile, rounded to pixels. All sizes from 1 to 2^31 - 1, tile_map below 2^16.
 */
aac_tile_axis aac_tile_axis_plan(uint32_t length, uint32_t tile, float overlap, uint32_t tile_map);

/* Where tile `index` begins, in the image and in the map. The last tile ends with both. */
uint32_t aac_tile_begin(const aac_tile_axis *axis, uint32_t index);
uint64_t aac_tile_map_begin(const aac_tile_axis *axis, uint32_t index);

/*
 * Writes tile_map weights of tile `index`: they fall linearly to its borders and are divided by the
 * sum over all tiles, so that they sum to 1 at each place of the map. Where no other tile overlaps,
 * the weight is exactly 1.
 */
void aac_tile_weights(const aac_tile_axis *axis, uint32_t index, float *weights);

/* The pixels of tile (column, row) of a checked view. */
aaclip_image_view aac_tile_view(const aaclip_image_view *image, const aac_tile_axis *columns,
                                const aac_tile_axis *rows, uint32_t column, uint32_t row);

/* Adds the product of both weights and `tile` (tile_map x tile_map) at its place in `map`. */
void aac_tile_blend(float *map, const aac_tile_axis *columns, const aac_tile_axis *rows,
                    uint32_t column, uint32_t row, const float *column_weights,
                    const float *row_weights, const float *tile);

#endif
