/* Windows of values as 8 bits, against a calculation in whole numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

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
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
