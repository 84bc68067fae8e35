/* Written files, read back by libpng and compared with NumPy's; colours; no partial files. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#ifdef AAC_HAVE_PNG
#include <png.h>
#endif

#include <aaclip/image.h>

#include "golden.h"
#include "core/platform.h"
#include "system.h"

enum { PNG, PNG16, NPY, KINDS };
#ifdef AAC_HAVE_PNG
enum { FIRST_KIND = PNG };
#else
enum { FIRST_KIND = NPY };
#endif

static char *folder, target[400];

static int make_folder(void **state)
{
    (void)state;
    folder = system_temporary_folder("aaclip-write");
    return folder ? snprintf(target, sizeof target, "%s/file", folder) < 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    remove(target);
    int left = (int)system_count_files(folder);
    int failed = system_remove(folder);
    free(folder);
    return failed ? failed : left;
}

static size_t files_in_folder(void)
{
    return system_count_files(folder);
}

#ifdef AAC_HAVE_PNG
/* The rows of a PNG as they are stored, one after the other. */
static void expect_png(int depth, int colour_type, uint32_t width, uint32_t height,
                       const uint8_t *expected)
{
    FILE *file = fopen(target, "rb");
    assert_non_null(file);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    if (setjmp(png_jmpbuf(png)))
        fail_msg("libpng refuses the file");
    png_init_io(png, file);
    png_read_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    assert_int_equal(png_get_bit_depth(png, info), depth);
    assert_int_equal(png_get_color_type(png, info), colour_type);
    assert_int_equal(png_get_image_width(png, info), width);
    assert_int_equal(png_get_image_height(png, info), height);
    size_t row = png_get_rowbytes(png, info);
    for (uint32_t y = 0; y < height; y++)
        assert_memory_equal(png_get_rows(png, info)[y], expected + y * row, row);
    png_destroy_read_struct(&png, &info, NULL);
    fclose(file);
}

static void png_holds_the_pixels(void **state)
{
    (void)state;
    uint8_t pixels[17 * 6 * 3];
    fill_noise(pixels, sizeof pixels, 9);
    aaclip_image_view view = {pixels, 17, 6, 0, AACLIP_PIXEL_RGB8};
    assert_int_equal(aaclip_write_png(target, &view), AACLIP_OK);
    expect_png(8, PNG_COLOR_TYPE_RGB, 17, 6, pixels);
    view.format = AACLIP_PIXEL_GRAY8; /* replaces the file that is there */
    assert_int_equal(aaclip_write_png(target, &view), AACLIP_OK);
    expect_png(8, PNG_COLOR_TYPE_GRAY, 17, 6, pixels);
    const uint8_t bgra[8] = {1, 2, 3, 0, 4, 5, 6, 255}, rgb[6] = {3, 2, 1, 6, 5, 4};
    view = (aaclip_image_view){bgra, 1, 2, 4, AACLIP_PIXEL_BGRA8};
    assert_int_equal(aaclip_write_png(target, &view), AACLIP_OK);
    expect_png(8, PNG_COLOR_TYPE_RGB, 1, 2, rgb);
}

static void png16_holds_the_values(void **state)
{
    (void)state;
    const float values[8] = {0, 1, 0.5f, -3, 7, NAN, 1.0f / 65535, 1.49f / 65535};
    const uint8_t expected[16] = {0, 0, 255, 255, 128, 0, 0, 0, 255, 255, 0, 0, 0, 1, 0, 1};
    assert_int_equal(aaclip_write_png16(target, values, 4, 2), AACLIP_OK);
    expect_png(16, PNG_COLOR_TYPE_GRAY, 4, 2, expected);
}

static void count_warning(aaclip_log_level level, const char *message, void *user)
{
    if (level == AACLIP_LOG_WARNING && strstr(message, target))
        ++*(int *)user;
}

/* Of a grey picture of 100 x 3 pixels, of which `bright` are from `least` on, above 255. */
static int warnings_of(size_t bright, uint32_t least, uint32_t step)
{
    float values[300];
    for (size_t i = 0; i < 300; i++)
        values[i] = (float)(i < bright ? least + step * i : 200) / 65535;
    int count = 0;
    assert_int_equal(aaclip_write_png16(target, values, 100, 3), AACLIP_OK);
    aaclip_set_log(count_warning, AACLIP_LOG_WARNING, &count);
    aaclip_image *image;
    assert_int_equal(aaclip_image_open(&image, target), AACLIP_OK);
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    const uint8_t *rgb = aaclip_image_get_view(image).pixels;
    for (size_t i = 0; i < 900; i++)
        assert_int_equal(rgb[i], i / 3 < bright && least > 255 ? 255 : 200);
    aaclip_image_close(&image);
    return count;
}

