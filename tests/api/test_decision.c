/* Decisions and regions of a detector against the functions that compute them from its map. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fixture.h"
#include "scratch.h"

static fixture shared;
static aaclip_image_view photo;

static aaclip_detector_options plain_options(void)
{
    aaclip_detector_options options;
    must(aaclip_detector_options_init(&options));
    options.image_size = IMAGE_SIZE;
    return options;
}

static aaclip_detector *make(const aaclip_detector_options *options)
{
    aaclip_detector *detector = NULL;
    must(aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, options));
    return detector;
}

/* The map at the size of the photograph; the caller frees it. */
static float *photo_map(const aaclip_result *result, const aaclip_image_view *image)
{
    const size_t pixels = (size_t)image->width * image->height;
    float *map = malloc(pixels * sizeof *map);
    must(aaclip_map_resize(result->map, result->map_width, result->map_height, image->width,
                           image->height, map));
    aaclip_map_probability(map, pixels, result->level_count, map);
    return map;
}

static int compare_floats(const void *left, const void *right)
{
    const float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

/* Thresholds that this picture does not reach in most pixels, but in some. */
static aaclip_calibration calibrate(aaclip_detector_options options)
{
    aaclip_calibration calibration;
    must(aaclip_calibration_init(&calibration));
    options.calibration = NULL;
    options.find_regions = false;
    aaclip_detector *detector = make(&options);
    const aaclip_result result = detect(detector, &photo, "cat");
    float *map = photo_map(&result, &photo);
    const size_t pixels = (size_t)photo.width * photo.height;
    qsort(map, pixels, sizeof *map, compare_floats);
    calibration.image_threshold = result.score;
    calibration.map_threshold = map[pixels * 9 / 10];
    free(map);
    aaclip_detector_close(&detector);
    return calibration;
}

/* `roi` has the size of the image. */
static void compare(const aaclip_result *found, const aaclip_image_view *image,
                    const aaclip_detector_options *options, const uint8_t *roi)
{
    aaclip_region *regions;
    size_t count;
    bool defective;
    float *map = photo_map(found, image);
    must(aaclip_regions_find(&regions, &count, map, roi, image->width, image->height,
                             options->calibration->map_threshold, options->min_area));
    must(aaclip_decide(options->calibration, found->score, map, roi, image->width, image->height,
                       &defective));
    assert_true(found->decided);
    assert_int_equal(found->defective, defective);
    assert_int_equal(found->region_count, count);
    assert_int_equal(found->regions == NULL, count == 0);
    if (count)
        assert_memory_equal(found->regions, regions, count * sizeof *regions);
    aaclip_regions_free(&regions);
    free(map);
}

static void regions_are_those_of_the_map(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    const aaclip_calibration calibration = calibrate(options);
    options.calibration = &calibration;
    options.find_regions = true;
    aaclip_detector *detector = make(&options);
    aaclip_result result = detect(detector, &photo, "cat");
    compare(&result, &photo, &options, NULL);
    assert_true(result.region_count >= 2);
    options.min_area = 0;
    for (size_t i = 0; i < result.region_count; i++)
        if (result.regions[i].area > options.min_area)
            options.min_area = result.regions[i].area;
    const size_t all = result.region_count;
    aaclip_detector_close(&detector);
    detector = make(&options);
    result = detect(detector, &photo, "cat");
    compare(&result, &photo, &options, NULL);
    assert_true(result.region_count >= 1 && result.region_count < all);
    aaclip_detector_close(&detector);
}

static void tiles_have_regions_too(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    options.tile = 112;
    const aaclip_calibration calibration = calibrate(options);
    options.calibration = &calibration;
    options.find_regions = true;
    aaclip_detector *detector = make(&options);
    const aaclip_result result = detect(detector, &photo, "cat");
    assert_int_equal(result.map_width, 225);
    compare(&result, &photo, &options, NULL);
    assert_non_null(result.regions);
    aaclip_detector_close(&detector);
}

static bool decides(const aaclip_detector_options *options)
{
    aaclip_detector *detector = make(options);
    const aaclip_result result = detect(detector, &photo, "cat");
    assert_true(result.decided);
    assert_null(result.regions);
    assert_int_equal(result.region_count, 0);
    aaclip_detector_close(&detector);
    return result.defective;
}

static void scores_decide(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    aaclip_calibration calibration = calibrate(options);
    options.calibration = &calibration;
    assert_true(decides(&options));
    calibration.image_threshold = nextafterf(calibration.image_threshold, INFINITY);
    assert_false(decides(&options));
}

/* Thresholds that this picture reaches with one of the two. */
static void maps_decide(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    aaclip_calibration calibration = calibrate(options);
    options.calibration = &calibration;
    calibration.image_threshold = nextafterf(calibration.image_threshold, INFINITY);
    calibration.decide_by = AACLIP_DECIDE_BY_MAP;
    assert_true(decides(&options));
    calibration.decide_by = AACLIP_DECIDE_BY_EITHER;
    assert_true(decides(&options));
    calibration.map_threshold = 1e9f;
    assert_false(decides(&options));
    calibration.image_threshold = 0;
    assert_true(decides(&options));
    calibration.decide_by = AACLIP_DECIDE_BY_MAP;
    assert_false(decides(&options));
}

static void refuses_calibration(const aaclip_detector_options *options, const char *what)
{
    aaclip_detector *detector = (aaclip_detector *)options;
    must_fail(aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, options),
              AACLIP_ERROR_MISMATCH, what);
    assert_null(detector);
}

