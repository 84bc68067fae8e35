/* int8 and f16 through the API: chosen by name, reported, close to float32 but not equal, refused
 * by training. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "scratch.h"

/* The fixture with a model of another precision, or of another file. */
static void open_as(fixture *all, const char *path, const char *backend, aaclip_precision precision)
{
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.backend = backend;
    options.precision = precision;
    options.threads = 2;
    *all = (fixture){0};
    must(aaclip_model_open(&all->model, path, &options));
    must(aaclip_image_open(&all->image, PHOTO));
}

static void add_texts(fixture *all)
{
    all->adapters = open_adapters(all->model, "published");
    must(aaclip_text_cache_new(&all->cache, all->model, all->adapters, NULL));
    must(build_classes(all->cache));
}

static kept_result detect_once(const fixture *all)
{
    aaclip_detector *detector = make_detector(all, true);
    const aaclip_image_view view = aaclip_image_get_view(all->image);
    const aaclip_result result = detect(detector, &view, "cat");
    const kept_result kept = keep_result(&result);
    aaclip_detector_close(&detector);
    return kept;
}

static kept_result detect_as(const char *backend, aaclip_precision precision)
{
    fixture all;
    open_as(&all, NANO_MODEL, backend, precision);
    add_texts(&all);
    const kept_result kept = detect_once(&all);
    fixture_close(&all);
    return kept;
}

static void refuse(const char *backend, aaclip_precision precision, const char *part)
{
    aaclip_model *model = NULL;
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.backend = backend;
    options.precision = precision;
    must_fail(aaclip_model_open(&model, NANO_MODEL, &options), AACLIP_ERROR_UNSUPPORTED, part);
    assert_null(model);
}

static void every_backend_of_a_processor_has_int8(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        const char *backend = aaclip_backend_name(i);
        if (!aaclip_backend_available(backend))
            continue;
        if (strcmp(backend, "cuda") == 0) {
            refuse(backend, AACLIP_PRECISION_INT8,
                   "backend 'cuda' has no 8-bit integer matrix products");
            continue;
        }
        kept_result exact = detect_as(backend, AACLIP_PRECISION_F32);
        kept_result found = detect_as(backend, AACLIP_PRECISION_INT8);
        double apart = map_difference(&exact, &found);
        print_message("%s: map differs by %.1e\n", backend, apart);
        assert_true(apart < 0.06);
        assert_true(apart > 1e-5); /* it was computed with integers */
        free_result(&exact);
        free_result(&found);
    }
}

static void no_backend_of_a_processor_has_tf32(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++)
        if (aaclip_backend_available(aaclip_backend_name(i)) &&
            strcmp(aaclip_backend_name(i), "cuda") != 0)
            refuse(aaclip_backend_name(i), AACLIP_PRECISION_TF32, "has no TF32 matrix products");
    assert_string_equal(aaclip_precision_name(AACLIP_PRECISION_TF32), "tf32");
}

/* Told, and closer to float32 than bfloat16 could be. */
static void check_f16(const char *backend)
{
    fixture all;
    aaclip_model_info info = {.size = sizeof info};
    open_as(&all, NANO_MODEL, backend, AACLIP_PRECISION_F16);
    must(aaclip_model_get_info(all.model, &info));
    assert_int_equal(info.precision, AACLIP_PRECISION_F16);
    fixture_close(&all);
    kept_result exact = detect_as(backend, AACLIP_PRECISION_F32);
    kept_result found = detect_as(backend, AACLIP_PRECISION_F16);
    double apart = map_difference(&exact, &found);
    print_message("%s: map differs by %.1e\n", backend, apart);
    assert_true(apart < 0.005);
    assert_true(apart > 1e-5);
    free_result(&exact);
    free_result(&found);
}

static void f16_is_for_cuda_and_reference(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        const char *backend = aaclip_backend_name(i);
        if (!aaclip_backend_available(backend))
            continue;
        if (strcmp(backend, "cuda") == 0 || strcmp(backend, "reference") == 0)
            check_f16(backend);
        else
            refuse(backend, AACLIP_PRECISION_F16, "has no float16 matrix products");
    }
    assert_string_equal(aaclip_precision_name(AACLIP_PRECISION_F16), "f16");
}

