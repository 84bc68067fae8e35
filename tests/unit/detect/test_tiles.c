/* Where tiles lie, what they weigh and how they blend, by hand and against plain definitions. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "detect/tiles.h"

static void assert_begins(const aac_tile_axis *axis, const uint32_t *begins, size_t count)
{
    assert_int_equal(axis->count, count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(aac_tile_begin(axis, i), begins[i]);
}

static void layouts_by_hand(void **state)
{
    (void)state;
    aac_tile_axis axis = aac_tile_axis_plan(2072, 518, 0, 518);
    assert_begins(&axis, (const uint32_t[]){0, 518, 1036, 1554}, 4);
    assert_int_equal(axis.map, 2072);
    axis = aac_tile_axis_plan(1036, 518, 0.25f, 518); /* steps of at most 388 */
    assert_begins(&axis, (const uint32_t[]){0, 259, 518}, 3);
    assert_int_equal(axis.map, 1036);
    axis = aac_tile_axis_plan(1295, 518, 0.25f, 259); /* a step of 388.5 is too long */
    assert_begins(&axis, (const uint32_t[]){0, 259, 518, 777}, 4);
    assert_int_equal(axis.map, 648);
    assert_int_equal(aac_tile_map_begin(&axis, 1), 130); /* 129.5 */
    assert_int_equal(aac_tile_map_begin(&axis, 3), 389);
    axis = aac_tile_axis_plan(20, 10, 0.1f, 10); /* shares one pixel, not two */
    assert_begins(&axis, (const uint32_t[]){0, 5, 10}, 3);
    axis = aac_tile_axis_plan(19, 10, 0.1f, 10);
    assert_begins(&axis, (const uint32_t[]){0, 9}, 2);
    axis = aac_tile_axis_plan(10, 10, 0.25f, 7);
    assert_begins(&axis, (const uint32_t[]){0}, 1);
    assert_int_equal(axis.map, 7);
    axis = aac_tile_axis_plan(9, 10, 0.25f, 7);
    assert_begins(&axis, (const uint32_t[]){0}, 1);
    assert_int_equal(axis.tile, 9);
    assert_int_equal(axis.map, 7);
    axis = aac_tile_axis_plan(3, 1, 0.9f, 14); /* a step is at least a pixel */
    assert_begins(&axis, (const uint32_t[]){0, 1, 2}, 3);
    axis = aac_tile_axis_plan(INT32_MAX, 1, 0.9f, 8190);
    assert_int_equal(axis.count, INT32_MAX);
    assert_int_equal(aac_tile_begin(&axis, INT32_MAX - 1), INT32_MAX - 1);
    assert_int_equal(axis.map, (uint64_t)INT32_MAX * 8190);
}

static aac_tile_axis random_axis(uint32_t most, float *overlap, uint32_t *tile)
{
    const uint32_t length = 1 + (uint32_t)rand() % most;
    *tile = 1 + (uint32_t)rand() % (rand() % 2 ? most : 1 + most / 8);
    *overlap = rand() % 4 ? (float)(rand() % 91) / 100 : 0;
    return aac_tile_axis_plan(length, *tile, *overlap, 1 + (uint32_t)rand() % 60);
}

/* Of tiles in the picture: inside, without gaps, as few as do, evenly spaced, sharing enough. */
static void check_picture(const aac_tile_axis *axis, uint32_t tile, float overlap)
{
    const uint32_t last = axis->length - axis->tile;
    const int64_t shared = lround((double)overlap * tile);
    const int64_t longest = shared < tile ? tile - shared : 1;
    uint32_t least = UINT32_MAX, most = 0;
    assert_int_equal(axis->tile, axis->length < tile ? axis->length : tile);
    assert_int_equal(aac_tile_begin(axis, 0), 0);
    assert_int_equal(aac_tile_begin(axis, axis->count - 1), last);
    for (uint32_t i = 1; i < axis->count; i++) {
        const uint32_t step = aac_tile_begin(axis, i) - aac_tile_begin(axis, i - 1);
        least = step < least ? step : least;
        most = step > most ? step : most;
    }
    if (axis->count == 1)
        return;
    assert_true(most <= longest && longest <= axis->tile && most - least <= 1 && least >= 1);
    assert_true((axis->count - 2) * longest < last); /* one tile fewer would be too far apart */
}

