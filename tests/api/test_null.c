/* NULL for every pointer of every public function: refused, or harmless if documented so. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>

#include "fixture.h"

static fixture shared;
static aaclip_detector *detector;
static aaclip_dataset *training_set;
static aaclip_trainer *trainer;

#define refused(call) must_fail((call), AACLIP_ERROR_INVALID_ARGUMENT, "")
/* The call is refused and leaves no stale handle. */
#define refused_handle(handle, call)                                                               \
    do {                                                                                           \
        (handle) = (void *)&shared;                                                                \
        refused(call);                                                                             \
        assert_null(handle);                                                                       \
    } while (0)

static void models(void **state)
{
    (void)state;
    aaclip_model *model;
    aaclip_model_info info = {.size = sizeof info};
    refused(aaclip_model_open(NULL, NANO_MODEL, NULL));
    refused_handle(model, aaclip_model_open(&model, NULL, NULL));
    refused(aaclip_model_open_memory(NULL, "bytes", 5, "name", NULL));
    refused_handle(model, aaclip_model_open_memory(&model, NULL, 5, "name", NULL));
    refused_handle(model, aaclip_model_open_memory(&model, "bytes", 5, NULL, NULL));
    refused(aaclip_model_get_info(NULL, &info));
    refused(aaclip_model_get_info(shared.model, NULL));
    refused(aaclip_model_save(NULL, "unused", false));
    refused(aaclip_model_save(shared.model, NULL, false));
    refused(aaclip_verify_file(NULL));
    assert_null(aaclip_model_operation_backend(NULL, "linear"));
    assert_null(aaclip_model_operation_backend(shared.model, NULL));
    assert_null(aaclip_model_operation_backend(shared.model, "no such operation"));
    assert_non_null(aaclip_model_operation_backend(shared.model, "linear"));
    aaclip_model_close(NULL);
    model = NULL;
    aaclip_model_close(&model);
}

static void adapters(void **state)
{
    (void)state;
    aaclip_adapters *own;
    aaclip_config config = {.size = sizeof config};
    const char *const path[] = {NANO "/adapters-document/text_adapter.pth"};
    const char *const holes[] = {path[0], NULL};
    refused(aaclip_adapters_open(NULL, shared.model, path, 1, NULL));
    refused_handle(own, aaclip_adapters_open(&own, NULL, path, 1, NULL));
    refused_handle(own, aaclip_adapters_open(&own, shared.model, NULL, 1, NULL));
    refused_handle(own, aaclip_adapters_open(&own, shared.model, path, 0, NULL));
    refused_handle(own, aaclip_adapters_open(&own, shared.model, holes, 2, NULL));
    refused(aaclip_adapters_get_config(NULL, &config));
    refused(aaclip_adapters_get_config(shared.adapters, NULL));
    refused(aaclip_adapters_save(NULL, "unused"));
    refused(aaclip_adapters_save(shared.adapters, NULL));
    assert_false(aaclip_adapters_has_text(NULL));
    assert_false(aaclip_adapters_has_image(NULL));
    aaclip_adapters_close(NULL);
    own = NULL;
    aaclip_adapters_close(&own);
}

