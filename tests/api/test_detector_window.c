/* Views of 16 bits: a detector with a window against one that is given windowed pixels. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fixture.h"

#define LOW  100.0
#define HIGH 4000.0

static fixture shared;
static aaclip_image_view photo;

static aaclip_detector_options windowed_options(void)
{
    aaclip_detector_options options;
    must(aaclip_detector_options_init(&options));
    options.image_size = IMAGE_SIZE;
    options.window_low = LOW;
    options.window_high = HIGH;
    return options;
}

static aaclip_detector *make(const aaclip_detector_options *options)
{
    aaclip_detector *detector = NULL;
    must(aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, options));
    return detector;
}

static aaclip_detector *make_plain(aaclip_detector_options options)
{
    options.window_low = options.window_high = 0;
    return make(&options);
}

/* The photograph with `bits` of 16, rows `padding` bytes apart, without the last `cut` columns. The
 * caller frees its pixels. */
static aaclip_image_view deepen(aaclip_pixel_format format, unsigned bits, size_t padding,
                                uint32_t cut)
{
    const size_t samples = format == AACLIP_PIXEL_GRAY16 ? 1 : 3;
    aaclip_image_view deep = photo;
    deep.width -= cut;
    deep.format = format;
    deep.stride = deep.width * samples * 2 + padding;
    uint8_t *pixels = malloc(deep.stride * deep.height);
    memset(pixels, 0xa7, deep.stride * deep.height);
    for (size_t y = 0; y < deep.height; y++)
        for (size_t x = 0; x < deep.width * samples; x++) {
            const uint8_t *row =
                (const uint8_t *)photo.pixels + y * (photo.stride ? photo.stride : photo.width * 3);
            const uint16_t value = (uint16_t)((unsigned)row[x * 3 / samples] << (bits - 8) |
                                              (x * 7 + y) % (1u << (bits - 8)));
            memcpy(pixels + y * deep.stride + 2 * x, &value, sizeof value);
        }
    deep.pixels = pixels;
    return deep;
}

static aaclip_image_view through_window(const aaclip_image_view *deep)
{
    aaclip_image_view shown = {.width = deep->width, .height = deep->height};
    uint8_t *rgb = malloc((size_t)shown.width * shown.height * 3);
    must(aaclip_image_window(deep, LOW, HIGH, rgb));
    shown.pixels = rgb;
    return shown;
}

static void compare(const aaclip_result *found, const aaclip_result *expected)
{
    const size_t values = (size_t)expected->map_width * expected->map_height;
    assert_true(found->score == expected->score);
    assert_int_equal(found->map_width, expected->map_width);
    assert_int_equal(found->map_height, expected->map_height);
    assert_memory_equal(found->map, expected->map, values * sizeof *found->map);
    assert_int_equal(found->decided, expected->decided);
    assert_int_equal(found->defective, expected->defective);
    assert_int_equal(found->region_count, expected->region_count);
    if (expected->region_count)
        assert_memory_equal(found->regions, expected->regions,
                            expected->region_count * sizeof *found->regions);
}

static const aaclip_pixel_format formats[] = {AACLIP_PIXEL_GRAY16, AACLIP_PIXEL_RGB16,
                                              AACLIP_PIXEL_BGR16};

/* Of every format, and of images that become larger and smaller. */
static void compare_formats(aaclip_detector *windowed, aaclip_detector *plain)
{
    for (size_t i = 0; i < 3; i++) {
        const aaclip_image_view deep = deepen(formats[i], 12, 6 * i, i == 1 ? 0 : 20);
        const aaclip_image_view shown = through_window(&deep);
        const aaclip_result found = detect(windowed, &deep, "cat");
        const aaclip_result expected = detect(plain, &shown, "cat");
        compare(&found, &expected);
        const aaclip_result dark = detect(plain, &deep, "cat");
        assert_true(dark.score != expected.score);
        free((void *)deep.pixels);
        free((void *)shown.pixels);
    }
    const aaclip_result found = detect(windowed, &photo, "cat"); /* 8 bits */
    const aaclip_result expected = detect(plain, &photo, "cat");
    compare(&found, &expected);
}