static void grey_levels_that_are_cut_off_are_told(void **state)
{
    (void)state;
    assert_int_equal(warnings_of(4, 300, 100), 1);
    assert_int_equal(warnings_of(300, 256, 1), 1);
    assert_int_equal(warnings_of(3, 300, 100), 0);   /* not more than one in a hundred */
    assert_int_equal(warnings_of(150, 65535, 0), 0); /* a mask loses nothing */
    assert_int_equal(warnings_of(300, 200, 0), 0);
}

#else

static void grey_levels_that_are_cut_off_are_told(void **state)
{
    (void)state;
    skip();
}

static void expect_refusal(aaclip_status status)
{
    assert_int_equal(status, AACLIP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(aaclip_last_error(), target));
    assert_non_null(strstr(aaclip_last_error(), "PNG: not supported by this build"));
    assert_int_equal(files_in_folder(), 0);
}

static void png_holds_the_pixels(void **state)
{
    (void)state;
    const aaclip_image_view view = {"rgb", 1, 1, 0, AACLIP_PIXEL_RGB8};
    expect_refusal(aaclip_write_png(target, &view));
    skip(); /* the pixels, in a build without PNG */
}

static void png16_holds_the_values(void **state)
{
    (void)state;
    expect_refusal(aaclip_write_png16(target, &(float){0}, 1, 1));
    skip();
}
#endif

static void expect_npy(const char *name, const size_t *shape, unsigned rank)
{
    float values[12];
    for (int i = 0; i < 12; i++)
        values[i] = (float)i / 8;
    assert_int_equal(aaclip_write_npy(target, values, shape, rank), AACLIP_OK);
    size_t size;
    uint8_t *expected = golden_bytes(name, &size);
    aac_mapping written;
    assert_int_equal(aac_map_file(&written, target), AACLIP_OK);
    assert_int_equal(written.size, size);
    assert_memory_equal(written.data, expected, size);
    aac_unmap_file(&written);
    free(expected);
}

