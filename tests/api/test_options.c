/* Structs that begin with their size: older, newer and malformed. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fixture.h"
#include "scratch.h"

#define TAIL 16 /* extra bytes of a newer struct */

static fixture shared;
static aaclip_dataset *training_set; /* whose classes are in the cache too */
static aaclip_trainer *trainer;
static aaclip_metrics *counted;
static aaclip_profiler *profiler;
static scratch_file calibration_file;

/* A struct that callers pass: how to fill it, and a call that reads it. */
typedef struct given_struct {
    const char *name; /* as in error texts */
    size_t size;
    aaclip_status (*init)(void *options, size_t size);
    aaclip_status (*use)(void *options);
} given_struct;

static aaclip_status init_model(void *options, size_t size)
{
    return aaclip_model_options_init_sized(options, size);
}

static aaclip_status use_model(void *options)
{
    aaclip_model *model = NULL;
    aaclip_status status = aaclip_model_open(&model, NANO_MODEL, options);
    aaclip_model_close(&model);
    return status;
}

static aaclip_status init_cache(void *options, size_t size)
{
    return aaclip_text_cache_options_init_sized(options, size);
}

static aaclip_status use_cache(void *options)
{
    aaclip_text_cache *cache = NULL;
    aaclip_status status = aaclip_text_cache_new(&cache, shared.model, shared.adapters, options);
    if (!status)
        status = build_classes(cache);
    aaclip_text_cache_close(&cache);
    return status;
}

static aaclip_status init_detector(void *options, size_t size)
{
    return aaclip_detector_options_init_sized(options, size);
}

static aaclip_status use_detector(void *options)
{
    aaclip_detector *detector = NULL;
    aaclip_status status =
        aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, options);
    aaclip_detector_close(&detector);
    return status;
}

static aaclip_status init_config(void *options, size_t size)
{
    return aaclip_config_init_sized(options, size, AACLIP_PROFILE_DOCUMENT);
}

static aaclip_status use_config(void *config)
{
    aaclip_adapters *adapters = NULL;
    const char *const files[] = {NANO "/adapters-document/text_adapter.pth"};
    aaclip_status status = aaclip_adapters_open(&adapters, shared.model, files, 1, config);
    aaclip_adapters_close(&adapters);
    return status;
}

static aaclip_status use_config_in_cache(void *config)
{
    aaclip_text_cache_options options;
    aaclip_text_cache *cache = NULL;
    aaclip_text_cache_options_init(&options);
    options.config = config;
    aaclip_status status = aaclip_text_cache_new(&cache, shared.model, NULL, &options);
    aaclip_text_cache_close(&cache);
    return status;
}

static aaclip_status use_config_in_detector(void *config)
{
    aaclip_detector_options options;
    aaclip_text_cache *cache = NULL;
    aaclip_detector *detector = NULL;
    aaclip_detector_options_init(&options);
    options.config = config;
    must(aaclip_text_cache_new(&cache, shared.model, NULL, NULL));
    aaclip_status status = aaclip_detector_new(&detector, shared.model, NULL, cache, &options);
    aaclip_detector_close(&detector);
    aaclip_text_cache_close(&cache);
    return status;
}

static aaclip_status init_dataset(void *options, size_t size)
{
    return aaclip_dataset_options_init_sized(options, size);
}

static aaclip_status use_dataset(void *options)
{
    aaclip_dataset *dataset = NULL;
    aaclip_status status = aaclip_dataset_open(&dataset, TRAINING_SET, options);
    aaclip_dataset_close(&dataset);
    return status;
}

static aaclip_status init_trainer(void *options, size_t size)
{
    return aaclip_trainer_options_init_sized(options, size, AACLIP_STAGE_IMAGE,
                                             AACLIP_PROFILE_DOCUMENT);
}

