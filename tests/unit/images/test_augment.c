/* Augmentation against torchvision with given parameters; drawn parameters against the options. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/random.h"
#include "golden.h"
#include "images/augment.h"
#include "images/resize.h"

enum { LARGEST = 100 };

struct sample {
    uint8_t rgb[LARGEST * LARGEST * 3], mask[LARGEST * LARGEST];
};

/* The noise of case number `number`, augmented. */
static void augment_noise(const aac_augmentation *augmentation, uint32_t width, uint32_t height,
                          uint32_t number, uint32_t size, struct sample *out)
{
    static struct sample in;
    fill_noise(in.rgb, (size_t)width * height * 3, number);
    fill_noise(in.mask, (size_t)width * height, number + 1);
    for (size_t i = 0; i < (size_t)width * height; i++)
        in.mask[i] = in.mask[i] > 199 ? 255 : 0;
    const aaclip_image_view image = {in.rgb, width, height, 0, AACLIP_PIXEL_RGB8};
    const aaclip_image_view mask = {in.mask, width, height, 0, AACLIP_PIXEL_GRAY8};
    assert_int_equal(aac_augment_apply(augmentation, &image, &mask, size, out->rgb, out->mask),
                     AACLIP_OK);
}

static void scan_colours(FILE *file, aac_augmentation *augmentation)
{
    assert_int_equal(fscanf(file, "%u", &augmentation->colour_count), 1);
    for (unsigned i = 0; i < augmentation->colour_count; i++) {
        int kind;
        assert_int_equal(fscanf(file, "%d %f", &kind, &augmentation->colours[i].factor), 2);
        augmentation->colours[i].kind = (aac_colour_kind)kind;
    }
}

static void check_case(FILE *file, const aac_augmentation *augmentation, uint32_t width,
                       uint32_t height, uint32_t number, uint32_t size)
{
    static struct sample out;
    uint32_t rgb_crc, mask_crc;
    assert_int_equal(fscanf(file, "%u %u", &rgb_crc, &mask_crc), 2);
    augment_noise(augmentation, width, height, number, size, &out);
    if (golden_crc(out.rgb, (size_t)size * size * 3) != rgb_crc)
        fail_msg("case %u: other pixels", number);
    if (golden_crc(out.mask, (size_t)size * size) != mask_crc)
        fail_msg("case %u: another mask", number);
}

static void pillow_transforms_equal_torchvision(void **state)
{
    (void)state;
    FILE *file = golden_open("augment/pillow.txt");
    uint32_t width, height, size, number = 0;
    for (; fscanf(file, "%u %u %u", &width, &height, &size) == 3; number++) {
        aac_augmentation a = {.rotation_bits = 16};
        int flips[2];
        assert_int_equal(fscanf(file, "%u %lf %u %u %d %d", &a.resized, &a.angle, &a.crop_x,
                                &a.crop_y, &flips[0], &flips[1]),
                         6);
        a.flip_horizontal = flips[0];
        a.flip_vertical = flips[1];
        scan_colours(file, &a);
        check_case(file, &a, width, height, number, size);
    }
    fclose(file);
    assert_int_equal(number, 80);
}

static aac_augmentation published(uint32_t size)
{
    return (aac_augmentation){
        .resized = size, .rotation_bits = 32, .colour_first = true, .fill = {123, 117, 104}};
}

static void tensor_transforms_equal_torchvision(void **state)
{
    (void)state;
    FILE *file = golden_open("augment/tensor.txt");
    uint32_t width, height, size, number = 0;
    for (; fscanf(file, "%u %u %u", &width, &height, &size) == 3; number++) {
        aac_augmentation a = published(size);
        int flips[2];
        assert_int_equal(fscanf(file, "%u %lf %d %d %d %d", &a.resized, &a.angle, &a.shift_x,
                                &a.shift_y, &flips[0], &flips[1]),
                         6);
        a.flip_horizontal = flips[0];
        a.flip_vertical = flips[1];
        scan_colours(file, &a);
        check_case(file, &a, width, height, number, size);
    }
    fclose(file);
    assert_int_equal(number, 40);
}

/* How far the source of an output pixel is from the border of two pixels. */
static double distance_to_border(const aac_augmentation *a, uint32_t size, uint32_t x, uint32_t y)
{
    const double angle = a->angle * 3.14159265358979323846 / 180, half = (size - 1) / 2.0;
    const double u = (double)(a->flip_horizontal ? size - 1 - x : x) - a->shift_x - half;
    const double v = (double)(a->flip_vertical ? size - 1 - y : y) - a->shift_y - half;
    const double from_x = u * cos(angle) - v * sin(angle) + half;
    const double from_y = u * sin(angle) + v * cos(angle) + half;
    return fmin(fabs(from_x - floor(from_x) - 0.5), fabs(from_y - floor(from_y) - 0.5));
}