static void text_caches(void **state)
{
    (void)state;
    aaclip_text_cache *own;
    const char *const names[] = {"a", NULL}, *const empty[] = {""};
    float vector[4096] = {0};
    int32_t ids[80];
    size_t count;
    refused(aaclip_text_cache_new(NULL, shared.model, shared.adapters, NULL));
    refused_handle(own, aaclip_text_cache_new(&own, NULL, shared.adapters, NULL));
    refused(aaclip_text_cache_open(NULL, shared.model, shared.adapters, "unused", NULL));
    refused_handle(own, aaclip_text_cache_open(&own, NULL, shared.adapters, "unused", NULL));
    refused(aaclip_text_cache_build(NULL, names, names, 1));
    refused(aaclip_text_cache_build(shared.cache, NULL, names, 1));
    refused(aaclip_text_cache_build(shared.cache, names, NULL, 1));
    refused(aaclip_text_cache_build(shared.cache, names, names, 2));
    refused(aaclip_text_cache_build(shared.cache, empty, names, 1));
    refused(aaclip_text_cache_build(shared.cache, names, empty, 1));
    must(aaclip_text_cache_build(shared.cache, NULL, NULL, 0));
    refused(aaclip_text_cache_add(NULL, "a", vector, vector));
    refused(aaclip_text_cache_add(shared.cache, NULL, vector, vector));
    refused(aaclip_text_cache_add(shared.cache, "", vector, vector));
    refused(aaclip_text_cache_add(shared.cache, "a", NULL, vector));
    refused(aaclip_text_cache_add(shared.cache, "a", vector, NULL));
    refused(aaclip_text_cache_get(NULL, "cat", vector, vector));
    refused(aaclip_text_cache_get(shared.cache, NULL, vector, vector));
    must(aaclip_text_cache_get(shared.cache, "cat", NULL, NULL));
    refused(aaclip_text_cache_save(NULL, "unused"));
    refused(aaclip_text_cache_save(shared.cache, NULL));
    refused(aaclip_text_cache_encode(NULL, names, 1, vector));
    refused(aaclip_text_cache_encode(shared.cache, NULL, 1, vector));
    refused(aaclip_text_cache_encode(shared.cache, names, 2, vector));
    refused(aaclip_text_cache_encode(shared.cache, names, 1, NULL));
    must(aaclip_text_cache_encode(shared.cache, NULL, 0, NULL));
    must(aaclip_text_cache_build(shared.cache, NULL, NULL, 0));
    refused(aaclip_text_cache_tokenize(NULL, "a", ids, 80, &count));
    refused(aaclip_text_cache_tokenize(shared.cache, NULL, ids, 80, &count));
    refused(aaclip_text_cache_tokenize(shared.cache, "a", NULL, 80, &count));
    refused(aaclip_text_cache_tokenize(shared.cache, "a", ids, 80, NULL));
    assert_int_equal(aaclip_text_cache_count(NULL), 0);
    assert_int_equal(aaclip_text_cache_count(shared.cache), 4); /* no refused call added one */
    assert_null(aaclip_text_cache_name(NULL, 0));
    assert_null(aaclip_text_cache_name(shared.cache, 4));
    aaclip_text_cache_close(NULL);
    own = NULL;
    aaclip_text_cache_close(&own);
}

static void detectors(void **state)
{
    (void)state;
    aaclip_detector *own;
    aaclip_result result = {.size = sizeof result};
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    const char *const name[] = {"cat"}, *const no_name[] = {NULL};
    const uint8_t byte = 1;
    float value = 1;
    refused(aaclip_detector_new(NULL, shared.model, shared.adapters, shared.cache, NULL));
    refused_handle(own, aaclip_detector_new(&own, NULL, shared.adapters, shared.cache, NULL));
    refused_handle(own, aaclip_detector_new(&own, shared.model, shared.adapters, NULL, NULL));
    refused(aaclip_detector_detect(NULL, &view, "cat", &result));
    refused(aaclip_detector_detect(detector, NULL, "cat", &result));
    refused(aaclip_detector_detect(detector, &view, NULL, &result));
    refused(aaclip_detector_detect(detector, &view, "cat", NULL));
    refused(aaclip_detector_detect_batch(NULL, &view, name, 1, &result));
    refused(aaclip_detector_detect_batch(detector, NULL, name, 1, &result));
    refused(aaclip_detector_detect_batch(detector, &view, NULL, 1, &result));
    refused(aaclip_detector_detect_batch(detector, &view, no_name, 1, &result));
    refused(aaclip_detector_detect_batch(detector, &view, name, 1, NULL));
    assert_non_null(strstr(aaclip_last_error(), "aaclip_detector_detect_batch: NULL argument"));
    must(aaclip_detector_detect_batch(detector, NULL, NULL, 0, NULL));
    refused(aaclip_detector_detect_batch(NULL, NULL, NULL, 0, NULL));
    refused(aaclip_bundle_save(shared.model, shared.adapters, shared.cache, NULL, false));
    refused(aaclip_bundle_save(NULL, shared.adapters, shared.cache, "unused", false));
    refused(aaclip_bundle_save(shared.model, shared.adapters, NULL, "unused", false));
    refused(aaclip_detector_set_roi(NULL, &byte, 1, 1));
    must(aaclip_detector_set_roi(detector, NULL, 0, 0));
    refused(aaclip_detector_set_calibration(NULL, "cat", NULL));
    refused(aaclip_detector_set_calibration(NULL, NULL, NULL));
    must(aaclip_detector_set_calibration(detector, NULL, NULL));
    must(aaclip_detector_set_calibration(detector, "cat", NULL));
    assert_int_equal(aaclip_detector_image_size(NULL), 0);
    aaclip_map_probability(NULL, 1, 4, &value);
    aaclip_map_probability(&value, 1, 4, NULL);
    assert_true(value == 1);
    aaclip_detector_close(NULL);
    own = NULL;
    aaclip_detector_close(&own);
}