static void npy_equals_numpy(void **state)
{
    (void)state;
    expect_npy("rank1.npy", (const size_t[]){5}, 1);
    expect_npy("rank2.npy", (const size_t[]){3, 4}, 2);
    expect_npy("rank4.npy", (const size_t[]){2, 1, 3, 2}, 4);
    const size_t empty[8] = {SIZE_MAX, SIZE_MAX, 0, SIZE_MAX, 1, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    assert_int_equal(aaclip_write_npy(target, NULL, empty, 8), AACLIP_ERROR_INVALID_ARGUMENT);
    const size_t longest[8] = {0,        SIZE_MAX, SIZE_MAX, SIZE_MAX,
                               SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    assert_int_equal(aaclip_write_npy(target, NULL, longest, 8), AACLIP_OK);
    aac_mapping written;
    assert_int_equal(aac_map_file(&written, target), AACLIP_OK);
    assert_int_equal(written.size % 64, 0);
    assert_int_equal(written.data[8] + 256 * written.data[9] + 10, written.size);
    assert_int_equal(written.data[written.size - 1], '\n');
    aac_unmap_file(&written);
}

static void colours_follow_the_scale(void **state)
{
    (void)state;
    const float values[] = {0, 0.25f, 0.5f, 0.75f, 1, 0.125f, 0.875f, -1, 2, NAN, INFINITY};
    const uint8_t expected[][3] = {{0, 0, 255}, {0, 255, 255}, {0, 255, 0},   {255, 255, 0},
                                   {255, 0, 0}, {0, 128, 255}, {255, 128, 0}, {0, 0, 255},
                                   {255, 0, 0}, {0, 0, 255},   {255, 0, 0}};
    uint8_t rgb[sizeof values / sizeof *values * 3];
    aaclip_colour_map(values, sizeof values / sizeof *values, rgb);
    assert_memory_equal(rgb, expected, sizeof expected);
}

static void overlay_blends(void **state)
{
    (void)state;
    const uint8_t gray[4] = {0, 100, 0, 200}; /* rows of one pixel, padded */
    const float values[2] = {1, 0};
    uint8_t rgb[6];
    aaclip_image_view view = {gray + 1, 1, 2, 2, AACLIP_PIXEL_GRAY8};
    assert_int_equal(aaclip_overlay(&view, values, 0, rgb), AACLIP_OK);
    assert_memory_equal(rgb, ((const uint8_t[]){100, 100, 100, 200, 200, 200}), 6);
    assert_int_equal(aaclip_overlay(&view, values, 1, rgb), AACLIP_OK);
    assert_memory_equal(rgb, ((const uint8_t[]){255, 0, 0, 0, 0, 255}), 6);
    assert_int_equal(aaclip_overlay(&view, values, 0.4f, rgb), AACLIP_OK);
    assert_memory_equal(rgb, ((const uint8_t[]){162, 60, 60, 120, 120, 222}), 6);
    assert_int_equal(aaclip_overlay(&view, values, 1.1f, rgb), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_overlay(&view, values, NAN, rgb), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_overlay(&view, NULL, 1, rgb), AACLIP_ERROR_INVALID_ARGUMENT);
}

static void wrong_arguments_leave_no_file(void **state)
{
    (void)state;
    remove(target);
    const float value = 0;
    const size_t one = 1;
    const aaclip_image_view none = {0};
    assert_int_equal(aaclip_write_png(target, &none), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_write_png(NULL, &none), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_write_png16(target, &value, 0, 1), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_write_png16(target, NULL, 1, 1), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_write_npy(target, &value, &one, 0), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_write_npy(target, &value, &one, 9), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_write_npy(target, NULL, &one, 1), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(files_in_folder(), 0);
}

static aaclip_status write_kind(int kind, const char *path)
{
    static float values[300 * 300];
    const size_t shape[] = {300, 300};
    fill_noise((uint8_t *)values, sizeof values, 4);
    const aaclip_image_view view = {values, 300, 300, 0, AACLIP_PIXEL_RGB8};
    return kind == PNG     ? aaclip_write_png(path, &view)
           : kind == PNG16 ? aaclip_write_png16(path, values, 300, 300)
                           : aaclip_write_npy(path, values, shape, 2);
}

static void unwritable_outputs_leave_nothing(void **state)
{
    (void)state;
    char missing[400];
    snprintf(missing, sizeof missing, "%s/no/file", folder);
    remove(target);
    for (int kind = FIRST_KIND; kind < KINDS; kind++) {
        assert_int_equal(write_kind(kind, missing), AACLIP_ERROR_IO);
        assert_non_null(strstr(aaclip_last_error(), missing));
        assert_int_equal(write_kind(kind, folder), AACLIP_ERROR_IO);
        assert_int_equal(files_in_folder(), 0);
    }
}

static void a_disk_that_fills_up_is_told(void **state)
{
    (void)state;
    if (!system_is_posix())
        skip();
    remove(target);
    for (int kind = FIRST_KIND; kind < KINDS; kind++) {
        assert_int_equal(system_limit_files(20000), 0);
        aaclip_status status = write_kind(kind, target);
        assert_int_equal(system_limit_files(0), 0);
        assert_int_equal(status, AACLIP_ERROR_IO);
        assert_non_null(strstr(aaclip_last_error(), target));
        assert_int_equal(files_in_folder(), 0);
    }
}

static void allocations_may_fail(void **state)
{
    (void)state;
    remove(target);
    for (int kind = FIRST_KIND; kind < KINDS; kind++) {
        long n = 0;
        for (int refused = 1; refused; n++) {
            fail_allocations_after(n);
            aaclip_status status = write_kind(kind, target);
            refused = stop_failing_allocations();
            assert_int_equal(status, refused ? AACLIP_ERROR_OUT_OF_MEMORY : AACLIP_OK);
            assert_int_equal(files_in_folder(), refused ? 0 : 1);
        }
        assert_true(n > 2);
        remove(target);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_holds_the_pixels),
        cmocka_unit_test(png16_holds_the_values),
        cmocka_unit_test(grey_levels_that_are_cut_off_are_told),
        cmocka_unit_test(npy_equals_numpy),
        cmocka_unit_test(colours_follow_the_scale),
        cmocka_unit_test(overlay_blends),
        cmocka_unit_test(wrong_arguments_leave_no_file),
        cmocka_unit_test(unwritable_outputs_leave_nothing),
        cmocka_unit_test(a_disk_that_fills_up_is_told),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests_name("write", tests, make_folder, remove_folder);
}
