/* The same image gives the same result: alone, in a batch, repeatedly, on any number of threads. */
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

static kept_result detect_and_keep(aaclip_detector *detector, const aaclip_image_view *image,
                                   const char *name)
{
    const aaclip_result result = detect(detector, image, name);
    return keep_result(&result);
}

/* Two different halves of the photograph. */
static void two_views(const aaclip_image *image, aaclip_image_view views[2])
{
    views[0] = views[1] = aaclip_image_get_view(image);
    views[0].width = views[1].width /= 2;
    views[1].pixels = (const uint8_t *)views[1].pixels + 3 * (size_t)views[1].width;
}

/* On a device eight run together, and products of other sizes may sum in another order. */
static bool is_same(const fixture *all, const kept_result *a, const kept_result *b)
{
    aaclip_model_info info = {.size = sizeof info};
    must(aaclip_model_get_info(all->model, &info));
    bool device = strcmp(info.backend, "cuda") == 0 || strcmp(info.backend, "guarded") == 0;
    return same_bits(a, b) ||
           (device && map_difference(a, b) < 1e-5 && fabsf(a->score - b->score) < 1e-5f);
}

/* More than run together on a device, and a rest. */
static void batch_gives_the_bits_of_single_images(void **state)
{
    enum { COUNT = 19, KINDS = 4 };
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 2);
    aaclip_detector *alone = make_detector(&all, true), *together = make_detector(&all, true);
    aaclip_image_view views[2], images[COUNT];
    const char *names[COUNT];
    two_views(all.image, views);
    aaclip_result results[COUNT] = {{.size = sizeof results[0]}};
    kept_result expected[KINDS];
    for (int i = 0; i < COUNT; i++) { /* two pictures, two classes */
        images[i] = views[i % 2];
        names[i] = i / 2 % 2 ? "nut" : "cat";
    }
    must(aaclip_detector_detect_batch(together, images, names, COUNT, results));
    for (int i = 0; i < KINDS; i++)
        expected[i] = detect_and_keep(alone, &images[i], names[i]);
    for (int i = 0; i < COUNT; i++) {
        kept_result found = keep_result(&results[i]);
        assert_int_equal(results[i].size, sizeof results[i]);
        for (int j = 0; j < KINDS; j++)
            assert_true(is_same(&all, &expected[j], &found) == (j == i % KINDS));
        free_result(&found);
    }
    for (int i = 0; i < KINDS; i++)
        free_result(&expected[i]);
    must(aaclip_detector_detect_batch(together, images, names, 0, results));
    aaclip_detector_close(&alone);
    aaclip_detector_close(&together);
    fixture_close(&all);
}

/* A device resizes the pictures of the next run while one computes. */
static void a_failed_batch_leaves_no_picture(void **state)
{
    enum { COUNT = 16, FAILS = 8 };
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 2);
    aaclip_detector *alone = make_detector(&all, true), *together = make_detector(&all, true);
    aaclip_image_view views[2], images[COUNT];
    const char *names[COUNT];
    two_views(all.image, views);
    aaclip_result results[COUNT] = {{.size = sizeof results[0]}};
    for (int i = 0; i < COUNT; i++) {
        images[i] = views[0];
        names[i] = i == FAILS ? "dog" : "cat";
    }
    must_fail(aaclip_detector_detect_batch(together, images, names, COUNT, results),
              AACLIP_ERROR_NOT_FOUND, "dog");
    names[FAILS] = "cat";
    for (int i = 0; i < COUNT; i++)
        images[i] = views[1];
    must(aaclip_detector_detect_batch(together, images, names, FAILS, results));
    kept_result expected = detect_and_keep(alone, &views[1], "cat");
    for (int i = 0; i < FAILS; i++) {
        kept_result found = keep_result(&results[i]);
        assert_true(is_same(&all, &expected, &found));
        free_result(&found);
    }
    free_result(&expected);
    aaclip_detector_close(&alone);
    aaclip_detector_close(&together);
    fixture_close(&all);
}

