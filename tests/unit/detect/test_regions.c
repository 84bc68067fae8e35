/* Regions of maps by hand and against a simple search. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <aaclip/aaclip.h>

#include "core/memory.h"
#include "failing_allocator.h"

enum { MOST = 24, MOST_PIXELS = MOST * MOST };

typedef struct random_map {
    uint32_t width, height, min_area;
    float values[MOST_PIXELS];
    uint8_t roi[MOST_PIXELS];
    const uint8_t *used_roi;
    float threshold;
} random_map;

static void must(aaclip_status status)
{
    if (status)
        fail_msg("%s", aaclip_last_error());
}

static void refused(aaclip_status status, const char *words)
{
    assert_int_equal(status, AACLIP_ERROR_INVALID_ARGUMENT);
    if (!strstr(aaclip_last_error(), words))
        fail_msg("expected \"%s\", found \"%s\"", words, aaclip_last_error());
}

static void by_hand(void **state)
{
    (void)state;
    const float map[] = {
        0.9f, 0.1f, 0.1f, 0.1f, 0.1f, //
        0.1f, 0.5f, 0.1f, 0.1f, 0.7f, //
        0.1f, 0.1f, 0.1f, 0.8f, 0.9f, //
        0.6f, 0.4f, 0.1f, 0.1f, 0.1f, //
    };
    aaclip_region *regions;
    size_t count;
    must(aaclip_regions_find(&regions, &count, map, NULL, 5, 4, 0.5f, 0));
    assert_int_equal(count, 3);
    const aaclip_region corner = {0, 0, 2, 2, 2, 0, 0, 0.9f, (0.9f + 0.5f) / 2}; /* a diagonal */
    const aaclip_region right = {3, 1, 2, 2, 3, 4, 2, 0.9f, 0.8f};
    const aaclip_region left = {0, 3, 1, 1, 1, 0, 3, 0.6f, 0.6f};
    assert_memory_equal(&regions[0], &corner, sizeof corner);
    assert_memory_equal(&regions[1], &right, sizeof right);
    assert_memory_equal(&regions[2], &left, sizeof left);
    aaclip_regions_free(&regions);
    assert_null(regions);

    must(aaclip_regions_find(&regions, &count, map, NULL, 5, 4, 0.5f, 3));
    assert_int_equal(count, 1);
    assert_memory_equal(&regions[0], &right, sizeof right);
    aaclip_regions_free(&regions);
    must(aaclip_regions_find(&regions, &count, map, NULL, 5, 4, 0.95f, 0));
    assert_int_equal(count, 0);
    assert_null(regions);
}

static void roi_cuts_and_splits(void **state)
{
    (void)state;
    const float map[] = {1, 2, NAN, 4, 5, 3};
    const uint8_t roi[] = {1, 255, 0, 7, 1, 0}, nowhere[6] = {0};
    uint8_t mask[6];
    aaclip_region *regions;
    size_t count;
    float peak = -1;
    must(aaclip_regions_find(&regions, &count, map, roi, 6, 1, 1, 0));
    assert_int_equal(count, 2);
    const aaclip_region first = {3, 0, 2, 1, 2, 4, 0, 5, 4.5f};
    const aaclip_region second = {0, 0, 2, 1, 2, 1, 0, 2, 1.5f};
    assert_memory_equal(&regions[0], &first, sizeof first);
    assert_memory_equal(&regions[1], &second, sizeof second);
    aaclip_regions_free(&regions);
    must(aaclip_map_threshold(map, roi, 6, 1, 2, mask));
    assert_memory_equal(mask, ((uint8_t[]){0, 255, 0, 255, 255, 0}), 6);
    must(aaclip_map_peak(map, roi, 6, 1, &peak));
    assert_true(peak == 5);
    must(aaclip_regions_find(&regions, &count, map, nowhere, 6, 1, 1, 0));
    assert_int_equal(count, 0);
    refused(aaclip_map_peak(map, nowhere, 6, 1, &peak), "no pixel selected in 6x1");
    assert_true(peak == 5);
}