/* Equal but where float32 cannot tell which of two pixels is nearer. */
static void tensor_rotation_equals_torchvision(void **state)
{
    (void)state;
    FILE *file = golden_open("augment/rotated.bin");
    static struct sample expected, found;
    int32_t n[7];
    double angle;
    uint32_t number = 0, pixels = 0, different = 0;
    for (; fread(n, sizeof *n, 7, file) == 7; number++) {
        assert_int_equal(fread(&angle, sizeof angle, 1, file), 1);
        const uint32_t size = (uint32_t)n[2], count = size * size;
        assert_int_equal(fread(expected.rgb, 3, count, file), count);
        assert_int_equal(fread(expected.mask, 1, count, file), count);
        aac_augmentation a = published(size);
        a.angle = angle;
        a.shift_x = n[3];
        a.shift_y = n[4];
        a.flip_horizontal = n[5];
        a.flip_vertical = n[6];
        augment_noise(&a, (uint32_t)n[0], (uint32_t)n[1], number, size, &found);
        for (uint32_t i = 0; i < count; i++)
            if (memcmp(found.rgb + 3 * i, expected.rgb + 3 * i, 3) != 0 ||
                found.mask[i] != expected.mask[i]) {
                different++;
                assert_true(distance_to_border(&a, size, i % size, i / size) < 1e-4);
            }
        pixels += count;
    }
    fclose(file);
    assert_int_equal(number, 8);
    assert_true(different <= pixels / 1000);
}

static void nothing_drawn_is_a_resize(void **state)
{
    (void)state;
    enum { WIDTH = 33, HEIGHT = 21, SIZE = 28 };
    static struct sample out;
    uint8_t noise[WIDTH * HEIGHT * 3], rgb[SIZE * SIZE * 3], mask[SIZE * SIZE];
    augment_noise(&(aac_augmentation){.resized = SIZE}, WIDTH, HEIGHT, 9, SIZE, &out);
    fill_noise(noise, sizeof noise, 9);
    const aaclip_image_view image = {noise, WIDTH, HEIGHT, 0, AACLIP_PIXEL_RGB8};
    assert_int_equal(aaclip_image_resize(&image, SIZE, SIZE, rgb), AACLIP_OK);
    assert_memory_equal(out.rgb, rgb, sizeof rgb);
    memset(mask, 1, sizeof mask);
    assert_int_equal(
        aac_augment_apply(&(aac_augmentation){.resized = SIZE}, &image, NULL, SIZE, rgb, mask),
        AACLIP_OK);
    for (size_t i = 0; i < sizeof mask; i++)
        assert_int_equal(mask[i], 0);
    aaclip_image_view bad = image;
    bad.width = 0;
    assert_int_equal(
        aac_augment_apply(&(aac_augmentation){.resized = SIZE}, &bad, NULL, SIZE, rgb, mask),
        AACLIP_ERROR_INVALID_ARGUMENT);
}

static aac_augment_options options_of(aaclip_profile profile, int stage)
{
    aaclip_config config;
    aac_augment_options options;
    assert_int_equal(aaclip_config_init(&config, profile), AACLIP_OK);
    aac_augment_options_init(&options, &config, stage);
    assert_int_equal(aac_augment_options_check(&options), AACLIP_OK);
    return options;
}

static void about(double found, double expected, double deviation)
{
    if (!(fabs(found - expected) <= 5 * deviation))
        fail_msg("expected %g, found %g", expected, found);
}

static void share(size_t count, size_t of, double probability)
{
    about((double)count / (double)of, probability,
          sqrt(probability * (1 - probability) / (double)of));
}

enum { DRAWS = 20000, SIDE = 518 };

static void the_document_draws_what_it_says(void **state)
{
    (void)state;
    const aac_augment_options options = options_of(AACLIP_PROFILE_DOCUMENT, 2);
    size_t jitters = 0, flips = 0, first[3] = {0}, crops[2] = {0};
    double lowest = 10, highest = 0, angle = 0, angles = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        aac_random random;
        aac_random_seed(&random, 1, i);
        aac_augmentation a = aac_augment_draw(&options, SIDE, &random);
        assert_int_equal(a.resized, 592);
        assert_int_equal(a.rotation_bits, 16);
        assert_false(a.colour_first || a.flip_vertical || a.shift_x || a.shift_y);
        assert_true(a.crop_x <= 74 && a.crop_y <= 74 && fabs(a.angle) <= 5);
        crops[0] += a.crop_x == 0;
        crops[1] += a.crop_x == 74;
        angle += a.angle;
        angles += a.angle * a.angle;
        flips += a.flip_horizontal;
        jitters += a.colour_count == 3;
        assert_true(a.colour_count == 0 || a.colour_count == 3);
        for (unsigned c = 0; c < a.colour_count; c++) {
            lowest = fmin(lowest, a.colours[c].factor);
            highest = fmax(highest, a.colours[c].factor);
        }
        if (a.colour_count) {
            first[a.colours[0].kind]++;
            assert_int_equal(a.colours[0].kind + a.colours[1].kind + a.colours[2].kind, 3);
        }
    }
    share(flips, DRAWS, 0.5);
    share(jitters, DRAWS, 0.7);
    for (int i = 0; i < 3; i++)
        share(first[i], jitters, 1.0 / 3);
    share(crops[0], DRAWS, 1.0 / 75);
    share(crops[1], DRAWS, 1.0 / 75);
    about(angle / DRAWS, 0, 5 / sqrt(3.0 * DRAWS));
    about(angles / DRAWS, 25.0 / 3, 25 * sqrt(4.0 / 45 / DRAWS));
    assert_true(lowest >= 0.8f && lowest < 0.801 && highest <= 1.2f && highest > 1.199);
}

