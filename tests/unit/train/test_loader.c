/* Samples come in order, the same for any number of threads, with errors in their place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <zlib.h>

#include <aaclip/config.h>

#include "core/platform.h"
#include "failing_allocator.h"
#include "images/resize.h"
#include "scratch_tree.h"
#include "train/loader.h"

enum { SIZE = 28, COUNT = 24 };

/* COUNT images of different sizes; every third is abnormal. */
static aaclip_dataset *make_dataset(const char *root)
{
    char path[64];
    for (uint32_t i = 0; i < COUNT; i++) {
        const char *kind = i % 3 ? "train/good" : "test/bent";
        snprintf(path, sizeof path, "%s/%03u.png", kind, i);
        scratch_tree_noise(root, path, 30 + 3 * i, 90 - 2 * i, i);
        snprintf(path, sizeof path, "ground_truth/bent/%03u_mask.png", i);
        if (i % 3 == 0)
            scratch_tree_mask(root, path, 30 + 3 * i, 90 - 2 * i, i);
    }
    aaclip_dataset *dataset;
    if (aaclip_dataset_open(&dataset, root, NULL))
        fail_msg("%s", aaclip_last_error());
    assert_int_equal(aaclip_dataset_count(dataset), COUNT);
    return dataset;
}

static aac_augment_options augmentation(void)
{
    aaclip_config config;
    aac_augment_options options;
    assert_int_equal(aaclip_config_init(&config, AACLIP_PROFILE_DOCUMENT), AACLIP_OK);
    aac_augment_options_init(&options, &config, 2);
    return options;
}

static uint32_t checksum(const aac_sample *sample)
{
    uLong sum = crc32(0, sample->rgb, SIZE * SIZE * 3);
    return (uint32_t)crc32(sum, sample->mask, SIZE * SIZE);
}

static aac_loader *open_loader(const aaclip_dataset *dataset, const size_t *order, size_t count,
                               const aac_loader_options *options)
{
    aac_loader *loader;
    if (aac_loader_open(&loader, dataset, order, count, options))
        fail_msg("%s", aaclip_last_error());
    return loader;
}

/* The checksums of all samples by their index; every sample must come in its turn. */
static void load_all(const aaclip_dataset *dataset, const size_t *order,
                     const aac_loader_options *options, uint32_t sums[COUNT])
{
    aac_loader *loader = open_loader(dataset, order, COUNT, options);
    const aac_sample *sample;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        assert_int_equal(sample->index, order[i]);
        const aaclip_sample *listed = aaclip_dataset_get(dataset, order[i]);
        assert_int_equal(sample->label, listed->label);
        assert_int_equal(sample->class_index, listed->class_index);
        assert_ptr_equal(sample->class_name, listed->class_name);
        if (options->memory) {
            const uint8_t *end = options->memory + aac_loader_memory(options);
            assert_true(sample->rgb >= options->memory && sample->mask + SIZE * SIZE <= end);
        }
        sums[sample->index] = checksum(sample);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        assert_null(sample);
    }
    aac_loader_close(&loader);
    assert_null(loader);
}