static void fill(random_map *random)
{
    random->width = 1 + (uint32_t)rand() % MOST;
    random->height = 1 + (uint32_t)rand() % MOST;
    random->min_area = (uint32_t)rand() % 4;
    const int levels = 2 + rand() % 30; /* few: many equal peaks */
    for (size_t i = 0; i < (size_t)random->width * random->height; i++) {
        random->values[i] = (float)(rand() % levels) - 3;
        random->roi[i] = (uint8_t)(rand() % 4);
    }
    random->threshold = (float)(rand() % levels) - 3;
    random->used_roi = rand() % 2 ? random->roi : NULL;
}

static bool counts(const random_map *random, size_t pixel)
{
    return random->values[pixel] >= random->threshold &&
           (!random->used_roi || random->used_roi[pixel]);
}

/* Spreads the least label of each neighbourhood until nothing changes. */
static void label_slowly(const random_map *random, size_t *labels)
{
    const int width = (int)random->width, height = (int)random->height;
    for (size_t i = 0; i < (size_t)(width * height); i++)
        labels[i] = counts(random, i) ? i + 1 : 0;
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < width * height; i++)
            for (int j = 0; labels[i] && j < 9; j++) {
                const int x = i % width + j % 3 - 1, y = i / width + j / 3 - 1;
                if (x < 0 || x >= width || y < 0 || y >= height || !labels[y * width + x] ||
                    labels[y * width + x] >= labels[i])
                    continue;
                labels[i] = labels[y * width + x];
                changed = true;
            }
    }
}

/* The region whose least pixel is label - 1. */
static aaclip_region measure_slowly(const random_map *random, const size_t *labels, size_t label)
{
    uint32_t left = MOST, top = MOST, right = 0, bottom = 0;
    aaclip_region region = {.peak = -INFINITY};
    double sum = 0;
    for (uint32_t y = 0; y < random->height; y++)
        for (uint32_t x = 0; x < random->width; x++) {
            const size_t pixel = (size_t)y * random->width + x;
            if (labels[pixel] != label)
                continue;
            left = x < left ? x : left;
            right = x > right ? x : right;
            top = y < top ? y : top;
            bottom = y > bottom ? y : bottom;
            sum += (double)random->values[pixel];
            region.area++;
            if (random->values[pixel] > region.peak) {
                region.peak = random->values[pixel];
                region.peak_x = x;
                region.peak_y = y;
            }
        }
    region.x = left;
    region.y = top;
    region.width = right - left + 1;
    region.height = bottom - top + 1;
    region.mean = (float)(sum / region.area);
    return region;
}

static void check_order(const aaclip_region *regions, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const aaclip_region *a = &regions[i - 1], *b = &regions[i];
        const uint32_t before = a->peak_y * MOST + a->peak_x, after = b->peak_y * MOST + b->peak_x;
        assert_true(a->peak > b->peak || (a->peak == b->peak && before < after));
    }
}

static void check_against_search(const random_map *random)
{
    size_t labels[MOST_PIXELS], count, expected = 0;
    aaclip_region *regions;
    must(aaclip_regions_find(&regions, &count, random->values, random->used_roi, random->width,
                             random->height, random->threshold, random->min_area));
    label_slowly(random, labels);
    for (size_t i = 0; i < (size_t)random->width * random->height; i++) {
        if (labels[i] != i + 1)
            continue;
        const aaclip_region region = measure_slowly(random, labels, i + 1);
        if (region.area < random->min_area)
            continue;
        size_t found = 0;
        for (size_t j = 0; j < count; j++)
            found += memcmp(&regions[j], &region, sizeof region) == 0;
        assert_int_equal(found, 1);
        expected++;
    }
    assert_int_equal(count, expected);
    check_order(regions, count);
    aaclip_regions_free(&regions);
}

static void check_mask(const random_map *random)
{
    const size_t pixels = (size_t)random->width * random->height;
    uint8_t mask[MOST_PIXELS + 1] = {0};
    mask[pixels] = 77;
    must(aaclip_map_threshold(random->values, random->used_roi, random->width, random->height,
                              random->threshold, mask));
    for (size_t i = 0; i < pixels; i++)
        assert_int_equal(mask[i], counts(random, i) ? 255 : 0);
    assert_int_equal(mask[pixels], 77);
}

