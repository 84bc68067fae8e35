#include "detect/tiles.h"

#include "images/view.h"

aac_tile_axis aac_tile_axis_plan(uint32_t length, uint32_t tile, float overlap, uint32_t tile_map)
{
    if (length <= tile)
        return (aac_tile_axis){length, length, 1, tile_map, tile_map};
    const uint32_t shared = (uint32_t)((double)overlap * tile + 0.5);
    const uint32_t step = shared < tile ? tile - shared : 1, more = length - tile;
    aac_tile_axis axis = {length, tile, 1 + more / step + (more % step != 0), tile_map, 0};
    axis.map = aac_tile_map_begin(&axis, axis.count - 1) + tile_map;
    return axis;
}

uint32_t aac_tile_begin(const aac_tile_axis *axis, uint32_t index)
{
    const uint64_t last = axis->length - axis->tile;
    return index ? (uint32_t)(last * index / (axis->count - 1)) : 0;
}

uint64_t aac_tile_map_begin(const aac_tile_axis *axis, uint32_t index)
{
    const uint64_t begin = aac_tile_begin(axis, index);
    return (begin * axis->tile_map + axis->tile / 2) / axis->tile; /* to the nearest */
}

/* Weight of tile `index` at a place of the map before normalisation: half pixels to the nearer
 * border. */
static uint64_t height_at(const aac_tile_axis *axis, uint32_t index, uint64_t place)
{
    const uint64_t begin = aac_tile_map_begin(axis, index), end = begin + axis->tile_map;
    if (place < begin || place >= end)
        return 0;
    return 2 * (place - begin < end - 1 - place ? place - begin : end - 1 - place) + 1;
}

/* Tiles are in order of position, so that the search stops at the first one too far away. */
static uint64_t height_of_all(const aac_tile_axis *axis, uint32_t index, uint64_t place)
{
    uint64_t sum = height_at(axis, index, place), more = 1;
    for (uint32_t i = index; i-- > 0 && more; sum += more)
        more = height_at(axis, i, place);
    more = 1;
    for (uint32_t i = index + 1; i < axis->count && more; i++, sum += more)
        more = height_at(axis, i, place);
    return sum;
}

void aac_tile_weights(const aac_tile_axis *axis, uint32_t index, float *weights)
{
    const uint64_t begin = aac_tile_map_begin(axis, index);
    for (uint32_t i = 0; i < axis->tile_map; i++)
        weights[i] = (float)((double)height_at(axis, index, begin + i) /
                             (double)height_of_all(axis, index, begin + i));
}

aaclip_image_view aac_tile_view(const aaclip_image_view *image, const aac_tile_axis *columns,
                                const aac_tile_axis *rows, uint32_t column, uint32_t row)
{
    const size_t step = aac_view_layout(image).step;
    return (aaclip_image_view){
        .pixels =
            aac_view_row(image, aac_tile_begin(rows, row)) + aac_tile_begin(columns, column) * step,
        .width = columns->tile,
        .height = rows->tile,
        .stride = image->stride ? image->stride : image->width * step,
        .format = image->format,
    };
}

void aac_tile_blend(float *map, const aac_tile_axis *columns, const aac_tile_axis *rows,
                    uint32_t column, uint32_t row, const float *column_weights,
                    const float *row_weights, const float *tile)
{
    const uint64_t top = aac_tile_map_begin(rows, row);
    const uint64_t left = aac_tile_map_begin(columns, column);
    for (uint32_t y = 0; y < rows->tile_map; y++) {
        float *to = map + (top + y) * columns->map + left;
        const float *from = tile + (size_t)y * columns->tile_map;
        for (uint32_t x = 0; x < columns->tile_map; x++)
            to[x] += row_weights[y] * column_weights[x] * from[x];
    }
}