/* Vectors from elsewhere go with every profile. */
static aaclip_status use_trainer(void *options)
{
    static const float normal[32] = {1}, abnormal[32] = {0, 1};
    aaclip_text_cache *cache = NULL;
    aaclip_trainer *own = NULL;
    must(aaclip_text_cache_new(&cache, shared.model, shared.adapters, NULL));
    for (size_t i = 0; i < aaclip_dataset_class_count(training_set); i++)
        must(aaclip_text_cache_add(cache, aaclip_dataset_class_name(training_set, i), normal,
                                   abnormal));
    aaclip_status status = aaclip_trainer_new(&own, shared.model, training_set, cache, options);
    aaclip_trainer_close(&own);
    aaclip_text_cache_close(&cache);
    return status;
}

static aaclip_status init_metrics(void *options, size_t size)
{
    return aaclip_metrics_options_init_sized(options, size);
}

static aaclip_status use_metrics(void *options)
{
    aaclip_metrics *own = NULL;
    aaclip_status status = aaclip_metrics_new(&own, options);
    aaclip_metrics_close(&own);
    return status;
}

static aaclip_status init_limits(void *limits, size_t size)
{
    return aaclip_limits_init_sized(limits, size);
}

static aaclip_status use_limits(void *limits)
{
    aaclip_status status = aaclip_limits_set(limits);
    must(aaclip_limits_set(NULL));
    return status;
}

static aaclip_status init_calibration(void *calibration, size_t size)
{
    return aaclip_calibration_init_sized(calibration, size);
}

static aaclip_status use_calibration(void *calibration)
{
    bool defective;
    return aaclip_decide(calibration, 0.5f, NULL, NULL, 0, 0, &defective);
}

static aaclip_status use_calibration_in_detector(void *calibration)
{
    aaclip_detector_options options;
    aaclip_detector_options_init(&options);
    options.calibration = calibration;
    return use_detector(&options);
}

static const given_struct given[] = {
    {"aaclip_model_options", sizeof(aaclip_model_options), init_model, use_model},
    {"aaclip_text_cache_options", sizeof(aaclip_text_cache_options), init_cache, use_cache},
    {"aaclip_detector_options", sizeof(aaclip_detector_options), init_detector, use_detector},
    {"aaclip_dataset_options", sizeof(aaclip_dataset_options), init_dataset, use_dataset},
    {"aaclip_trainer_options", sizeof(aaclip_trainer_options), init_trainer, use_trainer},
    {"aaclip_config", sizeof(aaclip_config), init_config, use_config},
    {"aaclip_config", sizeof(aaclip_config), init_config, use_config_in_cache},
    {"aaclip_config", sizeof(aaclip_config), init_config, use_config_in_detector},
    {"aaclip_metrics_options", sizeof(aaclip_metrics_options), init_metrics, use_metrics},
    {"aaclip_limits", sizeof(aaclip_limits), init_limits, use_limits},
    {"aaclip_calibration", sizeof(aaclip_calibration), init_calibration, use_calibration},
    {"aaclip_calibration", sizeof(aaclip_calibration), init_calibration,
     use_calibration_in_detector},
};

#define GIVEN_COUNT (sizeof given / sizeof *given)
#define ROOM        (sizeof(aaclip_trainer_options) + TAIL) /* the largest of them */

typedef union buffer {
    max_align_t alignment;
    size_t size;
    unsigned char bytes[ROOM];
} buffer;

/* What lies behind an older struct is the caller's own; reading it gives nonsense or crashes. */
static void older_structs_take_defaults(void **state)
{
    (void)state;
    for (size_t i = 0; i < GIVEN_COUNT; i++)
        for (size_t size = sizeof(size_t); size <= given[i].size; size += sizeof(int)) {
            buffer own;
            memset(own.bytes, 0xff, sizeof own.bytes);
            must(given[i].init(own.bytes, size));
            assert_int_equal(own.size, size);
            for (size_t j = size; j < sizeof own.bytes; j++)
                assert_int_equal(own.bytes[j], 0xff);
            must(given[i].use(own.bytes));
        }
}

