/* Windows of values to 8 bits, against integer arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>
#ifdef AAC_HAVE_PNG
#include <png.h>
#endif

#include <aaclip/cancel.h>
#include <aaclip/image.h>

static void values_are_spread_clipped_and_rounded(void **state)
{
    (void)state;
    static uint16_t grey[65536];
    static uint8_t rgb[3 * 65536];
    for (uint32_t i = 0; i < 65536; i++)
        grey[i] = (uint16_t)i;
    const aaclip_image_view view = {grey, 256, 256, 0, AACLIP_PIXEL_GRAY16};
    const uint32_t windows[][2] = {{0, 4095}, {0, 65535}, {1000, 1001}, {300, 777}, {0, 255}};
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
        const uint32_t low = windows[w][0], high = windows[w][1], width = high - low;
        assert_int_equal(aaclip_image_window(&view, low, high, rgb), AACLIP_OK);
        for (uint32_t i = 0; i < 65536; i++) {
            const uint32_t above = i < low ? 0 : i > high ? width : i - low;
            const uint32_t expected = (2 * 255 * above + width) / (2 * width);
            for (uint32_t c = 0; c < 3; c++)
                assert_int_equal(rgb[3 * i + c], expected);
        }
    }
}

/* The same three colours, in every layout and with padding. */
static void formats_and_strides_mean_the_same(void **state)
{
    (void)state;
    const uint16_t rgb16[] = {100, 2000, 4095, 0, 50, 8, 7, 6, 9999}, bgr16[] = {4095, 2000, 100};
    const uint8_t rgba[] = {10, 20, 30, 99}, bgr[] = {30, 20, 10}, grey[] = {20};
    const struct {
        aaclip_image_view view;
        double high;
        uint8_t expected[3];
    } cases[] = {
        {{rgb16, 1, 1, 0, AACLIP_PIXEL_RGB16}, 4095, {6, 125, 255}},
        {{bgr16, 1, 1, 0, AACLIP_PIXEL_BGR16}, 4095, {6, 125, 255}},
        {{rgba, 1, 1, 0, AACLIP_PIXEL_RGBA8}, 30, {85, 170, 255}},
        {{bgr, 1, 1, 0, AACLIP_PIXEL_BGR8}, 30, {85, 170, 255}},
        {{grey, 1, 1, 0, AACLIP_PIXEL_GRAY8}, 25.5, {200, 200, 200}},
    };
    uint8_t found[6];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(aaclip_image_window(&cases[i].view, 0, cases[i].high, found), AACLIP_OK);
        assert_memory_equal(found, cases[i].expected, 3);
    }
    const aaclip_image_view padded = {rgb16, 1, 2, 12, AACLIP_PIXEL_RGB16};
    const uint8_t expected[6] = {3, 51, 104, 0, 0, 255};
    assert_int_equal(aaclip_image_window(&padded, 0, 10000, found), AACLIP_OK);
    assert_memory_equal(found, expected, sizeof expected);
}

#ifdef AAC_HAVE_PNG
/* Samples of 16 bits as libpng has them, without alpha; `channels` 1 or 3. */
static uint16_t *read_samples(const char *path, uint32_t *width, uint32_t *height, int *channels)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_read_png(png, info, PNG_TRANSFORM_STRIP_ALPHA, NULL);
    *width = png_get_image_width(png, info);
    *height = png_get_image_height(png, info);
    *channels = png_get_channels(png, info);
    assert_int_equal(png_get_bit_depth(png, info), 16);
    const size_t row = (size_t)*width * (size_t)*channels;
    uint16_t *samples = malloc(*height * row * sizeof *samples);
    for (size_t y = 0; y < *height; y++)
        for (size_t i = 0; i < row; i++) {
            const uint8_t *bytes = png_get_rows(png, info)[y] + 2 * i;
            samples[y * row + i] = (uint16_t)(bytes[0] << 8 | bytes[1]);
        }
    png_destroy_read_struct(&png, &info, NULL);
    fclose(file);
    return samples;
}

/* The same file from memory, in the same window. */
static void check_decoded(const char *path, const uint8_t *expected, size_t bytes)
{
    static char data[1 << 20];
    aaclip_image *image = NULL;
    FILE *file = fopen(path, "rb");
    const size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    assert_int_equal(aaclip_image_decode_window(&image, data, size, "scan", 1000, 50000),
                     AACLIP_OK);
    assert_memory_equal(aaclip_image_get_view(image).pixels, expected, bytes);
    aaclip_image_close(&image);
}