static void detecting_again_gives_the_same_bits(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 2);
    aaclip_detector *detector = make_detector(&all, true), *fresh = make_detector(&all, true);
    aaclip_image_view views[2];
    two_views(all.image, views);
    kept_result first = detect_and_keep(detector, &views[0], "cat");
    detect(detector, &views[1], "nut");
    kept_result again = detect_and_keep(detector, &views[0], "cat");
    kept_result anew = detect_and_keep(fresh, &views[0], "cat");
    assert_true(same_bits(&first, &again));
    assert_true(same_bits(&first, &anew));
    free_result(&first);
    free_result(&again);
    free_result(&anew);
    aaclip_detector_close(&detector);
    aaclip_detector_close(&fresh);
    fixture_close(&all);
}

/* Text vectors included: model, adapters and cache are made anew. */
static kept_result detect_with(const char *backend, unsigned threads)
{
    fixture all;
    fixture_open(&all, backend, threads);
    aaclip_detector *detector = make_detector(&all, true);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    kept_result kept = detect_and_keep(detector, &view, "nut");
    aaclip_detector_close(&detector);
    fixture_close(&all);
    return kept;
}

/*
 * oneDNN cuts its products by the number of threads, which changes the order of sums: the last bits
 * of the map differ (measured: 5e-7 of its largest value). Every other loop of the library gives
 * whole outputs to threads, so all other backends give the same bits.
 */
#define ONEDNN_BOUND 4e-6

static void compare_thread_counts(const char *backend)
{
    const unsigned counts[] = {2, 3, 5};
    bool exact = strcmp(backend, "onednn") != 0;
    kept_result expected = detect_with(backend, 1);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        kept_result found = detect_with(backend, counts[i]);
        double apart = map_difference(&expected, &found);
        print_message("%s: map of %u threads and of 1: %g apart\n", backend, counts[i], apart);
        if (exact)
            assert_true(same_bits(&expected, &found));
        assert_true(apart <= ONEDNN_BOUND);
        assert_true(fabs((double)expected.score - (double)found.score) <= ONEDNN_BOUND);
        free_result(&found);
    }
    free_result(&expected);
}

static void thread_counts_give_the_same_result(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++)
        if (aaclip_backend_available(aaclip_backend_name(i)))
            compare_thread_counts(aaclip_backend_name(i));
}

static void features_have_their_shapes(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 1);
    aaclip_detector *with = make_detector(&all, true), *without = make_detector(&all, false);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    const aaclip_result kept = detect(with, &view, "cat"), plain = detect(without, &view, "cat");
    aaclip_model_info info = {.size = sizeof info};
    aaclip_config config = {.size = sizeof config};
    must(aaclip_model_get_info(all.model, &info));
    must(aaclip_adapters_get_config(all.adapters, &config));
    assert_int_equal(aaclip_detector_image_size(with), IMAGE_SIZE);
    assert_int_equal(kept.map_width, IMAGE_SIZE);
    assert_int_equal(kept.map_height, IMAGE_SIZE);
    assert_int_equal(kept.level_count, config.level_count);
    assert_int_equal(kept.patch_rows, IMAGE_SIZE / info.patch_size);
    assert_int_equal(kept.patch_columns, IMAGE_SIZE / info.patch_size);
    assert_int_equal(kept.embedding, info.embedding);
    size_t rows = (size_t)kept.level_count * kept.patch_rows * kept.patch_columns;
    for (size_t row = 0; row < rows; row++) {
        double square = 0;
        for (size_t i = 0; i < kept.embedding; i++) {
            double value = kept.patch_features[row * kept.embedding + i];
            square += value * value;
        }
        assert_true(fabs(square - 1) < 1e-5);
    }
    assert_non_null(kept.detection_feature);
    assert_null(plain.patch_features);
    assert_null(plain.detection_feature);
    assert_memory_equal(&plain.score, &kept.score, sizeof plain.score);
    assert_memory_equal(plain.map, kept.map, sizeof(float) * IMAGE_SIZE * IMAGE_SIZE);
    aaclip_detector_close(&with);
    aaclip_detector_close(&without);
    fixture_close(&all);
}