static void thresholds_belong_to_a_detector(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    aaclip_calibration calibration = calibrate(options), whole;
    aaclip_detector *detector = make(&options);
    must(aaclip_detector_describe_calibration(detector, "cat", &calibration));
    whole = calibration;
    assert_int_equal(whole.image_size, IMAGE_SIZE);
    assert_string_equal(whole.class_name, "cat");
    assert_true(whole.model_fingerprint && whole.adapters_fingerprint);
    must_fail(aaclip_detector_describe_calibration(detector, "dog", &calibration),
              AACLIP_ERROR_NOT_FOUND, "dog");
    must_fail(aaclip_detector_describe_calibration(NULL, "cat", &calibration),
              AACLIP_ERROR_INVALID_ARGUMENT, "NULL");
    assert_memory_equal(&calibration, &whole, sizeof whole);
    aaclip_detector_close(&detector);

    options.calibration = &calibration;
    detector = make(&options);
    must(aaclip_detector_check_calibration(detector, "cat", &calibration));
    must_fail(aaclip_detector_check_calibration(detector, "nut", &calibration),
              AACLIP_ERROR_MISMATCH, "not 'nut'");
    calibration.image_size++;
    must_fail(aaclip_detector_check_calibration(detector, "cat", &calibration),
              AACLIP_ERROR_MISMATCH, "image_size");
    calibration.image_size--;
    must_fail(aaclip_detector_check_calibration(NULL, "cat", &calibration),
              AACLIP_ERROR_INVALID_ARGUMENT, "NULL");
    must_fail(aaclip_detector_check_calibration(detector, "cat", NULL),
              AACLIP_ERROR_INVALID_ARGUMENT, "NULL");
    aaclip_result result = detect(detector, &photo, "cat");
    assert_true(result.decided && result.defective);
    must_fail(aaclip_detector_detect(detector, &photo, "nut", &result), AACLIP_ERROR_MISMATCH,
              "thresholds are for class 'cat', not 'nut'");
    aaclip_detector_close(&detector);
    calibration.class_name[0] = 0;
    detector = make(&options);
    detect(detector, &photo, "nut");
    aaclip_detector_close(&detector);

    options.image_size = 2 * IMAGE_SIZE;
    refuses_calibration(&options, "image_size: expected the detector's 224, found 112");
    options.image_size = IMAGE_SIZE;
    options.tile = 100;
    refuses_calibration(&options, "tile: expected the detector's 100");
    calibration.tile = 100;
    options.tile_overlap = 0.5f;
    refuses_calibration(&options, "tile_overlap: expected the detector's 0.5");
    options = plain_options();
    options.calibration = &calibration;
    calibration = whole;
    options.domain = AACLIP_DOMAIN_MEDICAL;
    refuses_calibration(&options, "domain: expected the detector's medical");
    options.domain = AACLIP_DOMAIN_INDUSTRIAL;
    calibration.model_fingerprint ^= 1;
    refuses_calibration(&options, "model_fingerprint");
    calibration = whole;
    calibration.adapters_fingerprint = 0;
    refuses_calibration(&options, "adapters_fingerprint");
    calibration.image_size = 0; /* then nothing is known */
    assert_true(decides(&options));
}