/* Of their maps: each within half a value of its place, the last flush, no gap. */
static void check_map(const aac_tile_axis *axis)
{
    const uint32_t last = axis->count - 1;
    assert_int_equal(aac_tile_map_begin(axis, last) + axis->tile_map, axis->map);
    for (uint32_t i = 0; i <= last; i++) {
        const double exact = (double)aac_tile_begin(axis, i) * axis->tile_map / axis->tile;
        assert_true(fabs((double)aac_tile_map_begin(axis, i) - exact) <= 0.5 + 1e-9);
        if (i)
            assert_true(aac_tile_map_begin(axis, i) <=
                        aac_tile_map_begin(axis, i - 1) + axis->tile_map);
    }
}

static void layouts_cover_the_picture(void **state)
{
    (void)state;
    uint32_t tile;
    float overlap;
    srand(5);
    for (int i = 0; i < 20000; i++) {
        const aac_tile_axis axis = random_axis(3000, &overlap, &tile);
        check_picture(&axis, tile, overlap);
        check_map(&axis);
    }
}

/* A tile's weight at a place of the map, before division; 0 outside. */
static double height(const aac_tile_axis *axis, uint32_t index, uint64_t place)
{
    const double from = (double)place + 0.5 - (double)aac_tile_map_begin(axis, index);
    const double to = axis->tile_map - from;
    return from > 0 && to > 0 ? fmin(from, to) : 0;
}

static double all_heights(const aac_tile_axis *axis, uint64_t place, int *covering)
{
    double sum = 0;
    *covering = 0;
    for (uint32_t i = 0; i < axis->count; i++) {
        sum += height(axis, i, place);
        *covering += height(axis, i, place) > 0;
    }
    return sum;
}

static void weights_follow_their_definition(void **state)
{
    (void)state;
    float weights[60], overlap;
    uint32_t tile;
    int covering, alone = 0, several = 0;
    srand(6);
    for (int i = 0; i < 300; i++) {
        const aac_tile_axis axis = random_axis(300, &overlap, &tile);
        for (uint32_t j = 0; j < axis.count; j++) {
            const uint64_t begin = aac_tile_map_begin(&axis, j);
            aac_tile_weights(&axis, j, weights);
            for (uint32_t k = 0; k < axis.tile_map; k++) {
                const double sum = all_heights(&axis, begin + k, &covering);
                const double expected = height(&axis, j, begin + k) / sum;
                assert_true(weights[k] > 0 && fabs((double)weights[k] - expected) < 1e-7);
                assert_true(covering > 1 || weights[k] == 1);
                alone += covering == 1;
                several += covering > 2;
            }
        }
    }
    assert_true(alone && several);
}

typedef struct plane {
    aac_tile_axis columns, rows;
    float *map;
    size_t values;
} plane;

typedef float tile_value(uint32_t column, uint32_t row, size_t index);

static plane blend(uint32_t width, uint32_t height_, uint32_t tile, float overlap, uint32_t side,
                   tile_value *value)
{
    plane all = {aac_tile_axis_plan(width, tile, overlap, side),
                 aac_tile_axis_plan(height_, tile, overlap, side), NULL, 0};
    all.values = all.columns.map * all.rows.map;
    all.map = calloc(all.values, sizeof *all.map);
    float *one = malloc((size_t)side * side * sizeof *one);
    float *across = malloc(side * sizeof *across), *down = malloc(side * sizeof *down);
    for (uint32_t row = 0; row < all.rows.count; row++)
        for (uint32_t column = 0; column < all.columns.count; column++) {
            for (size_t i = 0; i < (size_t)side * side; i++)
                one[i] = value(column, row, i);
            aac_tile_weights(&all.columns, column, across);
            aac_tile_weights(&all.rows, row, down);
            aac_tile_blend(all.map, &all.columns, &all.rows, column, row, across, down, one);
        }
    free(one);
    free(across);
    free(down);
    return all;
}

static float constant(uint32_t column, uint32_t row, size_t index)
{
    (void)column;
    (void)row;
    (void)index;
    return -1.7f;
}