/* The score and the map follow from the features as the header says. */
static void score_follows_from_the_detection_feature(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 1);
    aaclip_detector *detector = make_detector(&all, true);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    const aaclip_result result = detect(detector, &view, "nut");
    float *abnormal = malloc(result.embedding * sizeof *abnormal);
    must(aaclip_text_cache_get(all.cache, "nut", NULL, abnormal));
    double dot = 0;
    for (size_t i = 0; i < result.embedding; i++)
        dot += (double)result.detection_feature[i] * (double)abnormal[i];
    assert_true(fabs((dot + 1) / 2 - (double)result.score) < 1e-6);
    free(abnormal);
    aaclip_detector_close(&detector);
    fixture_close(&all);
}

/* Where a format holds red, green and blue, in bytes or 16-bit samples. */
static const struct layout {
    aaclip_pixel_format format;
    const char *name;
    size_t samples, red, green, blue;
    bool wide;
} layouts[] = {
    {AACLIP_PIXEL_RGB8, "RGB8", 3, 0, 1, 2, false},
    {AACLIP_PIXEL_BGR8, "BGR8", 3, 2, 1, 0, false},
    {AACLIP_PIXEL_RGBA8, "RGBA8", 4, 0, 1, 2, false},
    {AACLIP_PIXEL_BGRA8, "BGRA8", 4, 2, 1, 0, false},
    {AACLIP_PIXEL_GRAY8, "GRAY8", 1, 0, 0, 0, false},
    {AACLIP_PIXEL_GRAY16, "GRAY16", 1, 0, 0, 0, true},
    {AACLIP_PIXEL_RGB16, "RGB16", 3, 0, 1, 2, true},
    {AACLIP_PIXEL_BGR16, "BGR16", 3, 2, 1, 0, true},
};

static void put_sample(uint8_t *pixel, size_t index, uint8_t value, bool wide)
{
    const uint16_t sample = (uint16_t)(value << 8 | 0x5a); /* the low byte must not count */
    if (wide)
        memcpy(pixel + 2 * index, &sample, sizeof sample);
    else
        pixel[index] = value;
}

/* The photograph in another format, rows `padding` bytes apart; what is no pixel is noise. */
static aaclip_image_view convert(const aaclip_image_view *from, const struct layout *layout,
                                 size_t padding)
{
    size_t step = layout->samples * (layout->wide ? 2 : 1);
    aaclip_image_view to = *from;
    to.format = layout->format;
    size_t stride = from->width * step + padding;
    to.stride = padding ? stride : 0;
    uint8_t *pixels = malloc(stride * from->height);
    memset(pixels, 0xa7, stride * from->height);
    for (size_t y = 0; y < from->height; y++)
        for (size_t x = 0; x < from->width; x++) {
            const uint8_t *rgb = (const uint8_t *)from->pixels + y * from->stride + 3 * x;
            uint8_t *pixel = pixels + y * stride + x * step;
            put_sample(pixel, layout->red, rgb[0], layout->wide);
            put_sample(pixel, layout->green, rgb[1], layout->wide);
            put_sample(pixel, layout->blue, rgb[2], layout->wide);
        }
    to.pixels = pixels;
    return to;
}

/* A copy whose three colours are the blue one, so that grey formats hold equal pixels. */
static aaclip_image_view make_grey(const aaclip_image_view *from)
{
    aaclip_image_view grey = convert(from, &layouts[0], 1);
    uint8_t *pixels = (uint8_t *)grey.pixels;
    for (size_t y = 0; y < grey.height; y++)
        for (size_t x = 0; x < grey.width; x++)
            memset(pixels + y * grey.stride + 3 * x, pixels[y * grey.stride + 3 * x + 2], 3);
    return grey;
}

static void pixel_formats_give_equal_results(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 1);
    aaclip_detector *detector = make_detector(&all, true);
    const aaclip_image_view colour = aaclip_image_get_view(all.image), grey = make_grey(&colour);
    kept_result colour_result = detect_and_keep(detector, &colour, "cat");
    kept_result grey_result = detect_and_keep(detector, &grey, "cat");
    assert_false(same_bits(&colour_result, &grey_result));
    const size_t paddings[] = {0, 1, 61};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        for (size_t j = 0; j < sizeof paddings / sizeof *paddings; j++) {
            bool is_grey = layouts[i].samples == 1;
            const aaclip_image_view view =
                convert(is_grey ? &grey : &colour, &layouts[i], paddings[j]);
            kept_result found = detect_and_keep(detector, &view, "cat");
            if (!same_bits(is_grey ? &grey_result : &colour_result, &found))
                fail_msg("%s with %zu bytes of padding differs", layouts[i].name, paddings[j]);
            free_result(&found);
            free((void *)view.pixels);
        }
    free((void *)grey.pixels);
    free_result(&colour_result);
    free_result(&grey_result);
    aaclip_detector_close(&detector);
    fixture_close(&all);
}