static void images(void **state)
{
    (void)state;
    aaclip_image *own;
    uint8_t rgb[3 * 4], byte = 1;
    float values[4] = {0};
    const size_t shape[] = {2, 2};
    const aaclip_image_view view = {rgb, 2, 2, 0, AACLIP_PIXEL_RGB8}, nothing = {0};
    refused(aaclip_image_open(NULL, PHOTO));
    refused_handle(own, aaclip_image_open(&own, NULL));
    refused(aaclip_image_decode(NULL, &byte, 1, "byte"));
    refused_handle(own, aaclip_image_decode(&own, NULL, 1, "byte"));
    refused_handle(own, aaclip_image_decode(&own, &byte, 1, NULL));
    refused(aaclip_image_decode_window(NULL, &byte, 1, "byte", 0, 9));
    refused_handle(own, aaclip_image_decode_window(&own, NULL, 1, "byte", 0, 9));
    refused_handle(own, aaclip_image_decode_window(&own, &byte, 1, NULL, 0, 9));
    refused_handle(own, aaclip_image_decode_window(&own, &byte, 1, "byte", 9, 9));
    refused(aaclip_image_resize(NULL, 2, 2, rgb));
    refused(aaclip_image_resize(&nothing, 2, 2, rgb));
    refused(aaclip_image_resize(&view, 2, 2, NULL));
    refused(aaclip_image_window(NULL, 0, 1, rgb));
    refused(aaclip_image_window(&nothing, 0, 1, rgb));
    refused(aaclip_image_window(&view, 0, 1, NULL));
    refused(aaclip_write_png(NULL, &view));
    refused(aaclip_write_png("unused", NULL));
    refused(aaclip_write_png16(NULL, values, 2, 2));
    refused(aaclip_write_png16("unused", NULL, 2, 2));
    refused(aaclip_write_npy(NULL, values, shape, 2));
    refused(aaclip_write_npy("unused", NULL, shape, 2));
    refused(aaclip_write_npy("unused", values, NULL, 2));
    refused(aaclip_overlay(NULL, values, 0.5f, rgb));
    refused(aaclip_overlay(&view, NULL, 0.5f, rgb));
    refused(aaclip_overlay(&view, values, 0.5f, NULL));
    refused(aaclip_map_resize(NULL, 2, 2, 2, 2, values));
    refused(aaclip_map_resize(values, 2, 2, 2, 2, NULL));
    refused(aaclip_mask_resize(NULL, 2, 2, 2, 2, rgb));
    refused(aaclip_mask_resize(rgb, 2, 2, 2, 2, NULL));
    aaclip_colour_map(NULL, 4, rgb);
    aaclip_colour_map(values, 4, NULL);
    assert_null(aaclip_image_get_view(NULL).pixels);
    aaclip_image_close(NULL);
    own = NULL;
    aaclip_image_close(&own);
}

