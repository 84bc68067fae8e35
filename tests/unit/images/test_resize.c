/* Bicubic and nearest resizing against Pillow; pixel formats; the resize of maps against PyTorch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <aaclip/image.h>

#include "golden.h"
#include "images/resize.h"

struct sizes {
    uint32_t width, height, new_width, new_height, crc;
};

static int next_sizes(FILE *listing, struct sizes *sizes)
{
    return fscanf(listing, "%u %u %u %u %u", &sizes->width, &sizes->height, &sizes->new_width,
                  &sizes->new_height, &sizes->crc) == 5;
}

static void *make(size_t size)
{
    void *bytes = malloc(size);
    assert_non_null(bytes);
    return bytes;
}

static void bicubic_equals_pillow(void **state)
{
    (void)state;
    FILE *listing = golden_open("resized.txt");
    struct sizes s;
    uint32_t count = 0;
    for (; next_sizes(listing, &s); count++) {
        size_t in = (size_t)s.width * s.height * 3, out = (size_t)s.new_width * s.new_height * 3;
        uint8_t *pixels = make(in), *resized = make(out);
        fill_noise(pixels, in, count);
        for (size_t i = 0; count % 4 == 3 && i < in; i++)
            pixels[i] = pixels[i] < 128 ? 0 : 255;
        aaclip_image_view view = {pixels, s.width, s.height, 0, AACLIP_PIXEL_RGB8};
        assert_int_equal(aaclip_image_resize(&view, s.new_width, s.new_height, resized), AACLIP_OK);
        if (golden_crc(resized, out) != s.crc)
            fail_msg("%ux%u to %ux%u", s.width, s.height, s.new_width, s.new_height);
        free(pixels);
        free(resized);
    }
    fclose(listing);
    assert_true(count >= 200);
}

static void masks_equal_pillow(void **state)
{
    (void)state;
    FILE *listing = golden_open("masks.txt");
    struct sizes s;
    uint32_t count = 0;
    for (; next_sizes(listing, &s); count++) {
        size_t in = (size_t)s.width * s.height, out = (size_t)s.new_width * s.new_height;
        uint8_t *pixels = make(in), *resized = make(out);
        fill_noise(pixels, in, count);
        for (size_t i = 0; i < in; i++)
            pixels[i] = pixels[i] < 200 ? 0 : 255;
        aaclip_image_view view = {pixels, s.width, s.height, 0, AACLIP_PIXEL_GRAY8};
        assert_int_equal(aac_resize_mask(&view, s.new_width, s.new_height, resized), AACLIP_OK);
        if (golden_crc(resized, out) != s.crc)
            fail_msg("%ux%u to %ux%u", s.width, s.height, s.new_width, s.new_height);
        uint8_t *kept = make(out);
        assert_int_equal(
            aaclip_mask_resize(pixels, s.width, s.height, s.new_width, s.new_height, kept),
            AACLIP_OK);
        for (size_t i = 0; i < out; i++)
            assert_int_equal(kept[i], resized[i] ? 255 : 0);
        free(kept);
        free(pixels);
        free(resized);
    }
    fclose(listing);
    assert_true(count >= 200);
}

#ifdef AAC_HAVE_JPEG
static void a_photograph_equals_pillow(void **state)
{
    (void)state;
    size_t size;
    uint8_t *expected = golden_bytes("chelsea-41x41.rgb", &size), resized[41 * 41 * 3];
    assert_int_equal(size, sizeof resized);
    aaclip_image *image;
    assert_int_equal(aaclip_image_open(&image, GOLDEN_DIR "/images/chelsea.jpg"), AACLIP_OK);
    aaclip_image_view view = aaclip_image_get_view(image);
    assert_int_equal(aaclip_image_resize(&view, 41, 41, resized), AACLIP_OK);
    assert_memory_equal(resized, expected, size);
    aaclip_image_close(&image);
    free(expected);
}

#else

static void a_photograph_equals_pillow(void **state)
{
    (void)state;
    skip(); /* a build without JPEG */
}
#endif

/* Puts RGB8 pixels into another format with padded rows; what is not used is noise. */
static size_t repack(const uint8_t *rgb, uint32_t width, uint32_t height,
                     aaclip_pixel_format format, size_t stride, uint8_t *out)
{
    static const struct {
        size_t channels, red, wide;
    } kinds[] = {{3, 0, 0}, {3, 2, 0}, {4, 0, 0}, {4, 2, 0},
                 {1, 0, 0}, {1, 0, 1}, {3, 0, 1}, {3, 2, 1}};
    const size_t channels = kinds[format].channels, sample = kinds[format].wide ? 2 : 1;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (size_t c = 0; c < (channels == 1 ? 1 : 3); c++) {
                size_t at = kinds[format].red == 2 ? 2 - c : c;
                uint8_t value = rgb[(y * width + x) * 3 + c];
                uint8_t *to = out + y * stride + (x * channels + at) * sample;
                uint16_t wide = (uint16_t)(value << 8 | 0x5a);
                if (sample == 2)
                    memcpy(to, &wide, 2);
                else
                    *to = value;
            }
    return width * channels * sample;
}