static void impossible_views_are_refused(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 1);
    aaclip_detector *detector = make_detector(&all, false);
    const aaclip_image_view good = aaclip_image_get_view(all.image);
    aaclip_image_view bad[6] = {good, good, good, good, good, good};
    bad[0].pixels = NULL;
    bad[1].width = 0;
    bad[2].height = 0;
    bad[3].stride = (size_t)good.width * 3 - 1;
    bad[4].format = (aaclip_pixel_format)8;
    bad[5].height = UINT32_MAX;
    aaclip_result result = {.size = sizeof result};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        must_fail(aaclip_detector_detect(detector, &bad[i], "cat", &result),
                  AACLIP_ERROR_INVALID_ARGUMENT, "image");
    aaclip_result results[3] = {{.size = sizeof result}};
    const aaclip_image_view three[3] = {good, good, bad[0]};
    must_fail(aaclip_detector_detect_batch(detector, three, (const char *[]){"cat", "cat", "cat"},
                                           3, results),
              AACLIP_ERROR_INVALID_ARGUMENT, "image 2 of 3: image: no pixels");
    must_fail(aaclip_detector_detect(detector, &good, "dog", &result), AACLIP_ERROR_NOT_FOUND,
              "cat, nut");
    detect(detector, &good, "cat");
    aaclip_detector_close(&detector);
    fixture_close(&all);
}

static void other_models_and_adapters_are_refused(void **state)
{
    (void)state;
    fixture all, other;
    fixture_open(&all, NULL, 1);
    fixture_open(&other, NULL, 1);
    aaclip_adapters *document = open_adapters(all.model, "document");
    aaclip_detector *detector = (aaclip_detector *)&all;
    must_fail(aaclip_detector_new(&detector, all.model, other.adapters, all.cache, NULL),
              AACLIP_ERROR_MISMATCH, "another model");
    assert_null(detector);
    must_fail(aaclip_detector_new(&detector, all.model, document, all.cache, NULL),
              AACLIP_ERROR_MISMATCH, "different text adapters");
    must_fail(aaclip_detector_new(&detector, all.model, NULL, all.cache, NULL),
              AACLIP_ERROR_MISMATCH, "different text adapters");
    aaclip_adapters_close(&document);
    fixture_close(&all);
    fixture_close(&other);
}

/* Without adapters nothing but the two configurations can say it. Vectors from elsewhere can't. */
static void vectors_of_another_configuration_are_refused(void **state)
{
    (void)state;
    static const char *const name[] = {"nut"};
    fixture all;
    fixture_open(&all, NULL, 1);
    aaclip_config config;
    must(aaclip_config_init(&config, AACLIP_PROFILE_PUBLISHED));
    aaclip_text_cache *cache = NULL;
    must(aaclip_text_cache_new(&cache, all.model, NULL, NULL)); /* profile document */
    float vectors[2][32] = {{1}, {0, 1}};
    must(aaclip_text_cache_add(cache, "cat", vectors[0], vectors[1]));
    aaclip_detector_options options;
    must(aaclip_detector_options_init(&options));
    options.config = &config;
    options.image_size = 56;
    aaclip_detector *detector = NULL;
    must(aaclip_detector_new(&detector, all.model, NULL, cache, &options));
    aaclip_detector_close(&detector);
    must(aaclip_text_cache_build(cache, name, name, 1));
    must_fail(aaclip_detector_new(&detector, all.model, NULL, cache, &options),
              AACLIP_ERROR_MISMATCH,
              "text cache: activation of its configuration, profile document");
    options.config = NULL;
    must(aaclip_detector_new(&detector, all.model, NULL, cache, &options));
    aaclip_detector_close(&detector);
    aaclip_text_cache_close(&cache);
    fixture_close(&all);
}