static aaclip_text_cache *cache_of_phrase(const char *phrase)
{
    const char *name = "cat";
    aaclip_text_cache *cache;
    must(aaclip_text_cache_new(&cache, shared.model, shared.adapters, NULL));
    must(aaclip_text_cache_build(cache, &name, &phrase, 1));
    return cache;
}

/* Closes the cache. */
static aaclip_detector *detector_with(aaclip_text_cache *cache)
{
    const aaclip_detector_options options = plain_options();
    aaclip_detector *detector;
    must(aaclip_detector_new(&detector, shared.model, shared.adapters, cache, &options));
    aaclip_text_cache_close(&cache);
    return detector;
}

static void thresholds_belong_to_the_words_of_a_class(void **state)
{
    const scratch_file file = scratch_path(*state, "cache.safetensors");
    aaclip_calibration calibration;
    aaclip_text_cache *cache = cache_of_phrase("tabby cat"), *opened;
    must(aaclip_text_cache_save(cache, file.path));
    aaclip_detector *detector = detector_with(cache);
    must(aaclip_calibration_init(&calibration));
    must(aaclip_detector_describe_calibration(detector, "cat", &calibration));
    assert_true(calibration.class_fingerprint);
    must(aaclip_detector_check_calibration(detector, "cat", &calibration));
    aaclip_detector_close(&detector);

    must(aaclip_text_cache_open(&opened, shared.model, shared.adapters, file.path, NULL));
    detector = detector_with(opened);
    must(aaclip_detector_check_calibration(detector, "cat", &calibration));
    aaclip_detector_close(&detector);

    detector = detector_with(cache_of_phrase("white cat"));
    must_fail(aaclip_detector_check_calibration(detector, "cat", &calibration),
              AACLIP_ERROR_MISMATCH, "class_fingerprint: expected");
    aaclip_detector_close(&detector);

    aaclip_model_info info = {.size = sizeof info};
    must(aaclip_model_get_info(shared.model, &info));
    float *vectors = calloc(2 * info.embedding, sizeof *vectors);
    assert_non_null(vectors);
    vectors[0] = vectors[info.embedding + 1] = 1;
    cache = cache_of_phrase("white cat");
    must(aaclip_text_cache_add(cache, "cat", vectors, vectors + info.embedding));
    free(vectors); /* of words that nobody knows */
    detector = detector_with(cache);
    must(aaclip_detector_check_calibration(detector, "cat", &calibration));
    aaclip_detector_close(&detector);
}

static void the_calibration_is_copied(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    aaclip_calibration calibration = calibrate(options);
    options.calibration = &calibration;
    aaclip_detector *detector = make(&options);
    memset(&calibration, 0xff, sizeof calibration);
    const aaclip_result result = detect(detector, &photo, "cat");
    assert_true(result.decided && result.defective);
    aaclip_detector_close(&detector);
}