static void newer_structs_need_a_zero_tail(void **state)
{
    (void)state;
    for (size_t i = 0; i < GIVEN_COUNT; i++) {
        buffer own;
        memset(own.bytes, 0xff, sizeof own.bytes);
        must(given[i].init(own.bytes, given[i].size + TAIL));
        for (size_t j = 0; j < TAIL; j++)
            assert_int_equal(own.bytes[given[i].size + j], 0);
        must(given[i].use(own.bytes));
        for (size_t j = 0; j < TAIL; j++) {
            own.bytes[given[i].size + j] = 1;
            must_fail(given[i].use(own.bytes), AACLIP_ERROR_INVALID_ARGUMENT, given[i].name);
            own.bytes[given[i].size + j] = 0;
        }
    }
}

static void structs_without_size_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < GIVEN_COUNT; i++)
        for (size_t size = 0; size < sizeof(size_t); size++) {
            buffer own = {.size = 0};
            must_fail(given[i].init(own.bytes, size), AACLIP_ERROR_INVALID_ARGUMENT, given[i].name);
            must(given[i].init(own.bytes, given[i].size));
            own.size = size;
            must_fail(given[i].use(own.bytes), AACLIP_ERROR_INVALID_ARGUMENT, given[i].name);
            must_fail(given[i].init(NULL, given[i].size), AACLIP_ERROR_INVALID_ARGUMENT,
                      given[i].name);
        }
}

/* What lies where a program forgot to set a size; nobody has that much room. */
static const size_t wild_sizes[] = {((size_t)1 << 16) + 1, (size_t)0x7f12cdcdcdcdcdcd, SIZE_MAX};

#define WILD_COUNT (sizeof wild_sizes / sizeof *wild_sizes)

static void structs_with_a_wild_size_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < GIVEN_COUNT; i++)
        for (size_t j = 0; j < WILD_COUNT; j++) {
            buffer own = {.size = 0};
            must_fail(given[i].init(own.bytes, wild_sizes[j]), AACLIP_ERROR_INVALID_ARGUMENT,
                      "set size before the call");
            must(given[i].init(own.bytes, given[i].size));
            own.size = wild_sizes[j];
            must_fail(given[i].use(own.bytes), AACLIP_ERROR_INVALID_ARGUMENT, "initialise");
        }
}

static void older_structs_keep_what_they_have(void **state)
{
    (void)state;
    aaclip_model_options options;
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model *model = NULL;
    memset(&options, 0xff, sizeof options);
    options.size = offsetof(aaclip_model_options, precision);
    options.backend = "reference";
    must(aaclip_model_open(&model, NANO_MODEL, &options));
    must(aaclip_model_get_info(model, &info));
    assert_string_equal(info.backend, "reference");
    assert_int_equal(info.precision, AACLIP_PRECISION_F32);
    aaclip_model_close(&model);

    aaclip_detector_options detection;
    aaclip_detector *detector = NULL;
    memset(&detection, 0xff, sizeof detection);
    detection.size = offsetof(aaclip_detector_options, config);
    detection.domain = AACLIP_DOMAIN_MEDICAL;
    detection.image_size = 140;
    must(aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, &detection));
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    const aaclip_result result = detect(detector, &view, "cat");
    assert_int_equal(result.map_width, 140);
    assert_null(result.patch_features);
    assert_false(result.decided);
    aaclip_detector_close(&detector);

    detection.size = offsetof(aaclip_detector_options, calibration);
    detection.config = NULL;
    detection.keep_features = false;
    detection.tile = 112;
    detection.tile_overlap = 0;
    must(aaclip_detector_new(&detector, shared.model, shared.adapters, shared.cache, &detection));
    const aaclip_result tiled = detect(detector, &view, "cat");
    assert_int_equal(tiled.map_width, 281); /* 225 / 112 * 140 */
    assert_false(tiled.decided);
    assert_null(tiled.regions);
    aaclip_detector_close(&detector);
}