static void samples_do_not_depend_on_threads_or_order(void **state)
{
    aaclip_dataset *dataset = make_dataset(*state);
    const aac_augment_options augment = augmentation();
    aac_loader_options options = {.image_size = SIZE, .augment = &augment, .seed = 7, .ahead = 1};
    size_t order[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        order[i] = i;
    uint32_t expected[COUNT], found[COUNT];
    load_all(dataset, order, &options, expected);
    aac_random random;
    aac_random_seed(&random, 1, 1);
    for (unsigned threads = 1; threads <= 5; threads += 2)
        for (size_t ahead = 1; ahead <= 40; ahead = 3 * ahead + 1) {
            options.threads = threads;
            options.ahead = ahead;
            options.memory = ahead % 2 ? malloc(aac_loader_memory(&options)) : NULL;
            aac_random_shuffle(&random, order, COUNT);
            load_all(dataset, order, &options, found);
            assert_memory_equal(found, expected, sizeof expected);
            free(options.memory);
            options.memory = NULL;
        }
    options.epoch = 1;
    load_all(dataset, order, &options, found);
    size_t same = 0;
    for (size_t i = 0; i < COUNT; i++)
        same += found[i] == expected[i];
    assert_int_equal(same, 0);
    options.epoch = 0;
    options.seed = 8;
    load_all(dataset, order, &options, found);
    for (size_t i = 0; i < COUNT; i++)
        same += found[i] == expected[i];
    assert_int_equal(same, 0);
    aaclip_dataset_close(&dataset);
}

static void plain_samples_are_only_resized(void **state)
{
    aaclip_dataset *dataset = make_dataset(*state);
    const size_t order[] = {3, 0, 20, 3};
    aac_loader_options options = {.image_size = SIZE, .threads = 2, .ahead = 2};
    aac_loader *loader = open_loader(dataset, order, 4, &options);
    aaclip_dataset_close(&dataset); /* the loader keeps it */
    for (size_t i = 0; i < 4; i++) {
        const aac_sample *sample;
        uint8_t rgb[SIZE * SIZE * 3], mask[SIZE * SIZE] = {0};
        char path[256];
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        /* abnormal ones stand last: train comes before test */
        const bool normal = order[i] < 16;
        const size_t number = normal ? order[i] * 3 / 2 + 1 : 3 * (order[i] - 16);
        assert_int_equal(sample->label, !normal);
        assert_true(sample->has_mask);
        aaclip_image *image;
        snprintf(path, sizeof path, "%s/%s/%03zu.png", (char *)*state,
                 normal ? "train/good" : "test/bent", number);
        assert_int_equal(aaclip_image_open(&image, path), AACLIP_OK);
        aaclip_image_view view = aaclip_image_get_view(image);
        assert_int_equal(aaclip_image_resize(&view, SIZE, SIZE, rgb), AACLIP_OK);
        aaclip_image_close(&image);
        if (!normal) {
            snprintf(path, sizeof path, "%s/ground_truth/bent/%03zu_mask.png", (char *)*state,
                     number);
            assert_int_equal(aaclip_image_open(&image, path), AACLIP_OK);
            view = aaclip_image_get_view(image);
            assert_int_equal(aac_resize_mask(&view, SIZE, SIZE, mask), AACLIP_OK);
            assert_non_null(memchr(mask, 1, sizeof mask));
            aaclip_image_close(&image);
        }
        assert_memory_equal(sample->rgb, rgb, sizeof rgb);
        assert_memory_equal(sample->mask, mask, sizeof mask);
    }
    aac_loader_close(&loader);
}

/* Masks move with the image: a picture that is its own mask stays so. */
static void masks_move_with_the_image(void **state)
{
    const char *root = *state;
    scratch_tree_mask(root, "test/bent/000.png", SIZE, SIZE, 5);
    scratch_tree_mask(root, "ground_truth/bent/000.png", SIZE, SIZE, 5);
    aaclip_dataset *dataset;
    assert_int_equal(aaclip_dataset_open(&dataset, root, NULL), AACLIP_OK);
    aac_augment_options augment = augmentation();
    augment.margin = 0; /* no resize: the pixels stay 0 and 255 */
    augment.rotation = 180;
    augment.translation = 0.3;
    augment.translation_probability = 1;
    augment.colour_probability = 0;
    augment.vertical_flip = 0.5;
    aac_loader_options options = {
        .image_size = SIZE, .augment = &augment, .threads = 1, .ahead = 1};
    for (options.epoch = 0; options.epoch < 50; options.epoch++) {
        aac_loader *loader = open_loader(dataset, (const size_t[]){0}, 1, &options);
        const aac_sample *sample;
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        for (size_t i = 0; i < SIZE * SIZE; i++)
            assert_int_equal(sample->rgb[3 * i], sample->mask[i] * 255);
        aac_loader_close(&loader);
    }
    aaclip_dataset_close(&dataset);
}

static void errors_come_in_their_place(void **state)
{
    const char *root = *state;
    aaclip_dataset *dataset = make_dataset(root);
    scratch_tree_text(root, "train/good/002.png", "BM, but broken");
    scratch_tree_mask(root, "ground_truth/bent/003_mask.png", 39, 83, 1); /* the image: 39x84 */
    size_t order[] = {0, 1, 2, 17, 16};
    for (unsigned threads = 0; threads < 4; threads++) {
        aac_loader_options options = {.image_size = SIZE, .threads = threads, .ahead = 3};
        aac_loader *loader = open_loader(dataset, order, 5, &options);
        const aac_sample *sample;
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_ERROR_FORMAT);
        assert_null(sample);
        assert_non_null(strstr(aaclip_last_error(), "train/good/002.png: "));
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        assert_int_equal(sample->index, 2);
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_ERROR_MISMATCH);
        assert_non_null(strstr(aaclip_last_error(), "test/bent/003.png: 39x84 pixels, but its "));
        assert_non_null(strstr(aaclip_last_error(), "ground_truth/bent/003_mask.png has 39x83"));
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        assert_int_equal(sample->index, 16);
        assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        assert_null(sample);
        aac_loader_close(&loader);
    }
    aaclip_dataset_close(&dataset);
}