/* Adapters of the image side alone say how text is to be embedded, too. */
static void a_bundle_has_vectors_of_its_configuration(void **state)
{
    static const char *const image_side[] = {NANO "/adapters-published/image_adapter_20.pth"};
    static const char *const name[] = {"nut"};
    const scratch_file file = scratch_path(*state, "bundle.safetensors");
    aaclip_model *model = open_model(NULL, 1);
    aaclip_adapters *adapters = NULL;
    must(aaclip_adapters_open(&adapters, model, image_side, 1, NULL));
    aaclip_config config = {.size = sizeof config};
    must(aaclip_adapters_get_config(adapters, &config));
    aaclip_text_cache_options options;
    must(aaclip_text_cache_options_init(&options));
    for (int own = 0; own < 2; own++) {
        aaclip_text_cache *cache = NULL;
        options.config = own ? &config : NULL; /* else profile document */
        must(aaclip_text_cache_new(&cache, model, NULL, &options));
        must(aaclip_text_cache_build(cache, name, name, 1));
        if (own)
            must(aaclip_bundle_save(model, adapters, cache, file.path, false));
        else
            must_fail(aaclip_bundle_save(model, adapters, cache, file.path, false),
                      AACLIP_ERROR_MISMATCH, "activation of its configuration, profile document");
        assert_int_equal(scratch_count(*state), own);
        aaclip_text_cache_close(&cache);
    }
    aaclip_adapters_close(&adapters);
    aaclip_model_close(&model);
}

/* The map and score of half the photograph for "nut", at image size 112. */
static kept_result detect_nut(const fixture *all, const aaclip_config *config)
{
    aaclip_image_view views[2];
    two_views(all->image, views);
    aaclip_detector_options options;
    must(aaclip_detector_options_init(&options));
    options.config = config;
    options.image_size = 112;
    aaclip_detector *detector = NULL;
    must(aaclip_detector_new(&detector, all->model, all->adapters, all->cache, &options));
    kept_result found = detect_and_keep(detector, &views[0], "nut");
    aaclip_detector_close(&detector);
    return found;
}

/* Opened with and without the adapters that it has not. */
static void check_bundle_of_text(const char *path, const kept_result *expected)
{
    fixture own = {0};
    must(aaclip_image_open(&own.image, PHOTO));
    aaclip_model_options options;
    aaclip_config document;
    aaclip_text_cache_options cache_options;
    must(aaclip_model_options_init(&options));
    must(aaclip_config_init(&document, AACLIP_PROFILE_DOCUMENT));
    must(aaclip_text_cache_options_init(&cache_options));
    options.threads = 1;
    must(aaclip_model_open(&own.model, path, &options));
    for (int adapters = 0; adapters < 2; adapters++) {
        if (adapters)
            must(aaclip_adapters_open(&own.adapters, own.model, &path, 1, NULL));
        must(aaclip_text_cache_open(&own.cache, own.model, own.adapters, path, NULL));
        kept_result found = detect_nut(&own, NULL);
        assert_true(same_bits(expected, &found));
        free_result(&found);
        if (!adapters) {
            aaclip_detector_options other;
            must(aaclip_detector_options_init(&other));
            other.config = &document;
            aaclip_detector *detector = NULL;
            must_fail(aaclip_detector_new(&detector, own.model, NULL, own.cache, &other),
                      AACLIP_ERROR_MISMATCH, "activation of its configuration, profile published");
        }
        aaclip_text_cache_close(&own.cache);
    }
    must_fail(aaclip_adapters_save(own.adapters, path), AACLIP_ERROR_INVALID_ARGUMENT,
              "nothing to save");
    cache_options.config = &document;
    must_fail(aaclip_text_cache_open(&own.cache, own.model, NULL, path, &cache_options),
              AACLIP_ERROR_MISMATCH, "metadata aaclip.config: activation differs");
    fixture_close(&own);
}

