/* What only a device can show: exhausted memory, memory limits, unsupported operations, a second
 * device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "device_checks.h"

enum { SMALLEST = 256, MOST_PIECES = 65536 };

typedef struct hoard {
    void **pieces;
    size_t count;
} hoard;

/* Takes all the remaining device memory in ever smaller pieces. */
static hoard take_all(void)
{
    hoard all = {calloc(MOST_PIECES, sizeof(void *)), 0};
    assert_non_null(all.pieces);
    for (size_t bytes = (size_t)1 << 36; bytes >= SMALLEST; bytes /= 2)
        for (void *piece;
             all.count < MOST_PIECES && (piece = aac_backend_cuda.memory->allocate(bytes)) != NULL;)
            all.pieces[all.count++] = piece;
    assert_true(all.count > 0 && all.count < MOST_PIECES);
    return all;
}

static void give_back(hoard *all)
{
    for (size_t i = 0; i < all->count; i++)
        aac_backend_cuda.memory->release(all->pieces[i]);
    free(all->pieces);
}

static kept_result detect_with(aaclip_detector *detector, const fixture *all)
{
    const aaclip_image_view view = aaclip_image_get_view(all->image);
    const aaclip_result result = detect(detector, &view, "cat");
    return keep_result(&result);
}

static void expect_same(aaclip_detector *detector, const fixture *all, const kept_result *expected)
{
    kept_result found = detect_with(detector, all);
    assert_true(same_bits(&found, expected));
    free_result(&found);
}

/* A detector that is there goes on, another one is refused, and works when there is room. */
static void a_full_device_loses_nothing(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, "cuda", 1);
    aaclip_detector *first = make_detector(&all, true), *second = NULL;
    kept_result expected = detect_with(first, &all);
    expect_same(first, &all, &expected);
    hoard taken = take_all();
    for (int i = 0; i < 3; i++) {
        must_fail(new_detector(&second, &all, true), AACLIP_ERROR_OUT_OF_MEMORY, "out of memory");
        assert_null(second);
        expect_same(first, &all, &expected);
    }
    give_back(&taken);
    must(new_detector(&second, &all, true));
    expect_same(second, &all, &expected);
    expect_same(first, &all, &expected);
    free_result(&expected);
    aaclip_detector_close(&first);
    aaclip_detector_close(&second);
    fixture_close(&all);
    assert_int_equal(aaclip_backend_memory("cuda"), 0);
}

static void a_full_device_opens_no_trainer(void **state)
{
    (void)state;
    fixture all;
    aaclip_dataset *dataset = open_training_set();
    fixture_open(&all, "cuda", 1);
    aaclip_trainer *trainer = make_trainer(&all, dataset);
    aaclip_losses before = {.size = sizeof before}, after = before;
    must(aaclip_trainer_step(trainer, &before));
    aaclip_trainer_close(&trainer);
    hoard taken = take_all();
    aaclip_trainer_options options;
    must(aaclip_trainer_options_init(&options, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_PUBLISHED));
    options.image_size = IMAGE_SIZE;
    options.initial = all.adapters;
    must_fail(aaclip_trainer_new(&trainer, all.model, dataset, all.cache, &options),
              AACLIP_ERROR_OUT_OF_MEMORY, "out of memory");
    assert_null(trainer);
    give_back(&taken);
    trainer = make_trainer(&all, dataset);
    must(aaclip_trainer_step(trainer, &after));
    assert_memory_equal(&before, &after, sizeof before);
    aaclip_trainer_close(&trainer);
    aaclip_dataset_close(&dataset);
    fixture_close(&all);
}

static void its_memory_has_a_limit(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, "cuda", 1);
    aaclip_detector *detector = make_detector(&all, true);
    kept_result expected = detect_with(detector, &all);
    uint64_t most = aaclip_backend_memory("cuda");
    aaclip_detector_close(&detector);
    uint64_t open = aaclip_backend_memory("cuda");
    assert_true(open > 0 && open < most);
    must(aaclip_backend_limit_memory("cuda", (open + most) / 2));
    must_fail(new_detector(&detector, &all, true), AACLIP_ERROR_OUT_OF_MEMORY, "of at most");
    assert_int_equal(aaclip_backend_memory("cuda"), open);
    must(aaclip_backend_limit_memory("cuda", most));
    detector = make_detector(&all, true);
    expect_same(detector, &all, &expected);
    must(aaclip_backend_limit_memory("cuda", 0));
    free_result(&expected);
    aaclip_detector_close(&detector);
    fixture_close(&all);
}

static void refuse(const char *backend, aaclip_precision precision, aaclip_status expected,
                   const char *part)
{
    aaclip_model *model = NULL;
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.backend = backend;
    options.precision = precision;
    must_fail(aaclip_model_open(&model, NANO_MODEL, &options), expected, part);
    assert_null(model);
}

static void what_it_has_not_is_refused(void **state)
{
    (void)state;
    refuse("cuda", AACLIP_PRECISION_INT8, AACLIP_ERROR_UNSUPPORTED, "int8");
    refuse("cuda:64", AACLIP_PRECISION_F32, AACLIP_ERROR_NOT_FOUND, "a device number below");
}

static void two_devices_give_the_same(void **state)
{
    (void)state;
    if (aac_backend_cuda.devices->count() < 2) {
        print_message("there is one device\n");
        skip();
    }
    kept_result expected = detect_once_on("cuda:0"), found = detect_once_on("cuda:1");
    assert_true(same_bits(&found, &expected));
    free_result(&found);
    free_result(&expected);
    train_in_turn("cuda:0", "cuda:1");
    assert_int_equal(aaclip_backend_memory("cuda:0"), 0);
    assert_int_equal(aaclip_backend_memory("cuda:1"), 0);
}

static void threads_pass_handles_on(void **state)
{
    (void)state;
    go_from_thread_to_thread("cuda");
}

static void a_device_does_not_fork(void **state)
{
    (void)state;
    refuse_fork("cuda");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_device_loses_nothing),
        cmocka_unit_test(a_full_device_opens_no_trainer),
        cmocka_unit_test(its_memory_has_a_limit),
        cmocka_unit_test(what_it_has_not_is_refused),
        cmocka_unit_test(two_devices_give_the_same),
        cmocka_unit_test(threads_pass_handles_on),
        cmocka_unit_test(a_device_does_not_fork),
    };
    return cmocka_run_group_tests_name("cuda", tests, NULL, NULL);
}