static void regions(void **state)
{
    (void)state;
    aaclip_region *own;
    size_t count = 7;
    uint8_t mask;
    float map = 1, peak;
    refused(aaclip_map_threshold(NULL, NULL, 1, 1, 0, &mask));
    refused(aaclip_map_threshold(&map, NULL, 1, 1, 0, NULL));
    refused(aaclip_map_peak(NULL, NULL, 1, 1, &peak));
    refused(aaclip_map_peak(&map, NULL, 1, 1, NULL));
    refused(aaclip_regions_find(NULL, &count, &map, NULL, 1, 1, 0, 0));
    refused_handle(own, aaclip_regions_find(&own, NULL, &map, NULL, 1, 1, 0, 0));
    refused_handle(own, aaclip_regions_find(&own, &count, NULL, NULL, 1, 1, 0, 0));
    assert_int_equal(count, 0);
    aaclip_regions_free(NULL);
    own = NULL;
    aaclip_regions_free(&own);
}

static void calibrations(void **state)
{
    (void)state;
    aaclip_calibration own;
    const float scores[] = {0, 1};
    const int labels[] = {0, 1};
    const uint8_t roi = 1;
    float threshold;
    bool defective;
    must(aaclip_calibration_init(&own));
    refused(aaclip_calibration_init_sized(NULL, sizeof own));
    refused(aaclip_calibrate_quantile(NULL, 2, 0.5, &threshold));
    refused(aaclip_calibrate_quantile(scores, 2, 0.5, NULL));
    refused(aaclip_calibrate_f1(NULL, labels, 2, &threshold, NULL));
    refused(aaclip_calibrate_f1(scores, NULL, 2, &threshold, NULL));
    refused(aaclip_calibrate_f1(scores, labels, 2, NULL, NULL));
    must(aaclip_calibrate_f1(scores, labels, 2, &threshold, NULL));
    refused(aaclip_decide(NULL, 1, scores, &roi, 1, 1, &defective));
    refused(aaclip_decide(&own, 1, NULL, &roi, 1, 1, &defective));
    refused(aaclip_decide(&own, 1, scores, &roi, 1, 1, NULL));
    must(aaclip_decide(&own, 1, NULL, NULL, 0, 0, &defective));
    refused(aaclip_calibration_save(NULL, "unused"));
    refused(aaclip_calibration_save(&own, NULL));
    refused(aaclip_calibration_load(NULL, "unused"));
    refused(aaclip_calibration_load(&own, NULL));
    refused(aaclip_adapters_save_calibrated(NULL, &own, "unused"));
    refused(aaclip_adapters_save_calibrated(shared.adapters, NULL, "unused"));
    refused(aaclip_adapters_save_calibrated(shared.adapters, &own, NULL));
    refused(aaclip_adapters_get_calibration(NULL, &own));
    refused(aaclip_adapters_get_calibration(shared.adapters, NULL));
}

static void metrics(void **state)
{
    (void)state;
    aaclip_metrics *own, *other = NULL;
    aaclip_metric_values values = {.size = sizeof values};
    aaclip_curve_point points[8];
    const float map = 1;
    size_t count;
    refused(aaclip_metrics_options_init_sized(NULL, sizeof(aaclip_metrics_options)));
    refused(aaclip_metrics_new(NULL, NULL));
    must(aaclip_metrics_new(&own, NULL));
    refused(aaclip_metrics_add(NULL, "nut", &map, NULL, 1, 1, 0, 0));
    refused(aaclip_metrics_add(own, NULL, &map, NULL, 1, 1, 0, 0));
    refused(aaclip_metrics_add(own, "nut", NULL, NULL, 1, 1, 0, 0));
    assert_int_equal(aaclip_metrics_class_count(own), 0); /* nothing was counted */
    must(aaclip_metrics_add(own, "nut", &map, NULL, 1, 1, 0, 0));
    refused(aaclip_metrics_merge(NULL, &other));
    refused(aaclip_metrics_merge(own, NULL));
    refused(aaclip_metrics_merge(own, &other));
    assert_non_null(strstr(aaclip_last_error(), "NULL argument"));
    refused(aaclip_metrics_compute(NULL, 0, &values));
    refused(aaclip_metrics_compute(own, 0, NULL));
    refused(aaclip_metrics_curve(NULL, 0, AACLIP_CURVE_PIXEL_ROC, points, 8, &count));
    refused(aaclip_metrics_curve(own, 0, AACLIP_CURVE_PIXEL_ROC, NULL, 8, &count));
    refused(aaclip_metrics_curve(own, 0, AACLIP_CURVE_PIXEL_ROC, points, 8, NULL));
    assert_int_equal(aaclip_metrics_class_count(NULL), 0);
    assert_null(aaclip_metrics_class_name(NULL, 0));
    assert_null(aaclip_metrics_class_name(own, 1));
    aaclip_metrics_close(&own);
    aaclip_metrics_close(NULL);
    aaclip_metrics_close(&own);
}