static void masks_may_be_required(void **state)
{
    const char *root = *state;
    scratch_tree_noise(root, "test/bent/000.png", 40, 40, 1);
    scratch_tree_noise(root, "test/good/000.png", 40, 40, 2);
    aaclip_dataset *dataset;
    assert_int_equal(aaclip_dataset_open(&dataset, root, NULL), AACLIP_OK);
    const size_t order[] = {0, 1};
    aac_loader_options options = {.image_size = SIZE, .threads = 1, .ahead = 2};
    aac_loader *loader = open_loader(dataset, order, 2, &options);
    const aac_sample *sample;
    assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
    assert_int_equal(sample->label, 1);
    assert_false(sample->has_mask);
    assert_null(memchr(sample->mask, 1, SIZE * SIZE));
    assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
    assert_true(sample->has_mask);
    aac_loader_close(&loader);
    options.require_masks = true;
    loader = open_loader(dataset, order, 2, &options);
    assert_int_equal(aac_loader_next(loader, &sample), AACLIP_ERROR_NOT_FOUND);
    assert_non_null(strstr(aaclip_last_error(), "test/bent/000.png"));
    assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
    aac_loader_close(&loader);
    aaclip_dataset_close(&dataset);
}

static void loaders_may_be_closed_at_any_time(void **state)
{
    aaclip_dataset *dataset = make_dataset(*state);
    size_t order[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        order[i] = i;
    aac_loader_options options = {.image_size = SIZE};
    for (size_t taken = 0; taken <= COUNT + 1; taken++) {
        options.threads = (unsigned)(taken % 4);
        options.ahead = taken % 5 + 1;
        aac_loader *loader = open_loader(dataset, order, COUNT, &options);
        const aac_sample *sample;
        for (size_t i = 0; i < taken; i++)
            assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        aac_loader_close(&loader);
    }
    aac_loader *loader = open_loader(dataset, NULL, 0, &options);
    const aac_sample *sample;
    assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
    assert_null(sample);
    aac_loader_close(&loader);
    aac_loader_close(&loader);
    aaclip_dataset_close(&dataset);
}

static void wrong_arguments_are_refused(void **state)
{
    aaclip_dataset *dataset = make_dataset(*state);
    aac_loader *loader;
    aac_loader_options options = {.image_size = SIZE, .ahead = 1};
    assert_int_equal(aac_loader_open(&loader, dataset, (const size_t[]){COUNT}, 1, &options),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(aaclip_last_error(), "expected below 24, found 24"));
    options.ahead = 0;
    assert_int_equal(aac_loader_open(&loader, dataset, NULL, 0, &options),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    options = (aac_loader_options){.ahead = 1};
    assert_int_equal(aac_loader_open(&loader, dataset, NULL, 0, &options),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    aac_augment_options augment = augmentation();
    augment.margin = -1;
    options = (aac_loader_options){.image_size = SIZE, .ahead = 1, .augment = &augment};
    assert_int_equal(aac_loader_open(&loader, dataset, NULL, 0, &options),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    aaclip_dataset_close(&dataset);
}

/* Without threads, as the allocator of the test counts without locks. */
static aaclip_status load_two(void *dataset)
{
    aac_augment_options augment = augmentation();
    aac_loader_options options = {.image_size = SIZE, .augment = &augment, .ahead = 2};
    aac_loader *loader;
    const aac_sample *sample;
    aaclip_status status = aac_loader_open(&loader, dataset, (const size_t[]){0, 16}, 2, &options);
    for (int i = 0; !status && i < 2; i++)
        status = aac_loader_next(loader, &sample);
    aac_loader_close(&loader);
    return status;
}

typedef struct warnings {
    aac_mutex *mutex; /* the loader's threads log at once */
    int none, all, others;
    char last[1024];
} warnings;

static void count_warning(aaclip_log_level level, const char *message, void *user)
{
    warnings *found = user;
    if (level != AACLIP_LOG_WARNING)
        return;
    aac_mutex_lock(found->mutex);
    if (strstr(message, "000_mask.png: expected a defect, found none in 30x90 pixels"))
        found->none++;
    else if (strstr(message, "003_mask.png: expected a defect, found all 39x84 pixels marked"))
        found->all++;
    else
        found->others++;
    snprintf(found->last, sizeof found->last, "%s", message);
    aac_mutex_unlock(found->mutex);
}

/* Not in every epoch, nor when augmentation moves a defect out. */
static void masks_of_one_value_are_told_once(void **state)
{
    aaclip_dataset *dataset = make_dataset(*state);
    scratch_tree_plain(*state, "ground_truth/bent/000_mask.png", 30, 90, 0);
    scratch_tree_plain(*state, "ground_truth/bent/003_mask.png", 39, 84, 255);
    aac_augment_options augment = augmentation();
    augment.translation = 1;
    augment.translation_probability = 1;
    aac_loader_options options = {
        .image_size = SIZE, .augment = &augment, .threads = 2, .ahead = 3};
    size_t order[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        order[i] = i;
    warnings found = {.mutex = aac_mutex_new()};
    aaclip_set_log(count_warning, AACLIP_LOG_WARNING, &found);
    for (options.epoch = 0; options.epoch < 3; options.epoch++) {
        uint32_t sums[COUNT];
        load_all(dataset, order, &options, sums);
    }
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    aac_mutex_free(found.mutex);
    if (found.none != 1 || found.all != 1 || found.others)
        fail_msg("%d, %d and %d warnings, last %s", found.none, found.all, found.others,
                 found.last);
    aaclip_dataset_close(&dataset);
}

#ifdef AAC_HAVE_PNG
/* Of grey levels that are cut off: a photograph's, but not a mask's. */
static void lost_depth_is_told_once(void **state)
{
    aaclip_dataset *dataset = make_dataset(*state);
    enum { WIDTH = 30, HEIGHT = 90 };
    float *values = calloc(WIDTH * HEIGHT, sizeof *values);
    for (size_t i = 0; i < WIDTH * HEIGHT; i++)
        values[i] = (float)i / (WIDTH * HEIGHT);
    static const char *const files[] = {"test/bent/000.png", "ground_truth/bent/000_mask.png"};
    for (size_t i = 0; i < 2; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", (const char *)*state, files[i]);
        assert_int_equal(aaclip_write_png16(path, values, WIDTH, HEIGHT), AACLIP_OK);
    }
    free(values);
    size_t first = 0;
    while (!strstr(aaclip_dataset_get(dataset, first)->image_path, files[0]))
        first++;
    const size_t order[] = {first, first, first};
    aac_loader_options options = {.image_size = SIZE, .ahead = 1};
    warnings found = {.mutex = aac_mutex_new()};
    aaclip_set_log(count_warning, AACLIP_LOG_WARNING, &found);
    for (int epoch = 0; epoch < 2; epoch++) {
        aac_loader *loader = open_loader(dataset, order, 3, &options);
        const aac_sample *sample;
        for (int i = 0; i < 3; i++)
            assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
        aac_loader_close(&loader);
    }
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    aac_mutex_free(found.mutex);
    assert_int_equal(found.none + found.all, 0);
    assert_int_equal(found.others, 1);
    assert_non_null(strstr(found.last, "bent/000.png: 16-bit grey: "));
    aaclip_dataset_close(&dataset);
}

/* The first sample of a data set under this window, resized to SIZE. */
static void load_windowed(const char *folder, double low, double high, uint8_t *rgb)
{
    aaclip_dataset *dataset = NULL;
    aaclip_dataset_options open;
    aaclip_dataset_options_init(&open);
    open.window_low = low;
    open.window_high = high;
    assert_int_equal(aaclip_dataset_open(&dataset, folder, &open), AACLIP_OK);
    const size_t order[] = {0};
    const aac_loader_options options = {.image_size = SIZE, .ahead = 1};
    aac_loader *loader = open_loader(dataset, order, 1, &options);
    const aac_sample *sample;
    assert_int_equal(aac_loader_next(loader, &sample), AACLIP_OK);
    memcpy(rgb, sample->rgb, SIZE * SIZE * 3);
    aac_loader_close(&loader);
    aaclip_dataset_close(&dataset);
}

/* 12 bits of 16: the same pixels as of a file that was scaled before. */
static void a_window_is_the_data_set_s(void **state)
{
    enum { WIDTH = 30, HEIGHT = 20 };
    char folder[1024], path[1100];
    float values[WIDTH * HEIGHT];
    uint8_t scaled[WIDTH * HEIGHT], expected[SIZE * SIZE * 3], found[SIZE * SIZE * 3];
    for (size_t i = 0; i < WIDTH * HEIGHT; i++) {
        const uint32_t value = (uint32_t)(i * 4095 / (WIDTH * HEIGHT - 1));
        values[i] = (float)value / 65535;
        scaled[i] = (uint8_t)((2 * 255 * value + 4095) / (2 * 4095));
    }
    const aaclip_image_view view = {scaled, WIDTH, HEIGHT, 0, AACLIP_PIXEL_GRAY8};
    assert_int_equal(aaclip_image_resize(&view, SIZE, SIZE, expected), AACLIP_OK);
    snprintf(folder, sizeof folder, "%s/window", (const char *)*state);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/a.png", folder);
    assert_int_equal(aaclip_write_png16(path, values, WIDTH, HEIGHT), AACLIP_OK);
    load_windowed(folder, 0, 4095, found);
    assert_memory_equal(found, expected, sizeof found);
    load_windowed(folder, 0, 0, found);
    assert_memory_not_equal(found, expected, sizeof found);
    aaclip_dataset *dataset = (aaclip_dataset *)state;
    aaclip_dataset_options options;
    aaclip_dataset_options_init(&options);
    options.window_low = 5;
    assert_int_equal(aaclip_dataset_open(&dataset, folder, &options),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(aaclip_last_error(), "window_low"));
    assert_null(dataset);
}
#else
static void a_window_is_the_data_set_s(void **state)
{
    (void)state;
    skip();
}

static void lost_depth_is_told_once(void **state)
{
    (void)state;
    skip();
}
#endif

static void allocations_may_fail(void **state)
{
    aaclip_dataset *dataset = make_dataset(*state);
    assert_true(fail_each_allocation(load_two, dataset) > 20);
    aaclip_dataset_close(&dataset);
}

#define in_scratch_tree(test)                                                                      \
    cmocka_unit_test_setup_teardown(test, scratch_tree_make, scratch_tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_scratch_tree(samples_do_not_depend_on_threads_or_order),
        in_scratch_tree(plain_samples_are_only_resized),
        in_scratch_tree(masks_move_with_the_image),
        in_scratch_tree(errors_come_in_their_place),
        in_scratch_tree(masks_may_be_required),
        in_scratch_tree(loaders_may_be_closed_at_any_time),
        in_scratch_tree(wrong_arguments_are_refused),
        in_scratch_tree(masks_of_one_value_are_told_once),
        in_scratch_tree(lost_depth_is_told_once),
        in_scratch_tree(a_window_is_the_data_set_s),
        in_scratch_tree(allocations_may_fail),
    };
    return cmocka_run_group_tests_name("loader", tests, NULL, NULL);
}