/* A field that the caller's version lacks is the profile's, not another profile's. */
static void older_configurations_take_the_rest_from_their_profile(void **state)
{
    (void)state;
    const char *const files[] = {NANO "/adapters-published/text_adapter.pth",
                                 NANO "/adapters-published/image_adapter_20.pth"};
    aaclip_config given_config, expected, found = {.size = sizeof found};
    aaclip_adapters *adapters = NULL;
    memset(&given_config, 0xff, sizeof given_config);
    given_config.size = offsetof(aaclip_config, activation);
    given_config.profile = AACLIP_PROFILE_PUBLISHED;
    must(aaclip_config_init(&expected, AACLIP_PROFILE_PUBLISHED));
    must(aaclip_adapters_open(&adapters, shared.model, files, 2, &given_config));
    must(aaclip_adapters_get_config(adapters, &found));
    assert_int_equal(found.profile, AACLIP_PROFILE_PUBLISHED);
    assert_int_equal(found.activation, expected.activation);
    assert_memory_equal(found.image_mean, expected.image_mean, sizeof found.image_mean);
    assert_true(found.projection_slope == expected.projection_slope);
    assert_int_equal(found.normalize_class_vector, expected.normalize_class_vector);
    aaclip_adapters_close(&adapters);
}

static void older_trainer_options_take_the_rest_from_their_stage(void **state)
{
    (void)state;
    aaclip_trainer_options options;
    aaclip_trainer *own = NULL;
    aaclip_training_progress progress = {.size = sizeof progress};
    memset(&options, 0xff, sizeof options);
    options.size = offsetof(aaclip_trainer_options, initial);
    options.stage = AACLIP_STAGE_TEXT;
    options.config = NULL;
    options.profile = AACLIP_PROFILE_PUBLISHED;
    must(aaclip_trainer_new(&own, shared.model, training_set, NULL, &options));
    must(aaclip_trainer_get_progress(own, &progress));
    assert_int_equal(progress.stage, AACLIP_STAGE_TEXT);
    assert_true(progress.learning_rate == 1e-5);
    assert_int_equal(progress.epoch_steps, 1); /* 7 images in batches of 16 */
    aaclip_trainer_close(&own);
}

/* The first `end` bytes of `found` are those of `whole` but for the size; the rest is untouched. */
static void check_cut(const void *found, const void *whole, size_t end, size_t whole_size)
{
    const unsigned char *bytes = found, *expected = whole;
    assert_memory_equal(bytes, &end, sizeof end);
    assert_memory_equal(bytes + sizeof end, expected + sizeof end, end - sizeof end);
    for (size_t i = end; i < whole_size; i++)
        assert_int_equal(bytes[i], 0xff);
}

static void check_grown(const void *found, const void *whole, size_t whole_size)
{
    const unsigned char *bytes = found, *expected = whole;
    const size_t size = whole_size + TAIL;
    assert_memory_equal(bytes, &size, sizeof size);
    assert_memory_equal(bytes + sizeof size, expected + sizeof size, whole_size - sizeof size);
    for (size_t i = whole_size; i < size; i++)
        assert_int_equal(bytes[i], 0);
}

static aaclip_status get_info(void *out)
{
    return aaclip_model_get_info(shared.model, out);
}

static aaclip_status get_config(void *out)
{
    return aaclip_adapters_get_config(shared.adapters, out);
}

static aaclip_status get_progress(void *out)
{
    return aaclip_trainer_get_progress(trainer, out);
}

static aaclip_status get_losses(void *out)
{
    return aaclip_trainer_evaluate(trainer, training_set, out);
}

static aaclip_status get_calibration(void *out)
{
    return aaclip_calibration_load(out, calibration_file.path);
}

static aaclip_status get_values(void *out)
{
    return aaclip_metrics_compute(counted, 0, out);
}

