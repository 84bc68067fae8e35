/* "NAME:N" selects a device, with a test backend that notices when another one is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <aaclip/profiler.h>

#include "device_checks.h"
#include "fixture.h"
#include "guarded_backend.h"

static void devices_give_the_same(void **state)
{
    (void)state;
    kept_result expected = detect_once_on("guarded");
    for (const char *const *name = (const char *const[]){"guarded:0", "guarded:1", NULL}; *name;
         name++) {
        kept_result found = detect_once_on(*name);
        assert_true(same_bits(&found, &expected));
        free_result(&found);
    }
    free_result(&expected);
    assert_int_equal(guarded_device(), 0); /* the thread's own is restored */
}

/* The first detection runs directly, the others replay what the second has recorded, with their own
 * pixels and text vectors; a profiler sees the operations. */
static void a_recorded_network_gives_the_same(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, "guarded", 1);
    aaclip_image_view views[2];
    views[0] = views[1] = aaclip_image_get_view(all.image);
    views[1].width /= 2;
    const char *const names[] = {"cat", "nut"};
    aaclip_detector *recorded = make_detector(&all, true);
    unsigned before = guarded_plays();
    for (unsigned i = 0; i < 6; i++) {
        aaclip_profiler *profiler = NULL;
        if (i == 4)
            must(aaclip_profiler_start(&profiler));
        aaclip_result result = detect(recorded, &views[i % 2], names[i / 2 % 2]);
        kept_result found = keep_result(&result);
        assert_int_equal(guarded_plays() - before, i < 4 ? i : i - 1);
        assert_true((aaclip_profiler_count(profiler) > 0) == (i == 4));
        if (profiler)
            must(aaclip_profiler_stop(profiler));
        aaclip_profiler_close(&profiler);
        aaclip_detector *fresh = make_detector(&all, true);
        result = detect(fresh, &views[i % 2], names[i / 2 % 2]);
        kept_result expected = keep_result(&result);
        assert_true(same_bits(&found, &expected));
        free_result(&found);
        free_result(&expected);
        aaclip_detector_close(&fresh);
    }
    aaclip_detector_close(&recorded);
    fixture_close(&all);
}

static void two_devices_train_in_turn(void **state)
{
    (void)state;
    train_in_turn("guarded:0", "guarded:1");
    assert_int_equal(guarded_device(), 0);
}

static void refuse(const char *backend, aaclip_status expected, const char *part)
{
    aaclip_model *model = NULL;
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.backend = backend;
    must_fail(aaclip_model_open(&model, NANO_MODEL, &options), expected, part);
    assert_null(model);
    assert_false(aaclip_backend_available(backend));
}

static void other_devices_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"guarded:3",  "guarded:",   "guarded:x",
                                        "guarded:-1", "guarded:1x", "guarded:99999999999999999999"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        refuse(names[i], AACLIP_ERROR_NOT_FOUND, "a device number below 3");
    refuse("guarded:2", AACLIP_ERROR_UNSUPPORTED, "device 2 is too old");
    refuse("guardedly", AACLIP_ERROR_NOT_FOUND, "not in this build, which has: guarded");
    refuse(":1", AACLIP_ERROR_NOT_FOUND, "not in this build");
    assert_true(aaclip_backend_available("guarded:1"));
}

static size_t batch_on(aaclip_detector *detector, const fixture *all)
{
    enum { COUNT = 9 };
    aaclip_image_view views[COUNT];
    const char *names[COUNT];
    aaclip_result results[COUNT] = {{.size = sizeof results[0]}};
    for (int i = 0; i < COUNT; i++) {
        views[i] = aaclip_image_get_view(all->image);
        names[i] = "cat";
    }
    must(aaclip_detector_detect_batch(detector, views, names, COUNT, results));
    return aaclip_backend_memory("guarded");
}

/* Whatever the limit, what fails says so and leaves nothing; then the same works. */
static void memory_has_a_limit(void **state)
{
    (void)state;
    assert_int_equal(aaclip_backend_memory("guarded"), 0);
    fixture all;
    fixture_open(&all, "guarded", 1);
    assert_true(aaclip_backend_memory("guarded") > 0);
    assert_int_equal(aaclip_backend_memory("guarded:1"), 0);
    aaclip_detector *detector = make_detector(&all, false);
    uint64_t one = aaclip_backend_memory("guarded");
    uint64_t many = batch_on(detector, &all);
    aaclip_detector_close(&detector);
    uint64_t open = aaclip_backend_memory("guarded"); /* the image tower stays */
    assert_true(open < one && one < many);
    for (uint64_t eighth = 0; eighth < 8; eighth++) {
        must(aaclip_backend_limit_memory("guarded", open + 1 + (one - open - 1) / 8 * eighth));
        must_fail(new_detector(&detector, &all, false), AACLIP_ERROR_OUT_OF_MEMORY,
                  "out of memory");
        assert_null(detector);
        assert_int_equal(aaclip_backend_memory("guarded"), open);
    }
    must(aaclip_backend_limit_memory("guarded", many - 1)); /* one by one, then */
    detector = make_detector(&all, false);
    assert_int_equal(batch_on(detector, &all), one);
    must(aaclip_backend_limit_memory("guarded", 0));
    assert_int_equal(batch_on(detector, &all), many);
    aaclip_detector_close(&detector);
    fixture_close(&all);
    assert_int_equal(aaclip_backend_memory("guarded"), 0);
    must_fail(aaclip_backend_limit_memory("guarded:3", 1), AACLIP_ERROR_NOT_FOUND,
              "a device number below 3");
    must_fail(aaclip_backend_limit_memory("blas", 1), AACLIP_ERROR_NOT_FOUND, "not in this build");
}

static void threads_pass_handles_on(void **state)
{
    (void)state;
    go_from_thread_to_thread("guarded");
}

static void a_device_does_not_fork(void **state)
{
    (void)state;
    refuse_fork("guarded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_give_the_same),
        cmocka_unit_test(a_recorded_network_gives_the_same),
        cmocka_unit_test(two_devices_train_in_turn),
        cmocka_unit_test(memory_has_a_limit),
        cmocka_unit_test(other_devices_are_refused),
        cmocka_unit_test(threads_pass_handles_on),
        cmocka_unit_test(a_device_does_not_fork),
    };
    return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}