static aaclip_adapters *with_calibration(const aaclip_calibration *calibration, const char *folder)
{
    aaclip_adapters *adapters = NULL;
    const scratch_file file = scratch_path(folder, "adapters.safetensors");
    const char *const path[] = {file.path};
    must(aaclip_adapters_save_calibrated(shared.adapters, calibration, file.path));
    must(aaclip_adapters_open(&adapters, shared.model, path, 1, NULL));
    return adapters;
}

static void adapters_bring_their_calibration(void **state)
{
    aaclip_detector_options options = plain_options();
    aaclip_calibration carried = calibrate(options), other = carried;
    other.image_threshold = nextafterf(other.image_threshold, INFINITY);
    aaclip_adapters *own = shared.adapters;
    shared.adapters = with_calibration(&carried, *state);
    assert_true(decides(&options));
    options.find_regions = true;
    aaclip_detector *detector = make(&options);
    const aaclip_result result = detect(detector, &photo, "cat");
    options.calibration = &carried;
    compare(&result, &photo, &options, NULL);
    aaclip_detector_close(&detector);
    options.find_regions = false;
    options.calibration = &other; /* goes before theirs */
    assert_false(decides(&options));
    aaclip_adapters_close(&shared.adapters);
    shared.adapters = own;
}

static void nothing_is_decided_without_calibration(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    const uint8_t roi = 1;
    aaclip_detector *detector = make(&options);
    must(aaclip_detector_set_roi(detector, &roi, 1, 1));
    const aaclip_result result = detect(detector, &photo, "cat");
    assert_false(result.decided);
    assert_false(result.defective);
    assert_null(result.regions);
    aaclip_detector_close(&detector);
    options.find_regions = true;
    detector = (aaclip_detector *)&options;
    must_fail(aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, &options),
              AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_calibration_load");
    assert_null(detector);
}

static void wrong_calibrations_are_refused(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    aaclip_calibration calibration = calibrate(options);
    calibration.map_threshold = NAN;
    options.calibration = &calibration;
    aaclip_detector *detector = (aaclip_detector *)&options;
    must_fail(aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, &options),
              AACLIP_ERROR_INVALID_ARGUMENT, "map_threshold");
    assert_null(detector);
}

/* The centre of a pixel says which one of `roi` it shows. */
static uint8_t *stretch(const uint8_t *roi, uint32_t width, uint32_t height,
                        const aaclip_image_view *image)
{
    uint8_t *all = malloc((size_t)image->width * image->height);
    for (uint32_t y = 0; y < image->height; y++)
        for (uint32_t x = 0; x < image->width; x++) {
            const uint32_t row = (2 * y + 1) * height / (2 * image->height);
            const uint32_t column = (2 * x + 1) * width / (2 * image->width);
            all[(size_t)y * image->width + x] = roi[row * width + column];
        }
    return all;
}

static void regions_of_interest_limit_both(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    const aaclip_calibration calibration = calibrate(options);
    options.calibration = &calibration;
    options.find_regions = true;
    aaclip_detector *detector = make(&options);
    const kept_result before = {.score = detect(detector, &photo, "cat").score};
    int good = 0, bad = 0;
    for (uint32_t side = 1; side <= 9; side += 2)
        for (uint32_t pixel = 0; pixel < side * side; pixel++) {
            uint8_t *roi = calloc(side * side, 1);
            roi[pixel] = (uint8_t)(1 + pixel);
            uint8_t *stretched = stretch(roi, side, side, &photo);
            must(aaclip_detector_set_roi(detector, roi, side, side));
            free(roi); /* it was copied */
            const aaclip_result result = detect(detector, &photo, "cat");
            compare(&result, &photo, &options, stretched);
            assert_true(result.score == before.score);
            assert_int_equal(result.defective, result.region_count > 0);
            good += !result.defective;
            bad += result.defective;
            free(stretched);
        }
    assert_true(good && bad);
    must(aaclip_detector_set_roi(detector, NULL, 0, 0));
    const aaclip_result result = detect(detector, &photo, "cat");
    compare(&result, &photo, &options, NULL);
    aaclip_detector_close(&detector);
}