static aaclip_status get_limits(void *out)
{
    return aaclip_limits_get(out);
}

static aaclip_status get_entry(void *out)
{
    return aaclip_profiler_get(profiler, 0, out);
}

/* A struct that the library fills. */
typedef struct filled_struct {
    const char *name;
    size_t size;
    aaclip_status (*get)(void *out);
    size_t gaps[2][2]; /* begin and end of padding between its fields, which has any value */
} filled_struct;

#define AFTER(type, field) (offsetof(type, field) + sizeof(((type *)0)->field))

static const filled_struct filled[] = {
    {"aaclip_model_info",
     sizeof(aaclip_model_info),
     get_info,
     {{AFTER(aaclip_model_info, has_text), offsetof(aaclip_model_info, text_layers)},
      {AFTER(aaclip_model_info, vocabulary), offsetof(aaclip_model_info, fingerprint)}}},
    {"aaclip_config", sizeof(aaclip_config), get_config, {{0, 0}}},
    {"aaclip_training_progress",
     sizeof(aaclip_training_progress),
     get_progress,
     {{AFTER(aaclip_training_progress, stage), offsetof(aaclip_training_progress, epoch)}}},
    {"aaclip_losses", sizeof(aaclip_losses), get_losses, {{0, 0}}},
    {"aaclip_calibration",
     sizeof(aaclip_calibration),
     get_calibration,
     {{AFTER(aaclip_calibration, method), offsetof(aaclip_calibration, images)},
      {AFTER(aaclip_calibration, domain), offsetof(aaclip_calibration, model_fingerprint)}}},
    {"aaclip_metric_values", sizeof(aaclip_metric_values), get_values, {{0, 0}}},
    {"aaclip_limits", sizeof(aaclip_limits), get_limits, {{0, 0}}},
    {"aaclip_profiler_entry",
     sizeof(aaclip_profiler_entry),
     get_entry,
     {{AFTER(aaclip_profiler_entry, threads), offsetof(aaclip_profiler_entry, calls)}}},
};

/* Gets a struct of `size` bytes; what lies behind stays 0xff. */
static void get_sized(const filled_struct *kind, buffer *out, size_t size)
{
    memset(out->bytes, 0xff, sizeof out->bytes);
    out->size = size;
    must(kind->get(out->bytes));
    for (size_t gap = 0; gap < 2; gap++)
        for (size_t i = kind->gaps[gap][0]; i < kind->gaps[gap][1] && i < size; i++)
            out->bytes[i] = 0;
}

static void filled_structs_may_have_another_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof filled / sizeof *filled; i++) {
        const filled_struct *kind = &filled[i];
        buffer whole, other;
        get_sized(kind, &whole, kind->size);
        for (size_t size = sizeof(size_t); size < kind->size; size += sizeof(int)) {
            get_sized(kind, &other, size);
            check_cut(other.bytes, whole.bytes, size, kind->size);
        }
        get_sized(kind, &other, kind->size + TAIL);
        check_grown(other.bytes, whole.bytes, kind->size);
        other.size = sizeof(size_t) - 1;
        must_fail(kind->get(other.bytes), AACLIP_ERROR_INVALID_ARGUMENT, kind->name);
        for (size_t j = 0; j < WILD_COUNT; j++) {
            other.size = wild_sizes[j];
            must_fail(kind->get(other.bytes), AACLIP_ERROR_INVALID_ARGUMENT,
                      "set size before the call");
        }
    }
}

typedef struct older_result {
    size_t size;
    float score;
    const float *map;
} older_result;

typedef struct newer_result {
    aaclip_result result;
    unsigned char tail[TAIL];
} newer_result;

_Static_assert(offsetof(older_result, map) == offsetof(aaclip_result, map), "a true beginning");