static void pixels_are_those_of_the_window(void **state)
{
    (void)state;
    const aaclip_detector_options options = windowed_options();
    aaclip_detector *windowed = make(&options), *plain = make_plain(options);
    compare_formats(windowed, plain);
    aaclip_detector_close(&windowed);
    aaclip_detector_close(&plain);
}

static void tiles_and_regions_are_too(void **state)
{
    (void)state;
    const uint8_t left[] = {1, 0};
    aaclip_calibration calibration;
    must(aaclip_calibration_init(&calibration));
    aaclip_detector_options options = windowed_options();
    options.tile = 112;
    options.find_regions = true;
    options.calibration = &calibration;
    aaclip_detector *windowed = make(&options), *plain = make_plain(options);
    const aaclip_result found = detect(plain, &photo, "cat");
    const float middle = found.map[found.map_width * (found.map_height / 2)];
    aaclip_map_probability(&middle, 1, found.level_count, &calibration.map_threshold);
    aaclip_detector_close(&windowed);
    aaclip_detector_close(&plain);
    windowed = make(&options);
    plain = make_plain(options);
    must(aaclip_detector_set_roi(windowed, left, 2, 1));
    must(aaclip_detector_set_roi(plain, left, 2, 1));
    compare_formats(windowed, plain);
    assert_true(detect(windowed, &photo, "cat").region_count > 0);
    aaclip_detector_close(&windowed);
    aaclip_detector_close(&plain);
}

static void batches_are_too(void **state)
{
    (void)state;
    enum { COUNT = 19 }; /* two batches of eight on a device, and a rest */
    const aaclip_detector_options options = windowed_options();
    aaclip_detector *windowed = make(&options), *plain = make_plain(options);
    aaclip_image_view deep[COUNT], shown[COUNT];
    aaclip_result found[COUNT] = {{.size = sizeof *found}};
    aaclip_result expected[COUNT] = {{.size = sizeof *expected}};
    const char *names[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        names[i] = i % 2 ? "cat" : "nut";
        deep[i] = i % 4 == 3 ? photo : deepen(formats[i % 3], 12, 0, 5 * i);
        shown[i] = i % 4 == 3 ? photo : through_window(&deep[i]);
    }
    must(aaclip_detector_detect_batch(windowed, deep, names, COUNT, found));
    must(aaclip_detector_detect_batch(plain, shown, names, COUNT, expected));
    for (size_t i = 0; i < COUNT; i++) {
        compare(&found[i], &expected[i]);
        if (i % 4 != 3) {
            free((void *)deep[i].pixels);
            free((void *)shown[i].pixels);
        }
    }
    aaclip_detector_close(&windowed);
    aaclip_detector_close(&plain);
}

static void impossible_windows_are_refused(void **state)
{
    (void)state;
    const double bad[][2] = {{5, 5}, {7, 5}, {5, 0}, {0, (double)INFINITY}, {(double)NAN, 5}};
    aaclip_detector_options options = windowed_options();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        aaclip_detector *detector = NULL;
        options.window_low = bad[i][0];
        options.window_high = bad[i][1];
        must_fail(
            aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, &options),
            AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_detector_options.window_low: expected two");
    }
    options.window_low = -5; /* as in aaclip_image_window */
    options.window_high = 0;
    aaclip_detector *detector = make(&options);
    aaclip_detector_close(&detector);
}

typedef struct journal {
    int warnings;
    char last[512];
} journal;

static void record(aaclip_log_level level, const char *message, void *user)
{
    journal *own = user;
    own->warnings += level == AACLIP_LOG_WARNING;
    snprintf(own->last, sizeof own->last, "%s", message);
}