static void impossible_regions_of_interest_are_refused(void **state)
{
    (void)state;
    const aaclip_status invalid = AACLIP_ERROR_INVALID_ARGUMENT;
    aaclip_detector_options options = plain_options();
    const aaclip_calibration calibration = calibrate(options);
    const uint8_t empty[4] = {0}, left[] = {1, 0};
    static uint8_t fine[1000 * 2];
    options.calibration = &calibration;
    options.find_regions = true;
    aaclip_detector *detector = make(&options);
    uint8_t *stretched = stretch(left, 2, 1, &photo);
    must(aaclip_detector_set_roi(detector, left, 2, 1));
    must_fail(aaclip_detector_set_roi(detector, empty, 2, 2), invalid, "no pixel selected in 2x2");
    must_fail(aaclip_detector_set_roi(detector, left, 0, 1), invalid, "aaclip_detector_set_roi");
    must_fail(aaclip_detector_set_roi(detector, left, 2, 0), invalid, "found 2x0");
    must_fail(aaclip_detector_set_roi(NULL, left, 2, 1), invalid, "NULL");
    aaclip_result result = detect(detector, &photo, "cat");
    compare(&result, &photo, &options, stretched); /* the one before is still there */
    fine[0] = 1; /* too small a part for the photograph's 225 columns */
    must(aaclip_detector_set_roi(detector, fine, 1000, 2));
    must_fail(aaclip_detector_detect(detector, &photo, "cat", &result), invalid,
              "no pixel selected");
    free(stretched);
    aaclip_detector_close(&detector);
}

static void regions_of_a_batch_stay_together(void **state)
{
    (void)state;
    aaclip_detector_options options = plain_options();
    const aaclip_calibration calibration = calibrate(options);
    const char *const names[] = {"cat", "cat", "nut", "cat"};
    aaclip_image_view views[] = {photo, photo, photo, photo};
    aaclip_result results[4] = {{.size = sizeof results[0]}};
    options.calibration = &calibration;
    options.find_regions = true;
    views[1].width = 100;
    views[1].stride = (size_t)photo.width * 3;
    aaclip_detector *detector = make(&options);
    for (size_t count = 4; count > 0; count--) {
        must(aaclip_detector_detect_batch(detector, views, names, count, results));
        for (size_t i = 0; i < count; i++)
            compare(&results[i], &views[i], &options, NULL);
    }
    aaclip_detector_close(&detector);
}

/* Thresholds of "cat" and "nut", of which the second has more regions. */
static void calibrate_both(aaclip_calibration calibrations[2], aaclip_detector *detector)
{
    static const char *const names[] = {"cat", "nut"};
    for (int i = 0; i < 2; i++) {
        calibrations[i] = calibrate(plain_options());
        calibrations[i].map_threshold -= (float)i * 0.001f;
        calibrations[i].image_threshold = (float)(1 - i);
        must(aaclip_detector_describe_calibration(detector, names[i], &calibrations[i]));
    }
}

static void check_class(const aaclip_result *result, const aaclip_image_view *image,
                        const aaclip_calibration *calibration, const uint8_t *roi)
{
    aaclip_detector_options options = plain_options();
    options.calibration = calibration;
    compare(result, image, &options, roi);
}