static void batches_of_results_may_have_another_size(void **state)
{
    (void)state;
    aaclip_detector *detector = make_detector(&shared, false);
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    const aaclip_image_view views[] = {view, view, view};
    const char *const names[] = {"cat", "nut", "cat"};
    older_result older[4];
    newer_result newer[3];
    aaclip_result own[3] = {{.size = sizeof own[0]}};
    memset(older, 0xff, sizeof older);
    memset(newer, 0xff, sizeof newer);
    older[0].size = sizeof older[0];
    newer[0].result.size = sizeof newer[0];
    must(aaclip_detector_detect_batch(detector, views, names, 3, own));
    const float scores[] = {own[0].score, own[1].score, own[2].score};
    assert_true(scores[0] == scores[2] && scores[0] != scores[1]);
    must(aaclip_detector_detect_batch(detector, views, names, 3, (aaclip_result *)older));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(older[i].size, sizeof older[i]);
        assert_true(older[i].score == scores[i]);
        assert_non_null(older[i].map);
    }
    assert_int_equal(older[3].size, SIZE_MAX);
    must(aaclip_detector_detect_batch(detector, views, names, 3, &newer[0].result));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(newer[i].result.size, sizeof newer[i]);
        assert_true(newer[i].result.score == scores[i]);
        for (size_t j = 0; j < TAIL; j++)
            assert_int_equal(newer[i].tail[j], 0);
    }
    own[0].size = 0;
    must_fail(aaclip_detector_detect_batch(detector, views, names, 3, own),
              AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_result");
    for (size_t i = 0; i < WILD_COUNT; i++) {
        own[0].size = wild_sizes[i];
        must_fail(aaclip_detector_detect_batch(detector, views, names, 3, own),
                  AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_result: set size before the call");
    }
    aaclip_detector_close(&detector);
}

/* One good and one bad image, and thresholds in a file. */
static void open_evaluation(const char *folder)
{
    const float map[] = {0.25f, 0.75f};
    const uint8_t mask[] = {0, 1};
    aaclip_calibration calibration;
    calibration_file = scratch_path(folder, "calibration.json");
    must(aaclip_calibration_init(&calibration));
    calibration.map_threshold = 0.75f;
    calibration.false_alarm_rate = 0.01;
    calibration.images = 3;
    must(aaclip_calibration_save(&calibration, calibration_file.path));
    must(aaclip_metrics_new(&counted, NULL));
    must(aaclip_metrics_add(counted, "nut", map, mask, 2, 1, 1, 1));
    must(aaclip_metrics_add(counted, "nut", map, NULL, 2, 1, 0, 0));
}

static int open_shared(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    open_evaluation(*state);
    fixture_open(&shared, NULL, 1);
    must(aaclip_profiler_start(&profiler));
    aaclip_detector *detector = make_detector(&shared, false);
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    detect(detector, &view, "cat");
    aaclip_detector_close(&detector);
    must(aaclip_profiler_stop(profiler));
    training_set = open_training_set();
    trainer = make_trainer(&shared, training_set);
    return 0;
}

static int close_shared(void **state)
{
    aaclip_trainer_close(&trainer);
    aaclip_dataset_close(&training_set);
    aaclip_metrics_close(&counted);
    aaclip_profiler_close(&profiler);
    fixture_close(&shared);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(older_structs_take_defaults),
        cmocka_unit_test(newer_structs_need_a_zero_tail),
        cmocka_unit_test(structs_without_size_are_refused),
        cmocka_unit_test(structs_with_a_wild_size_are_refused),
        cmocka_unit_test(older_structs_keep_what_they_have),
        cmocka_unit_test(older_configurations_take_the_rest_from_their_profile),
        cmocka_unit_test(older_trainer_options_take_the_rest_from_their_stage),
        cmocka_unit_test(filled_structs_may_have_another_size),
        cmocka_unit_test(batches_of_results_may_have_another_size),
    };
    return cmocka_run_group_tests_name("options", tests, open_shared, close_shared);
}