static void formats_and_strides_mean_the_same(void **state)
{
    (void)state;
    enum { WIDTH = 23, HEIGHT = 9, STRIDE = WIDTH * 6 + 5 };
    uint8_t rgb[WIDTH * HEIGHT * 3], other[STRIDE * HEIGHT];
    static const uint32_t sizes[][2] = {{11, 14}, {WIDTH, HEIGHT}, {WIDTH, 4}, {30, HEIGHT}};
    for (int format = AACLIP_PIXEL_RGB8; format <= AACLIP_PIXEL_BGR16; format++) {
        fill_noise(rgb, sizeof rgb, 1);
        if (format == AACLIP_PIXEL_GRAY8 || format == AACLIP_PIXEL_GRAY16)
            for (size_t i = 0; i < sizeof rgb; i++)
                rgb[i] = rgb[i / 3 * 3];
        fill_noise(other, sizeof other, 77);
        repack(rgb, WIDTH, HEIGHT, (aaclip_pixel_format)format, STRIDE, other);
        aaclip_image_view plain = {rgb, WIDTH, HEIGHT, 0, AACLIP_PIXEL_RGB8};
        aaclip_image_view view = {other, WIDTH, HEIGHT, STRIDE, (aaclip_pixel_format)format};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            uint8_t expected[30 * 14 * 3], found[30 * 14 * 3];
            size_t size = (size_t)sizes[i][0] * sizes[i][1] * 3;
            assert_int_equal(aaclip_image_resize(&plain, sizes[i][0], sizes[i][1], expected),
                             AACLIP_OK);
            assert_int_equal(aaclip_image_resize(&view, sizes[i][0], sizes[i][1], found),
                             AACLIP_OK);
            assert_memory_equal(found, expected, size);
        }
    }
}

static void masks_count_what_is_not_black(void **state)
{
    (void)state;
    uint8_t out[3];
    const uint8_t rgb[9] = {0, 0, 4, 0, 0, 5, 0, 0, 0}; /* L of Pillow: 0, 1, 0 */
    aaclip_image_view view = {rgb, 3, 1, 0, AACLIP_PIXEL_RGB8};
    assert_int_equal(aac_resize_mask(&view, 3, 1, out), AACLIP_OK);
    assert_memory_equal(out, "\0\1\0", 3);
    const uint8_t bgra[12] = {5, 0, 0, 0, 0, 0, 0, 255, 0, 0, 1, 0}; /* alpha does not count */
    view = (aaclip_image_view){bgra, 3, 1, 0, AACLIP_PIXEL_BGRA8};
    assert_int_equal(aac_resize_mask(&view, 3, 1, out), AACLIP_OK);
    assert_memory_equal(out, "\1\0\0", 3);
    const uint16_t gray[3] = {1, 0, 256};
    view = (aaclip_image_view){gray, 3, 1, 0, AACLIP_PIXEL_GRAY16};
    assert_int_equal(aac_resize_mask(&view, 3, 1, out), AACLIP_OK);
    assert_memory_equal(out, "\1\0\1", 3);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    uint8_t pixels[12] = {0}, out[12];
    const aaclip_image_view good = {pixels, 2, 2, 0, AACLIP_PIXEL_RGB8};
    aaclip_image_view bad[] = {good, good, good, good, good, good, good};
    bad[0].pixels = NULL;
    bad[1].width = 0;
    bad[2].height = 0;
    bad[3].stride = 5;
    bad[4].format = (aaclip_pixel_format)8;
    bad[5].stride = SIZE_MAX;
    bad[6].stride = PTRDIFF_MAX - 5;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(aaclip_image_resize(&bad[i], 2, 2, out), AACLIP_ERROR_INVALID_ARGUMENT);
        assert_int_equal(aac_resize_mask(&bad[i], 2, 2, out), AACLIP_ERROR_INVALID_ARGUMENT);
    }
    static const uint32_t empty[][4] = {{0, 2, 2, 2}, {2, 0, 2, 2}, {2, 2, 0, 2}, {2, 2, 2, 0}};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(
            aaclip_mask_resize(pixels, empty[i][0], empty[i][1], empty[i][2], empty[i][3], out),
            AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_image_resize(NULL, 2, 2, out), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_image_resize(&good, 0, 2, out), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_image_resize(&good, 2, 0x80000000, out), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_image_resize(&good, 2, 2, NULL), AACLIP_ERROR_INVALID_ARGUMENT);
    float map[4] = {0};
    assert_int_equal(aaclip_map_resize(NULL, 2, 2, 2, 2, map), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_map_resize(map, 2, 0, 2, 2, map), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_map_resize(map, 2, 2, 0, 2, map), AACLIP_ERROR_INVALID_ARGUMENT);
}