static void datasets(void **state)
{
    (void)state;
    aaclip_dataset *own;
    refused(aaclip_dataset_open(NULL, TRAINING_SET, NULL));
    refused_handle(own, aaclip_dataset_open(&own, NULL, NULL));
    refused(aaclip_dataset_sample(NULL, training_set, 1, 0));
    refused_handle(own, aaclip_dataset_sample(&own, NULL, 1, 0));
    refused_handle(own, aaclip_dataset_sample(&own, training_set, 0, 0));
    refused(aaclip_dataset_save_manifest(NULL, "unused"));
    refused(aaclip_dataset_save_manifest(training_set, NULL));
    assert_int_equal(aaclip_dataset_count(NULL), 0);
    assert_null(aaclip_dataset_get(NULL, 0));
    assert_null(aaclip_dataset_get(training_set, aaclip_dataset_count(training_set)));
    assert_int_equal(aaclip_dataset_class_count(NULL), 0);
    assert_null(aaclip_dataset_class_name(NULL, 0));
    assert_null(aaclip_dataset_class_name(training_set, 2));
    assert_int_equal(aaclip_dataset_class_size(NULL, 0, 0), 0);
    assert_int_equal(aaclip_dataset_class_size(training_set, 0, 2), 0);
    aaclip_dataset_close(NULL);
    own = NULL;
    aaclip_dataset_close(&own);
}

static void trainers(void **state)
{
    (void)state;
    aaclip_trainer *own;
    aaclip_adapters *trained;
    aaclip_losses losses = {.size = sizeof losses};
    aaclip_training_progress progress = {.size = sizeof progress};
    aaclip_trainer_options options;
    must(aaclip_trainer_options_init(&options, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_DOCUMENT));
    const aaclip_model *model = shared.model;
    refused(aaclip_trainer_new(NULL, model, training_set, shared.cache, &options));
    refused_handle(own, aaclip_trainer_new(&own, NULL, training_set, shared.cache, &options));
    refused_handle(own, aaclip_trainer_new(&own, model, NULL, shared.cache, &options));
    refused_handle(own, aaclip_trainer_new(&own, model, training_set, NULL, &options));
    refused_handle(own, aaclip_trainer_new(&own, model, training_set, shared.cache, NULL));
    refused(aaclip_trainer_step(NULL, &losses));
    refused(aaclip_trainer_epoch(NULL, &losses));
    refused(aaclip_trainer_evaluate(NULL, training_set, &losses));
    refused(aaclip_trainer_evaluate(trainer, NULL, &losses));
    refused(aaclip_trainer_evaluate(trainer, training_set, NULL));
    refused(aaclip_trainer_get_progress(NULL, &progress));
    refused(aaclip_trainer_get_progress(trainer, NULL));
    refused_handle(trained, aaclip_trainer_adapters(&trained, NULL));
    refused(aaclip_trainer_adapters(NULL, trainer));
    refused(aaclip_trainer_save(NULL, "unused"));
    refused(aaclip_trainer_save(trainer, NULL));
    refused(aaclip_trainer_load(NULL, "unused"));
    refused(aaclip_trainer_load(trainer, NULL));
    must(aaclip_trainer_step(trainer, NULL));
    aaclip_trainer_close(NULL);
    own = NULL;
    aaclip_trainer_close(&own);
}

static void profilers(void **state)
{
    (void)state;
    aaclip_profiler *profiler = NULL;
    aaclip_profiler_entry entry = {.size = sizeof entry};
    refused(aaclip_profiler_start(NULL));
    refused(aaclip_profiler_stop(NULL));
    refused(aaclip_profiler_get(NULL, 0, &entry));
    assert_int_equal(aaclip_profiler_count(NULL), 0);
    must(aaclip_profiler_start(&profiler));
    refused(aaclip_profiler_get(profiler, 0, NULL));
    aaclip_profiler_close(&profiler);
    aaclip_profiler_close(&profiler);
    aaclip_profiler_close(NULL);
}