static int warnings_of(aaclip_detector *detector, const aaclip_image_view *view)
{
    journal own = {0};
    aaclip_set_log(record, AACLIP_LOG_WARNING, &own);
    detect(detector, view, "cat");
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    if (own.warnings)
        assert_non_null(strstr(own.last, "window_low and window_high"));
    return own.warnings;
}

static void dark_views_are_told_of_once(void **state)
{
    (void)state;
    aaclip_detector_options options = windowed_options();
    options.tile = 112; /* one of which may be dark */
    aaclip_detector *plain = make_plain(options), *windowed = make(&options);
    aaclip_image_view deep = deepen(AACLIP_PIXEL_GRAY16, 12, 0, 0);
    uint16_t *pixels = (uint16_t *)deep.pixels;
    const size_t last = (size_t)deep.width * deep.height - 1;
    const uint16_t before = pixels[last];
    assert_int_equal(warnings_of(plain, &photo), 0);
    pixels[last] = 4096;
    assert_int_equal(warnings_of(plain, &deep), 0);
    pixels[last] = 4095;
    assert_int_equal(warnings_of(windowed, &deep), 0);
    assert_int_equal(warnings_of(plain, &deep), 1);
    pixels[last] = before;
    assert_int_equal(warnings_of(plain, &deep), 0);
    free(pixels);
    aaclip_detector_close(&plain);
    aaclip_detector_close(&windowed);
}

static void refuses_calibration(aaclip_detector_options options,
                                const aaclip_calibration *calibration, const char *words)
{
    aaclip_detector *detector = NULL;
    options.calibration = calibration;
    must_fail(aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, &options),
              AACLIP_ERROR_MISMATCH, words);
}

static void thresholds_belong_to_a_window(void **state)
{
    (void)state;
    aaclip_detector_options options = windowed_options();
    aaclip_calibration made, plain_made;
    must(aaclip_calibration_init(&made));
    must(aaclip_calibration_init(&plain_made));
    aaclip_detector *windowed = make(&options), *plain = make_plain(options);
    must(aaclip_detector_describe_calibration(windowed, "cat", &made));
    must(aaclip_detector_describe_calibration(plain, "cat", &plain_made));
    assert_true(made.window_low == LOW && made.window_high == HIGH);
    assert_true(plain_made.window_low == 0 && plain_made.window_high == 0);
    must(aaclip_detector_check_calibration(windowed, "cat", &made));
    must(aaclip_detector_check_calibration(plain, "cat", &plain_made));
    must_fail(aaclip_detector_check_calibration(plain, "cat", &made), AACLIP_ERROR_MISMATCH,
              "window_low: expected the detector's window, none, found 100 to 4000");
    must_fail(aaclip_detector_check_calibration(windowed, "cat", &plain_made),
              AACLIP_ERROR_MISMATCH,
              "window_low: expected the detector's window, 100 to 4000, found none");
    aaclip_detector_close(&windowed);
    aaclip_detector_close(&plain);
    options.window_high = 4095;
    refuses_calibration(options, &made, "100 to 4095, found 100 to 4000");
    options.window_high = HIGH;
    options.window_low = 0;
    refuses_calibration(options, &made, "0 to 4000, found 100 to 4000");
    made.image_size = 0; /* then nothing is known */
    options.calibration = &made;
    aaclip_detector *detector = make(&options);
    aaclip_detector_close(&detector);
}

static int open_shared(void **state)
{
    (void)state;
    fixture_open(&shared, NULL, 2);
    photo = aaclip_image_get_view(shared.image);
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    fixture_close(&shared);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_are_those_of_the_window),
        cmocka_unit_test(tiles_and_regions_are_too),
        cmocka_unit_test(batches_are_too),
        cmocka_unit_test(impossible_windows_are_refused),
        cmocka_unit_test(dark_views_are_told_of_once),
        cmocka_unit_test(thresholds_belong_to_a_window),
    };
    return cmocka_run_group_tests_name("window", tests, open_shared, close_shared);
}