/* Rows of the new width are made in bands. A single column of them is one band. */
static void bands_have_no_seams(void **state)
{
    (void)state;
    enum { WIDTH = 300, LONG = 20000, SHORT = 40 };
    uint8_t *pixels = make(2 * LONG * 3), *wide = make((size_t)WIDTH * LONG * 3);
    uint8_t *found = make(WIDTH * SHORT * 3), column[SHORT * 3];
    fill_noise(pixels, 2 * LONG * 3, 5);
    const aaclip_image_view view = {pixels, 2, LONG, 0, AACLIP_PIXEL_RGB8};
    assert_int_equal(aaclip_image_resize(&view, WIDTH, SHORT, found), AACLIP_OK);
    assert_int_equal(aaclip_image_resize(&view, WIDTH, LONG, wide), AACLIP_OK);
    for (size_t x = 0; x < WIDTH; x += 23) {
        const aaclip_image_view one = {wide + 3 * x, 1, LONG, 3 * WIDTH, AACLIP_PIXEL_RGB8};
        assert_int_equal(aaclip_image_resize(&one, 1, SHORT, column), AACLIP_OK);
        for (size_t y = 0; y < SHORT; y++)
            assert_memory_equal(found + 3 * (y * WIDTH + x), column + 3 * y, 3);
    }
    free(pixels);
    free(wide);
    free(found);
}

/* Their passes would take as long as those of a far larger image. */
static void long_narrow_images_are_refused(void **state)
{
    (void)state;
    enum { LONG = 1000000, SIDE = 512 };
    uint8_t *pixels = make(LONG), *rgb = make(SIDE * SIDE * 3), *row = make(64 * 3);
    memset(pixels, 7, LONG);
    const aaclip_image_view tall = {pixels, 1, LONG, 0, AACLIP_PIXEL_GRAY8};
    const aaclip_image_view wide = {pixels, LONG, 1, 0, AACLIP_PIXEL_GRAY8};
    assert_int_equal(aaclip_image_resize(&tall, SIDE, SIDE, rgb), AACLIP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(aaclip_last_error(), "found 512x1000000; raise the limit"));
    assert_int_equal(aaclip_image_resize(&wide, SIDE, SIDE, rgb), AACLIP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(aaclip_last_error(), "found 1000000x512; raise the limit"));
    assert_int_equal(aaclip_image_resize(&wide, 64, 1, row), AACLIP_OK);
    assert_int_equal(row[0], 7);
    assert_int_equal(row[64 * 3 - 1], 7);
    free(pixels);
    free(rgb);
    free(row);
}

static void maps_equal_pytorch(void **state)
{
    (void)state;
    FILE *file = golden_open("maps.bin");
    int32_t s[4];
    int count = 0;
    for (; fread(s, sizeof *s, 4, file) == 4; count++) {
        size_t in = (size_t)(s[0] * s[1]), out = (size_t)(s[2] * s[3]);
        float *map = make(in * sizeof *map), *expected = make(out * sizeof *expected);
        float *found = make(out * sizeof *found);
        assert_int_equal(fread(map, sizeof *map, in, file), in);
        assert_int_equal(fread(expected, sizeof *expected, out, file), out);
        assert_int_equal(aaclip_map_resize(map, (uint32_t)s[0], (uint32_t)s[1], (uint32_t)s[2],
                                           (uint32_t)s[3], found),
                         AACLIP_OK);
        for (size_t i = 0; i < out; i++)
            assert_true(fabsf(found[i] - expected[i]) <= 1e-6f);
        free(map);
        free(expected);
        free(found);
    }
    fclose(file);
    assert_int_equal(count, 7);
}

static void allocations_may_fail(void **state)
{
    (void)state;
    uint8_t pixels[20 * 10 * 3], out[7 * 5 * 3];
    float map[9] = {0}, larger[25];
    fill_noise(pixels, sizeof pixels, 3);
    aaclip_image_view view = {pixels, 20, 10, 0, AACLIP_PIXEL_RGB8};
    int calls[4] = {0};
    for (int kind = 0; kind < 4; kind++)
        for (int refused = 1; refused; calls[kind]++) {
            fail_allocations_after(calls[kind]);
            aaclip_status status = kind == 0   ? aaclip_image_resize(&view, 7, 5, out)
                                   : kind == 1 ? aac_resize_mask(&view, 7, 5, out)
                                   : kind == 2 ? aaclip_mask_resize(pixels, 20, 10, 7, 5, out)
                                               : aaclip_map_resize(map, 3, 3, 5, 5, larger);
            refused = stop_failing_allocations();
            assert_int_equal(status, refused ? AACLIP_ERROR_OUT_OF_MEMORY : AACLIP_OK);
        }
    assert_true(calls[0] > 5 && calls[1] > 2 && calls[2] > 2 && calls[3] > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bicubic_equals_pillow),
        cmocka_unit_test(masks_equal_pillow),
        cmocka_unit_test(a_photograph_equals_pillow),
        cmocka_unit_test(formats_and_strides_mean_the_same),
        cmocka_unit_test(masks_count_what_is_not_black),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(bands_have_no_seams),
        cmocka_unit_test(long_narrow_images_are_refused),
        cmocka_unit_test(maps_equal_pytorch),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}