static void a_bundle_of_text_alone_keeps_its_configuration(void **state)
{
    static const char *const name[] = {"nut"};
    const scratch_file file = scratch_path(*state, "bundle.safetensors");
    fixture all = {.model = open_model(NULL, 1)};
    must(aaclip_image_open(&all.image, PHOTO));
    aaclip_config config;
    aaclip_text_cache_options options;
    must(aaclip_config_init(&config, AACLIP_PROFILE_PUBLISHED));
    must(aaclip_text_cache_options_init(&options));
    options.config = &config;
    must(aaclip_text_cache_new(&all.cache, all.model, NULL, &options));
    must(aaclip_text_cache_build(all.cache, name, name, 1));
    kept_result given = detect_nut(&all, &config), taken = detect_nut(&all, NULL);
    assert_true(same_bits(&given, &taken));
    must(aaclip_bundle_save(all.model, NULL, all.cache, file.path, false));
    check_bundle_of_text(file.path, &given);
    free_result(&given);
    free_result(&taken);
    fixture_close(&all);
}

static void image_sizes_are_checked(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 1);
    const uint32_t sizes[] = {1, 111, 14, 42, 14 * 586, UINT32_MAX};
    aaclip_detector_options options;
    aaclip_detector_options_init(&options);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        aaclip_detector *detector = (aaclip_detector *)&all;
        options.image_size = sizes[i];
        must_fail(aaclip_detector_new(&detector, all.model, all.adapters, all.cache, &options),
                  AACLIP_ERROR_INVALID_ARGUMENT, "image_size");
        assert_null(detector);
    }
    options.image_size = 112;
    options.domain = (aaclip_domain)2;
    aaclip_detector *detector = NULL;
    must_fail(aaclip_detector_new(&detector, all.model, all.adapters, all.cache, &options),
              AACLIP_ERROR_INVALID_ARGUMENT, "domain");
    fixture_close(&all);
}

/* A map of NaN would have no defect anywhere, and a score of NaN be below every threshold. */
static void what_is_no_number_is_an_error(void **state)
{
    static const char *const tensors[] = {"image_adapter.layer_adapters.0.fc.0.weight",
                                          "image_adapter.seg_proj.3.fc.weight",
                                          "image_adapter.det_proj.fc.weight"};
    static const float values[] = {NAN, INFINITY};
    fixture all;
    fixture_open(&all, NULL, 2);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    const scratch_file file = scratch_path(*state, "adapters.safetensors");
    for (size_t i = 0; i < 6; i++) {
        fixture own = all;
        aaclip_detector *detector;
        aaclip_result result = {.size = sizeof result};
        must(aaclip_adapters_save(all.adapters, file.path));
        scratch_write_value(file.path, tensors[i / 2], values[i % 2]);
        must(aaclip_adapters_open(&own.adapters, all.model, (const char *[]){file.path}, 1, NULL));
        must(new_detector(&detector, &own, i % 2));
        must_fail(aaclip_detector_detect(detector, &view, "cat", &result), AACLIP_ERROR_FORMAT,
                  "map or score is not finite");
        aaclip_detector_close(&detector);
        aaclip_adapters_close(&own.adapters);
    }
    fixture_close(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_gives_the_bits_of_single_images),
        cmocka_unit_test(a_failed_batch_leaves_no_picture),
        cmocka_unit_test(detecting_again_gives_the_same_bits),
        cmocka_unit_test(thread_counts_give_the_same_result),
        cmocka_unit_test(features_have_their_shapes),
        cmocka_unit_test(score_follows_from_the_detection_feature),
        cmocka_unit_test(pixel_formats_give_equal_results),
        cmocka_unit_test(impossible_views_are_refused),
        cmocka_unit_test(other_models_and_adapters_are_refused),
        cmocka_unit_test(vectors_of_another_configuration_are_refused),
        cmocka_unit_test_setup_teardown(a_bundle_has_vectors_of_its_configuration, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(a_bundle_of_text_alone_keeps_its_configuration,
                                        scratch_make, scratch_remove),
        cmocka_unit_test(image_sizes_are_checked),
        cmocka_unit_test_setup_teardown(what_is_no_number_is_an_error, scratch_make,
                                        scratch_remove),
    };
    return cmocka_run_group_tests_name("detector", tests, NULL, NULL);
}
