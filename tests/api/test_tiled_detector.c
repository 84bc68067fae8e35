/* A detector with tiles against one without, which gets each tile as an image. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fixture.h"

static fixture shared;
static aaclip_detector *whole; /* without tiles */

static aaclip_status try_tiles(aaclip_detector **detector, uint32_t tile, float overlap,
                               bool keep_features)
{
    aaclip_detector_options options;
    must(aaclip_detector_options_init(&options));
    options.image_size = IMAGE_SIZE;
    options.tile = tile;
    options.tile_overlap = overlap;
    options.keep_features = keep_features;
    return aaclip_detector_new(detector, shared.model, shared.adapters, shared.cache, &options);
}

static aaclip_detector *make_tiles(uint32_t tile, float overlap)
{
    aaclip_detector *detector = NULL;
    must(try_tiles(&detector, tile, overlap, false));
    return detector;
}

/* Tiles along one axis as the header describes them. */
typedef struct axis {
    uint32_t count, side, begins[64];
    long map_begins[64], map;
} axis;

static axis lay_out(uint32_t length, uint32_t tile, double overlap)
{
    const double step = tile - floor(overlap * tile + 0.5);
    axis found = {.count = 1, .side = length, .map = IMAGE_SIZE};
    if (length <= tile)
        return found;
    found.side = tile;
    while ((found.count - 1) * step < length - tile)
        found.count++;
    for (uint32_t i = 0; i < found.count; i++) {
        found.begins[i] = i * (length - tile) / (found.count - 1);
        found.map_begins[i] = lround((double)found.begins[i] * IMAGE_SIZE / tile);
    }
    found.map += found.map_begins[found.count - 1];
    return found;
}

static double weight_at(long place)
{
    const double from = (double)place + 0.5, to = IMAGE_SIZE - from;
    return from > 0 && to > 0 ? fmin(from, to) : 0;
}

/* What a detector with tiles should find. */
typedef struct expectation {
    axis columns, rows;
    double *sums, *weights, *last; /* `last`: the value of one of the tiles */
    int *covering;
    float score;
} expectation;

static void add_tile(expectation *all, const aaclip_result *tile, uint32_t column, uint32_t row)
{
    const long left = all->columns.map_begins[column], top = all->rows.map_begins[row];
    all->score = tile->score > all->score ? tile->score : all->score;
    for (long y = 0; y < IMAGE_SIZE; y++)
        for (long x = 0; x < IMAGE_SIZE; x++) {
            const size_t to = (size_t)((top + y) * all->columns.map + left + x);
            const double weight = weight_at(x) * weight_at(y);
            all->last[to] = (double)tile->map[y * IMAGE_SIZE + x];
            all->sums[to] += weight * all->last[to];
            all->weights[to] += weight;
            all->covering[to]++;
        }
}

static expectation expect(const aaclip_image_view *image, uint32_t tile, double overlap)
{
    expectation all = {lay_out(image->width, tile, overlap), lay_out(image->height, tile, overlap),
                       .score = -1};
    const size_t values = (size_t)(all.columns.map * all.rows.map);
    all.sums = calloc(values, sizeof *all.sums);
    all.weights = calloc(values, sizeof *all.weights);
    all.last = calloc(values, sizeof *all.last);
    all.covering = calloc(values, sizeof *all.covering);
    for (uint32_t row = 0; row < all.rows.count; row++)
        for (uint32_t column = 0; column < all.columns.count; column++) {
            aaclip_image_view view = *image;
            view.stride = image->stride ? image->stride : (size_t)image->width * 3;
            view.pixels = (const uint8_t *)image->pixels + all.rows.begins[row] * view.stride +
                          (size_t)all.columns.begins[column] * 3;
            view.width = all.columns.side;
            view.height = all.rows.side;
            const aaclip_result found = detect(whole, &view, "cat");
            add_tile(&all, &found, column, row);
        }
    return all;
}

static void free_expectation(expectation *all)
{
    free(all->sums);
    free(all->weights);
    free(all->last);
    free(all->covering);
}

/* Returns how many values were of one tile alone. */
static size_t compare(const aaclip_result *found, const expectation *expected)
{
    size_t alone = 0;
    double largest = 0, worst = 0;
    assert_int_equal(found->map_width, expected->columns.map);
    assert_int_equal(found->map_height, expected->rows.map);
    assert_true(found->score == expected->score);
    for (size_t i = 0; i < (size_t)found->map_width * found->map_height; i++) {
        const double value = expected->sums[i] / expected->weights[i];
        worst = fmax(worst, fabs((double)found->map[i] - value));
        largest = fmax(largest, fabs(value));
        if (expected->covering[i] == 1) {
            assert_true((double)found->map[i] == expected->last[i]);
            alone++;
        }
    }
    assert_true(largest > 0.1 && worst <= 1e-6 * largest);
    return alone;
}