static void files_of_16_bits(void **state)
{
    (void)state;
    static const char *const names[] = {
        "grey16",       "grey16-interlaced",       "grey16-transparent",
        "grey-alpha16", "grey-alpha16-interlaced", "rgb16",
        "rgba16",       "rgb16-interlaced",        "rgba16-interlaced"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[1024];
        aaclip_image *image = NULL;
        aaclip_image_view view = {0};
        int channels;
        snprintf(path, sizeof path, GOLDEN_DIR "/images/%s.png", names[i]);
        uint16_t *samples = read_samples(path, &view.width, &view.height, &channels);
        view.pixels = samples;
        view.format = channels == 1 ? AACLIP_PIXEL_GRAY16 : AACLIP_PIXEL_RGB16;
        const size_t bytes = (size_t)view.width * view.height * 3;
        uint8_t *expected = malloc(bytes);
        assert_int_equal(aaclip_image_window(&view, 1000, 50000, expected), AACLIP_OK);
        assert_int_equal(aaclip_image_open_window(&image, path, 1000, 50000), AACLIP_OK);
        const aaclip_image_view found = aaclip_image_get_view(image);
        assert_int_equal(found.width, view.width);
        assert_int_equal(found.height, view.height);
        assert_memory_equal(found.pixels, expected, bytes);
        check_decoded(path, expected, bytes);
        aaclip_image_close(&image);
        free(expected);
        free(samples);
    }
}

static void files_of_8_bits_are_read_as_ever(void **state)
{
    (void)state;
    static const char *const paths[] = {GOLDEN_DIR "/images/chelsea.png",
                                        GOLDEN_DIR "/images/bits16.bmp"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        aaclip_image *plain = NULL, *windowed = NULL;
        assert_int_equal(aaclip_image_open(&plain, paths[i]), AACLIP_OK);
        assert_int_equal(aaclip_image_open_window(&windowed, paths[i], 0, 4095), AACLIP_OK);
        const aaclip_image_view a = aaclip_image_get_view(plain);
        const aaclip_image_view b = aaclip_image_get_view(windowed);
        assert_int_equal(a.width, b.width);
        assert_memory_equal(a.pixels, b.pixels, (size_t)a.width * a.height * 3);
        aaclip_image_close(&plain);
        aaclip_image_close(&windowed);
    }
    aaclip_image *image = (aaclip_image *)state;
    assert_int_equal(aaclip_image_open_window(&image, paths[0], 5, 5),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_null(image);
    assert_int_equal(aaclip_image_open_window(&image, NULL, 0, 5), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_image_open_window(NULL, paths[0], 0, 5), AACLIP_ERROR_INVALID_ARGUMENT);
}
#endif

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    uint8_t rgb[3];
    const aaclip_image_view good = {"\x80", 1, 1, 0, AACLIP_PIXEL_GRAY8};
    aaclip_image_view bad = good;
    bad.stride = 1;
    bad.width = 2;
    const double windows[][2] = {{1, 1}, {2, 1}, {NAN, 1}, {0, INFINITY}, {-1e308, 1e308}};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        assert_int_equal(aaclip_image_window(&good, windows[i][0], windows[i][1], rgb),
                         AACLIP_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(aaclip_last_error(), "the smaller first"));
    }
    assert_int_equal(aaclip_image_window(&bad, 0, 1, rgb), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_image_window(NULL, 0, 1, rgb), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_image_window(&good, 0, 1, NULL), AACLIP_ERROR_INVALID_ARGUMENT);
    volatile int flag = 1;
    aaclip_watch_cancel(&flag);
    assert_int_equal(aaclip_image_window(&good, 0, 255, rgb), AACLIP_ERROR_CANCELLED);
    aaclip_watch_cancel(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_spread_clipped_and_rounded),
        cmocka_unit_test(formats_and_strides_mean_the_same),
#ifdef AAC_HAVE_PNG
        cmocka_unit_test(files_of_16_bits),
        cmocka_unit_test(files_of_8_bits_are_read_as_ever),
#endif
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