static void names_and_phrases(void **state)
{
    (void)state;
    aaclip_domain domain;
    char phrase[80];
    refused(aaclip_known_dataset_domain(NULL, &domain));
    refused(aaclip_known_dataset_domain("MVTec", NULL));
    refused(aaclip_class_phrase("MVTec", NULL, phrase, sizeof phrase));
    refused(aaclip_class_phrase("MVTec", "metal_nut", NULL, sizeof phrase));
    refused(aaclip_class_phrase("MVTec", "metal_nut", phrase, 3));
    must(aaclip_class_phrase(NULL, "metal_nut", phrase, sizeof phrase));
    assert_string_equal(phrase, "metal nut");
    assert_int_equal(aaclip_known_dataset_class_count(NULL), 0);
    assert_null(aaclip_known_dataset_class_name(NULL, 0));
    assert_null(aaclip_known_dataset_name(SIZE_MAX));
    assert_null(aaclip_backend_name(SIZE_MAX));
    assert_false(aaclip_backend_available(NULL));
    assert_int_equal(aaclip_backend_memory(NULL), 0);
    refused(aaclip_backend_limit_memory(NULL, 1));
    refused(aaclip_limits_init_sized(NULL, sizeof(aaclip_limits)));
    refused(aaclip_limits_get(NULL));
    must(aaclip_limits_set(NULL));
    assert_non_null(aaclip_precision_name((aaclip_precision)99));
    assert_non_null(aaclip_profile_name((aaclip_profile)-1));
    assert_non_null(aaclip_domain_name((aaclip_domain)99));
    assert_non_null(aaclip_status_string((aaclip_status)-1));
    aaclip_set_log(NULL, AACLIP_LOG_DEBUG, NULL);
}

static void *fail_elsewhere(void *user)
{
    char *text = user;
    bool empty = *aaclip_last_error() == '\0'; /* nothing failed in this thread yet */
    aaclip_model *model = NULL;
    aaclip_model_open(&model, "elsewhere.pt", NULL);
    strcpy(text, empty ? aaclip_last_error() : "not empty");
    return NULL;
}

static void each_thread_has_its_own_error(void **state)
{
    (void)state;
    aaclip_model *model = NULL;
    char text[1024] = "", before[1024];
    pthread_t thread;
    must_fail(aaclip_model_open(&model, "here.pt", NULL), AACLIP_ERROR_NOT_FOUND, "here.pt");
    strcpy(before, aaclip_last_error());
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, text), 0);
    pthread_join(thread, NULL);
    assert_non_null(strstr(text, "elsewhere.pt"));
    assert_string_equal(aaclip_last_error(), before);
    must(aaclip_text_cache_get(shared.cache, "cat", NULL, NULL)); /* success leaves it alone */
    assert_string_equal(aaclip_last_error(), before);
}

static int open_shared(void **state)
{
    (void)state;
    fixture_open(&shared, NULL, 1);
    detector = make_detector(&shared, false);
    training_set = open_training_set();
    trainer = make_trainer(&shared, training_set);
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    aaclip_trainer_close(&trainer);
    aaclip_dataset_close(&training_set);
    aaclip_detector_close(&detector);
    fixture_close(&shared);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models),
        cmocka_unit_test(adapters),
        cmocka_unit_test(text_caches),
        cmocka_unit_test(detectors),
        cmocka_unit_test(images),
        cmocka_unit_test(regions),
        cmocka_unit_test(calibrations),
        cmocka_unit_test(metrics),
        cmocka_unit_test(datasets),
        cmocka_unit_test(trainers),
        cmocka_unit_test(profilers),
        cmocka_unit_test(names_and_phrases),
        cmocka_unit_test(each_thread_has_its_own_error),
    };
    return cmocka_run_group_tests_name("null", tests, open_shared, close_shared);
}