static void maps_are_blended_from_those_of_the_tiles(void **state)
{
    (void)state;
    const struct {
        uint32_t tile, columns, rows;
        float overlap;
    } cases[] = {
        {112, 3, 2, 0.25f}, {100, 4, 2, 0.5f},
        {75, 3, 2, 0},      {160, 2, 1, 0.25f}, /* higher than the picture */
        {149, 3, 2, 0.7f},
    };
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    size_t alone = 0;
    assert_int_equal(view.width, 225);
    assert_int_equal(view.height, 150);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aaclip_detector *detector = make_tiles(cases[i].tile, cases[i].overlap);
        expectation expected = expect(&view, cases[i].tile, (double)cases[i].overlap);
        const aaclip_result found = detect(detector, &view, "cat");
        assert_int_equal(expected.columns.count, cases[i].columns);
        assert_int_equal(expected.rows.count, cases[i].rows);
        alone += compare(&found, &expected);
        free_expectation(&expected);
        aaclip_detector_close(&detector);
    }
    assert_true(alone > 0);
}

static void pictures_of_one_tile_have_the_bits_of_no_tiles(void **state)
{
    (void)state;
    const uint32_t sides[] = {225, 226, 4096, UINT32_MAX};
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    const aaclip_result without = detect(whole, &view, "nut");
    kept_result expected = keep_result(&without);
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        aaclip_detector *detector = make_tiles(sides[i], 0.25f);
        const aaclip_result result = detect(detector, &view, "nut");
        kept_result found = keep_result(&result);
        assert_int_equal(result.map_width, IMAGE_SIZE);
        assert_true(same_bits(&expected, &found));
        free_result(&found);
        aaclip_detector_close(&detector);
    }
    free_result(&expected);
}

static void batches_hold_maps_of_several_sizes(void **state)
{
    (void)state;
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    aaclip_image_view views[] = {view, view, view, view};
    views[0].width = 90; /* one tile */
    views[2].height = 60;
    views[3].width = 130;
    for (int i = 0; i < 4; i++)
        views[i].stride = (size_t)view.width * 3;
    const char *const names[] = {"cat", "cat", "nut", "nut"};
    aaclip_detector *detector = make_tiles(112, 0.25f), *alone = make_tiles(112, 0.25f);
    aaclip_result results[4] = {{.size = sizeof results[0]}};
    must(aaclip_detector_detect_batch(detector, views, names, 4, results));
    assert_int_equal(results[1].map_width, 225);
    assert_int_equal(results[1].map_height, 150);
    for (int i = 0; i < 4; i++) {
        const aaclip_result one = detect(alone, &views[i], names[i]);
        kept_result expected = keep_result(&one), found = keep_result(&results[i]);
        assert_int_equal(results[i].map_width, one.map_width);
        assert_true(same_bits(&expected, &found));
        free_result(&expected);
        free_result(&found);
    }
    aaclip_detector_close(&alone);
    aaclip_detector_close(&detector);
}

static void refused(uint32_t tile, float overlap, bool keep_features, aaclip_status status,
                    const char *words)
{
    aaclip_detector *detector = whole;
    must_fail(try_tiles(&detector, tile, overlap, keep_features), status, words);
    assert_null(detector);
}

static void impossible_tiles_are_refused(void **state)
{
    (void)state;
    const aaclip_status invalid = AACLIP_ERROR_INVALID_ARGUMENT;
    refused(64, -0.01f, false, invalid, "tile_overlap");
    refused(64, 0.91f, false, invalid, "found 0.91");
    refused(64, NAN, false, invalid, "tile_overlap");
    refused(0, 1, false, invalid, "tile_overlap");
    refused(64, 0.25f, true, AACLIP_ERROR_UNSUPPORTED, "keep_features");
    aaclip_detector *detector = make_tiles(7, 0.9f);
    aaclip_image_view views[2] = {aaclip_image_get_view(shared.image)};
    aaclip_result results[2] = {{.size = sizeof results[0]}};
    const char *const names[] = {"cat", "cat"};
    views[0].width = views[0].height = 7;
    views[0].stride = 225 * 3;
    views[1] = views[0];
    views[1].stride = 0;
    views[1].width = views[1].height = 2049; /* 2^15 * 16 values a side; never read */
    must_fail(aaclip_detector_detect_batch(detector, views, names, 2, results), invalid,
              "aaclip_detector_options.tile: tiles of 7 pixels give a 2049x2049 image a map of "
              "32784x32784");
    views[1].format = AACLIP_PIXEL_GRAY8; /* of RGB no memory holds as many */
    views[1].width = views[1].height = INT32_MAX;
    must_fail(aaclip_detector_detect_batch(detector, views, names, 2, results), invalid,
              "aaclip_detector_options.tile");
    must(aaclip_detector_detect_batch(detector, views, names, 1, results));
    aaclip_detector_close(&detector);
}

static int open_shared(void **state)
{
    (void)state;
    fixture_open(&shared, NULL, 2);
    whole = make_detector(&shared, false);
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    aaclip_detector_close(&whole);
    fixture_close(&shared);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_are_blended_from_those_of_the_tiles),
        cmocka_unit_test(pictures_of_one_tile_have_the_bits_of_no_tiles),
        cmocka_unit_test(batches_hold_maps_of_several_sizes),
        cmocka_unit_test(impossible_tiles_are_refused),
    };
    return cmocka_run_group_tests_name("tiled detector", tests, open_shared, close_shared);
}