/* A weight beyond float16's range is one of float32 and none of float16. */
static void f16_says_when_its_range_ends(void **state)
{
    static const aaclip_precision precisions[] = {AACLIP_PRECISION_F32, AACLIP_PRECISION_F16};
    const scratch_file file = scratch_path(*state, "adapters.safetensors");
    for (int i = 0; i < 2; i++) {
        fixture all;
        aaclip_result result = {.size = sizeof result};
        open_as(&all, NANO_MODEL, "reference", precisions[i]);
        aaclip_adapters *whole = open_adapters(all.model, "published");
        must(aaclip_adapters_save(whole, file.path));
        scratch_write_value(file.path, "image_adapter.layer_adapters.0.fc.0.weight", 1e6f);
        must(aaclip_adapters_open(&all.adapters, all.model, (const char *[]){file.path}, 1, NULL));
        must(aaclip_text_cache_new(&all.cache, all.model, all.adapters, NULL));
        must(build_classes(all.cache));
        aaclip_detector *detector = make_detector(&all, false);
        const aaclip_image_view view = aaclip_image_get_view(all.image);
        aaclip_status status = aaclip_detector_detect(detector, &view, "cat", &result);
        if (i == 0)
            must(status);
        else
            must_fail(status, AACLIP_ERROR_UNSUPPORTED, "exceed the range of f16 (65504)");
        aaclip_detector_close(&detector);
        aaclip_adapters_close(&whole);
        fixture_close(&all);
    }
}

static void int8_is_told(void **state)
{
    (void)state;
    fixture all;
    aaclip_model_info info = {.size = sizeof info};
    open_as(&all, NANO_MODEL, NULL, AACLIP_PRECISION_INT8);
    must(aaclip_model_get_info(all.model, &info));
    assert_int_equal(info.precision, AACLIP_PRECISION_INT8);
    assert_string_equal(aaclip_precision_name(info.precision), "int8");
    const char *found = aaclip_model_operation_backend(all.model, "linear");
    assert_true(strcmp(found, info.backend) == 0 || strcmp(found, "simd") == 0);
    fixture_close(&all);
    /* never by itself */
    open_as(&all, NANO_MODEL, NULL, AACLIP_PRECISION_AUTO);
    must(aaclip_model_get_info(all.model, &info));
    assert_int_not_equal(info.precision, AACLIP_PRECISION_INT8);
    fixture_close(&all);
}

static void unknown_precision_is_refused(void **state)
{
    (void)state;
    aaclip_model *model = NULL;
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.precision = (aaclip_precision)(AACLIP_PRECISION_F16 + 1);
    must_fail(aaclip_model_open(&model, NANO_MODEL, &options), AACLIP_ERROR_INVALID_ARGUMENT,
              "precision: expected 0 to 5, found 6");
    must(aaclip_model_options_init(&options));
    options.threads = 4097;
    must_fail(aaclip_model_open(&model, NANO_MODEL, &options), AACLIP_ERROR_INVALID_ARGUMENT,
              "threads: expected 0 to 4096, found 4097");
    assert_null(model);
}

static void refuse_training(const char *backend, aaclip_precision precision, const char *part)
{
    fixture all;
    aaclip_trainer *trainer = NULL;
    aaclip_trainer_options options;
    aaclip_dataset *dataset = open_training_set();
    open_as(&all, NANO_MODEL, backend, precision);
    for (int stage = AACLIP_STAGE_TEXT; stage <= AACLIP_STAGE_IMAGE; stage++) {
        must(aaclip_trainer_options_init(&options, (aaclip_stage)stage, AACLIP_PROFILE_PUBLISHED));
        must_fail(aaclip_trainer_new(&trainer, all.model, dataset, NULL, &options),
                  AACLIP_ERROR_UNSUPPORTED, part);
        assert_null(trainer);
    }
    aaclip_dataset_close(&dataset);
    fixture_close(&all);
}

static void training_is_refused(void **state)
{
    (void)state;
    refuse_training(NULL, AACLIP_PRECISION_INT8, "found int8, which has no gradients");
    refuse_training("reference", AACLIP_PRECISION_F16, "found f16, in which small gradients");
}

/* A bundle holds the weights as they were and becomes integers when it is opened. */
static void a_bundle_gives_the_same_bits(void **state)
{
    const scratch_file bundle = scratch_path(*state, "bundle.safetensors");
    fixture all, own;
    open_as(&all, NANO_MODEL, NULL, AACLIP_PRECISION_INT8);
    add_texts(&all);
    kept_result expected = detect_once(&all);
    must(aaclip_bundle_save(all.model, all.adapters, all.cache, bundle.path, false));
    open_as(&own, bundle.path, NULL, AACLIP_PRECISION_INT8);
    must(aaclip_adapters_open(&own.adapters, own.model, (const char *[]){bundle.path}, 1, NULL));
    must(aaclip_text_cache_open(&own.cache, own.model, own.adapters, bundle.path, NULL));
    kept_result found = detect_once(&own);
    assert_true(same_bits(&expected, &found));
    free_result(&expected);
    free_result(&found);
    fixture_close(&own);
    fixture_close(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_backend_of_a_processor_has_int8),
        cmocka_unit_test(no_backend_of_a_processor_has_tf32),
        cmocka_unit_test(f16_is_for_cuda_and_reference),
        cmocka_unit_test_setup_teardown(f16_says_when_its_range_ends, scratch_make, scratch_remove),
        cmocka_unit_test(int8_is_told),
        cmocka_unit_test(unknown_precision_is_refused),
        cmocka_unit_test(training_is_refused),
        cmocka_unit_test_setup_teardown(a_bundle_gives_the_same_bits, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