static void classes_have_their_own_thresholds(void **state)
{
    (void)state;
    const uint8_t look[] = {1, 0};
    aaclip_detector_options options = plain_options();
    aaclip_calibration all, both[2], nut;
    must(aaclip_calibration_init(&all));
    all.map_threshold = 0;
    aaclip_detector *detector = make(&options);
    calibrate_both(both, detector);
    aaclip_detector_close(&detector);
    options.calibration = &all;
    options.find_regions = true;
    detector = make(&options);
    must(aaclip_detector_set_calibration(detector, "nut", &both[1]));
    nut = both[1];
    memset(&both[1], 0xff, sizeof both[1]); /* it was copied */
    for (int i = 0; i < 2; i++) {           /* by turns */
        aaclip_result result = detect(detector, &photo, "cat");
        check_class(&result, &photo, &all, NULL);
        result = detect(detector, &photo, "nut");
        check_class(&result, &photo, &nut, NULL);
        assert_true(result.defective);
    }
    both[1] = nut;
    must(aaclip_detector_set_calibration(detector, "cat", &both[0]));
    const char *const names[] = {"cat", "nut", "nut", "cat"};
    const aaclip_image_view views[] = {photo, photo, photo, photo};
    aaclip_result results[4] = {{.size = sizeof results[0]}};
    uint8_t *stretched = stretch(look, 2, 1, &photo);
    for (int pass = 0; pass < 2; pass++) {
        must(aaclip_detector_detect_batch(detector, views, names, 4, results));
        for (size_t i = 0; i < 4; i++)
            check_class(&results[i], &photo, &both[i == 1 || i == 2], pass ? stretched : NULL);
        assert_true(pass || results[0].region_count != results[1].region_count);
        assert_true(pass || results[0].defective != results[1].defective);
        must(aaclip_detector_set_roi(detector, look, 2, 1));
    }
    free(stretched);
    must(aaclip_detector_set_roi(detector, NULL, 0, 0));
    both[0].image_threshold = 0; /* replaced */
    must(aaclip_detector_set_calibration(detector, "cat", &both[0]));
    aaclip_result result = detect(detector, &photo, "cat");
    check_class(&result, &photo, &both[0], NULL);
    assert_true(result.defective);
    must(aaclip_detector_set_calibration(detector, "cat", NULL));
    result = detect(detector, &photo, "cat");
    check_class(&result, &photo, &all, NULL);
    must(aaclip_detector_set_calibration(detector, NULL, NULL));
    result = detect(detector, &photo, "cat");
    assert_false(result.decided);
    assert_false(result.defective);
    assert_null(result.regions);
    result = detect(detector, &photo, "nut");
    check_class(&result, &photo, &both[1], NULL);
    must(aaclip_detector_set_calibration(detector, NULL, &all));
    result = detect(detector, &photo, "cat");
    check_class(&result, &photo, &all, NULL);
    aaclip_detector_close(&detector);
}

static void the_calibration_of_one_class_does_not_hinder_others(void **state)
{
    (void)state;
    const aaclip_detector_options options = plain_options();
    aaclip_detector *detector = make(&options);
    aaclip_calibration both[2];
    calibrate_both(both, detector);
    must(aaclip_detector_set_calibration(detector, NULL, &both[0]));
    aaclip_result result = {.size = sizeof result};
    must_fail(aaclip_detector_detect(detector, &photo, "nut", &result), AACLIP_ERROR_MISMATCH,
              "thresholds are for class 'cat', not 'nut'");
    must(aaclip_detector_set_calibration(detector, "nut", &both[1]));
    assert_true(detect(detector, &photo, "nut").decided);
    assert_true(detect(detector, &photo, "cat").decided);
    aaclip_detector_close(&detector);
}