static void the_release_draws_what_it_says(void **state)
{
    (void)state;
    const aac_augment_options options = options_of(AACLIP_PROFILE_PUBLISHED, 2);
    assert_memory_equal(options.fill, ((uint8_t[]){123, 117, 104}), 3);
    size_t turns = 0, shifts = 0, flips[2] = {0}, colours[3] = {0};
    double lowest = 10, highest = 0, widest = 0;
    int32_t farthest = 0, nearest = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        aac_random random;
        aac_random_seed(&random, 2, i);
        aac_augmentation a = aac_augment_draw(&options, SIDE, &random);
        assert_true(a.resized == SIDE && !a.crop_x && !a.crop_y && a.colour_first);
        turns += a.angle != 0;
        shifts += a.shift_x || a.shift_y;
        widest = fmax(widest, fabs(a.angle));
        farthest = a.shift_x > farthest ? a.shift_x : farthest;
        nearest = a.shift_y < nearest ? a.shift_y : nearest;
        flips[0] += a.flip_horizontal;
        flips[1] += a.flip_vertical;
        for (unsigned c = 0; c < a.colour_count; c++) {
            colours[a.colours[c].kind]++;
            assert_true(!c || a.colours[c].kind > a.colours[c - 1].kind);
            lowest = fmin(lowest, a.colours[c].factor);
            highest = fmax(highest, a.colours[c].factor);
        }
    }
    share(turns, DRAWS, 0.5);
    share(shifts, DRAWS, 0.5);
    share(flips[0], DRAWS, 0.5);
    share(flips[1], DRAWS, 0.5);
    for (int i = 0; i < 3; i++)
        share(colours[i], DRAWS, 0.7);
    assert_true(widest <= 30 && widest > 29.9);
    assert_int_equal(farthest, 78); /* .15 * 518 = 77.7 */
    assert_int_equal(nearest, -78);
    assert_true(lowest >= 0.5 && lowest < 0.501 && highest <= 1.5 && highest > 1.499);
}

static void the_first_stage_keeps_colours(void **state)
{
    (void)state;
    for (int profile = 0; profile < 2; profile++) {
        const aac_augment_options options = options_of((aaclip_profile)profile, 1);
        for (size_t i = 0; i < 1000; i++) {
            aac_random random;
            aac_random_seed(&random, 3, i);
            assert_int_equal(aac_augment_draw(&options, SIDE, &random).colour_count, 0);
        }
    }
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    aac_augment_options options = options_of(AACLIP_PROFILE_DOCUMENT, 2);
    options.horizontal_flip = 1.5;
    assert_int_equal(aac_augment_options_check(&options), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_string_equal(aaclip_last_error(),
                        "augmentation: horizontal flip: expected 0 to 1, found 1.5");
    options = options_of(AACLIP_PROFILE_PUBLISHED, 1);
    options.rotation = NAN;
    assert_int_equal(aac_augment_options_check(&options), AACLIP_ERROR_INVALID_ARGUMENT);
}

static void allocations_may_fail(void **state)
{
    (void)state;
    uint8_t pixels[20 * 10 * 3], rgb[14 * 14 * 3], mask[14 * 14];
    fill_noise(pixels, sizeof pixels, 3);
    const aaclip_image_view image = {pixels, 20, 10, 0, AACLIP_PIXEL_RGB8};
    const aaclip_image_view grey = {pixels, 20, 10, 0, AACLIP_PIXEL_GRAY8};
    const aac_augmentation augmentation = {
        .resized = 16, .colour_first = true, .colours = {{0, 0.5f}}, .colour_count = 1};
    int calls = 0;
    for (int refused = 1; refused; calls++) {
        fail_allocations_after(calls);
        aaclip_status status = aac_augment_apply(&augmentation, &image, &grey, 14, rgb, mask);
        refused = stop_failing_allocations();
        assert_int_equal(status, refused ? AACLIP_ERROR_OUT_OF_MEMORY : AACLIP_OK);
    }
    assert_true(calls > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pillow_transforms_equal_torchvision),
        cmocka_unit_test(tensor_transforms_equal_torchvision),
        cmocka_unit_test(tensor_rotation_equals_torchvision),
        cmocka_unit_test(nothing_drawn_is_a_resize),
        cmocka_unit_test(the_document_draws_what_it_says),
        cmocka_unit_test(the_release_draws_what_it_says),
        cmocka_unit_test(the_first_stage_keeps_colours),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests_name("augment", tests, NULL, NULL);
}