static void constant_maps_stay_constant(void **state)
{
    (void)state;
    const float overlaps[] = {0, 0.25f, 0.5f, 0.9f};
    for (int i = 0; i < 4; i++)
        for (uint32_t tile = 20; tile <= 140; tile += 17) {
            const plane all = blend(131, 77, tile, overlaps[i], 28, constant);
            for (size_t j = 0; j < all.values; j++)
                assert_true(fabs((double)all.map[j] + (double)1.7f) <= /* two tiles each way: 4 */
                            (i < 3 ? 4 : 100) * 1.7 * (double)FLT_EPSILON);
            free(all.map);
        }
}

/* Numbers that look random, the same for the same place. */
static float scattered(uint32_t column, uint32_t row, size_t index)
{
    const uint32_t mixed = (uint32_t)index * 2654435761u + column * 40503u + row * 69069u;
    return (float)((mixed ^ mixed >> 15) % 10007) / 1000 - 5;
}

/* Weighted in the plane, in one go. */
static double expected_at(const plane *all, uint64_t x, uint64_t y, int *covering, float *value)
{
    double sum = 0, weights = 0;
    *covering = 0;
    for (uint32_t row = 0; row < all->rows.count; row++)
        for (uint32_t column = 0; column < all->columns.count; column++) {
            const double weight = height(&all->columns, column, x) * height(&all->rows, row, y);
            if (weight <= 0)
                continue;
            *value = scattered(column, row,
                               (size_t)(y - aac_tile_map_begin(&all->rows, row)) *
                                       all->columns.tile_map +
                                   (size_t)(x - aac_tile_map_begin(&all->columns, column)));
            sum += weight * (double)*value;
            weights += weight;
            ++*covering;
        }
    return sum / weights;
}

static void blends_are_weighted_means(void **state)
{
    (void)state;
    int alone = 0, covering;
    float value = 0;
    srand(7);
    for (int i = 0; i < 60; i++) {
        const uint32_t tile = 10 + (uint32_t)rand() % 60;
        const plane all = blend(20 + (uint32_t)rand() % 100, 20 + (uint32_t)rand() % 100, tile,
                                (float)(rand() % 60) / 100, 3 + (uint32_t)rand() % 30, scattered);
        for (uint64_t y = 0; y < all.rows.map; y++)
            for (uint64_t x = 0; x < all.columns.map; x++) {
                const double expected = expected_at(&all, x, y, &covering, &value);
                const float found = all.map[y * all.columns.map + x];
                assert_true(fabs((double)found - expected) < 5e-6);
                assert_true(covering > 1 || found == value); /* every bit */
                alone += covering == 1;
            }
        free(all.map);
    }
    assert_true(alone);
}

static void views_are_the_pixels_of_their_tiles(void **state)
{
    (void)state;
    static const uint8_t bytes[4000];
    const aac_tile_axis columns = aac_tile_axis_plan(30, 20, 0, 4);
    const aac_tile_axis rows = aac_tile_axis_plan(12, 20, 0, 4);
    const aaclip_image_view packed = {bytes, 30, 12, 0, AACLIP_PIXEL_RGB16};
    const aaclip_image_view padded = {bytes, 30, 12, 101, AACLIP_PIXEL_RGB8};
    aaclip_image_view tile = aac_tile_view(&packed, &columns, &rows, 1, 0);
    assert_ptr_equal(tile.pixels, bytes + 60);
    assert_int_equal(tile.stride, 180);
    assert_int_equal(tile.format, AACLIP_PIXEL_RGB16);
    tile = aac_tile_view(&padded, &rows, &columns, 0, 1); /* on its side */
    assert_ptr_equal(tile.pixels, bytes + 10 * 101);
    assert_int_equal(tile.stride, 101);
    assert_int_equal(tile.width, 12);
    assert_int_equal(tile.height, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_by_hand),
        cmocka_unit_test(layouts_cover_the_picture),
        cmocka_unit_test(weights_follow_their_definition),
        cmocka_unit_test(constant_maps_stay_constant),
        cmocka_unit_test(blends_are_weighted_means),
        cmocka_unit_test(views_are_the_pixels_of_their_tiles),
    };
    return cmocka_run_group_tests_name("tiles", tests, NULL, NULL);
}