static void wrong_calibrations_of_a_class_are_refused(void **state)
{
    (void)state;
    const aaclip_detector_options options = plain_options();
    aaclip_detector *detector = make(&options);
    aaclip_calibration both[2], wrong;
    calibrate_both(both, detector);
    must(aaclip_detector_set_calibration(detector, "nut", &both[1]));
    must_fail(aaclip_detector_set_calibration(detector, "nut", &both[0]), AACLIP_ERROR_MISMATCH,
              "thresholds are for class 'cat', not 'nut'");
    must_fail(aaclip_detector_set_calibration(detector, "dog", &both[0]), AACLIP_ERROR_NOT_FOUND,
              "dog");
    must_fail(aaclip_detector_set_calibration(detector, "dog", NULL), AACLIP_ERROR_NOT_FOUND,
              "dog");
    wrong = both[1];
    wrong.image_size++;
    must_fail(aaclip_detector_set_calibration(detector, "nut", &wrong), AACLIP_ERROR_MISMATCH,
              "image_size");
    must_fail(aaclip_detector_set_calibration(detector, NULL, &wrong), AACLIP_ERROR_MISMATCH,
              "image_size");
    wrong = both[1];
    wrong.class_fingerprint ^= 1;
    must_fail(aaclip_detector_set_calibration(detector, "nut", &wrong), AACLIP_ERROR_MISMATCH,
              "class_fingerprint");
    wrong = both[1];
    wrong.map_threshold = NAN;
    must_fail(aaclip_detector_set_calibration(detector, "nut", &wrong),
              AACLIP_ERROR_INVALID_ARGUMENT, "map_threshold");
    aaclip_result result = detect(detector, &photo, "nut"); /* the one before is still there */
    assert_true(result.decided && result.defective);
    assert_false(detect(detector, &photo, "cat").decided);
    aaclip_detector_close(&detector);
}

static void set_during_detection(aaclip_log_level level, const char *message, void *user)
{
    (void)level;
    (void)message;
    must_fail(aaclip_detector_set_calibration(*(aaclip_detector **)user, "cat", NULL),
              AACLIP_ERROR_INVALID_ARGUMENT, "another thread is using this detector");
    must_fail(aaclip_detector_set_roi(*(aaclip_detector **)user, NULL, 0, 0),
              AACLIP_ERROR_INVALID_ARGUMENT, "another thread is using this detector");
    *(aaclip_detector **)user = NULL;
}

/* A warning of dark values comes in the middle of a call. */
static void settings_stay_during_detection(void **state)
{
    (void)state;
    static const uint16_t dark[4];
    const aaclip_image_view view = {dark, 2, 2, 0, AACLIP_PIXEL_GRAY16};
    const aaclip_detector_options options = plain_options();
    aaclip_detector *detector = make(&options), *used = detector;
    aaclip_set_log(set_during_detection, AACLIP_LOG_WARNING, &used);
    detect(detector, &view, "cat");
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    assert_null(used);
    must(aaclip_detector_set_calibration(detector, "cat", NULL));
    aaclip_detector_close(&detector);
}

static int open_shared(void **state)
{
    fixture_open(&shared, NULL, 2);
    photo = aaclip_image_get_view(shared.image);
    return scratch_make(state);
}

static int close_shared(void **state)
{
    fixture_close(&shared);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions_are_those_of_the_map),
        cmocka_unit_test(tiles_have_regions_too),
        cmocka_unit_test(scores_decide),
        cmocka_unit_test(maps_decide),
        cmocka_unit_test(thresholds_belong_to_a_detector),
        cmocka_unit_test(thresholds_belong_to_the_words_of_a_class),
        cmocka_unit_test(the_calibration_is_copied),
        cmocka_unit_test(adapters_bring_their_calibration),
        cmocka_unit_test(nothing_is_decided_without_calibration),
        cmocka_unit_test(wrong_calibrations_are_refused),
        cmocka_unit_test(regions_of_interest_limit_both),
        cmocka_unit_test(impossible_regions_of_interest_are_refused),
        cmocka_unit_test(regions_of_a_batch_stay_together),
        cmocka_unit_test(classes_have_their_own_thresholds),
        cmocka_unit_test(the_calibration_of_one_class_does_not_hinder_others),
        cmocka_unit_test(wrong_calibrations_of_a_class_are_refused),
        cmocka_unit_test(settings_stay_during_detection),
    };
    return cmocka_run_group_tests_name("decision", tests, open_shared, close_shared);
}