static void random_maps(void **state)
{
    (void)state;
    random_map random;
    srand(7);
    for (int i = 0; i < 400; i++) {
        fill(&random);
        check_against_search(&random);
        check_mask(&random);
    }
}

/* With a region of interest, a part is defective exactly if there is a region. */
static void decisions_agree_with_regions(void **state)
{
    (void)state;
    random_map random;
    aaclip_calibration calibration;
    aaclip_region *regions;
    size_t count, defective = 0, good = 0;
    must(aaclip_calibration_init(&calibration));
    srand(8);
    for (int i = 0; i < 300; i++) {
        fill(&random);
        random.roi[0] = 1;
        calibration.map_threshold = random.threshold + 2.5f;
        bool decision;
        must(aaclip_decide(&calibration, NAN, random.values, random.roi, random.width,
                           random.height, &decision));
        must(aaclip_regions_find(&regions, &count, random.values, random.roi, random.width,
                                 random.height, calibration.map_threshold, 0));
        assert_int_equal(decision, count > 0);
        defective += decision;
        good += !decision;
        aaclip_regions_free(&regions);
    }
    assert_true(defective > 30 && good > 30);
}

static void refusals(void **state)
{
    (void)state;
    float map[] = {1, 2, NAN, 4}, peak;
    uint8_t mask[4];
    aaclip_region dummy, *regions = &dummy;
    size_t count = 9;
    refused(aaclip_regions_find(&regions, &count, map, NULL, 2, 2, 1, 0), "row 1, column 0");
    assert_null(regions);
    assert_int_equal(count, 0);
    refused(aaclip_map_peak(map, NULL, 2, 2, &peak), "found NaN");
    refused(aaclip_map_threshold(map, NULL, 2, 2, 1, mask), "found NaN");
    map[2] = 3;
    refused(aaclip_regions_find(&regions, &count, map, NULL, 2, 2, NAN, 0), "threshold");
    refused(aaclip_map_threshold(map, NULL, 2, 2, NAN, mask), "threshold");
    refused(aaclip_regions_find(&regions, &count, map, NULL, 0, 2, 1, 0), "found 0x2");
    refused(aaclip_regions_find(&regions, &count, map, NULL, UINT32_MAX, 1, 1, 0), "4294967295x1");
    refused(aaclip_regions_find(&regions, &count, map, NULL, 65536, 65536, 1, 0), "65536x65536");
    refused(aaclip_regions_find(&regions, &count, NULL, NULL, 2, 2, 1, 0), "map is NULL");
    refused(aaclip_regions_find(NULL, &count, map, NULL, 2, 2, 1, 0), "NULL");
    refused(aaclip_regions_find(&regions, NULL, map, NULL, 2, 2, 1, 0), "NULL");
    refused(aaclip_map_threshold(NULL, NULL, 2, 2, 1, mask), "map is NULL");
    refused(aaclip_map_threshold(map, NULL, 2, 2, 1, NULL), "mask is NULL");
    refused(aaclip_map_peak(NULL, NULL, 2, 2, &peak), "map is NULL");
    refused(aaclip_map_peak(map, NULL, 2, 2, NULL), "peak is NULL");
    aaclip_regions_free(NULL);
    regions = NULL;
    aaclip_regions_free(&regions);
}

static aaclip_status find_some(void *user)
{
    (void)user;
    const float map[] = {1, 0, 2, 0, 3};
    aaclip_region *regions;
    size_t count;
    aaclip_status status = aaclip_regions_find(&regions, &count, map, NULL, 5, 1, 1, 1);
    assert_int_equal(count, status ? 0 : 3);
    assert_true(status ? !regions : regions[0].peak == 3);
    aaclip_regions_free(&regions);
    return status;
}

static void out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(fail_each_allocation(find_some, NULL), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),     cmocka_unit_test(roi_cuts_and_splits),
        cmocka_unit_test(random_maps), cmocka_unit_test(decisions_agree_with_regions),
        cmocka_unit_test(refusals),    cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests_name("regions", tests, NULL, NULL);
}
