/* Flags and deadlines, as calls, their helpers and those that wait see them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/cancel.h"
#include "core/platform.h"

#define SOON 0.02 /* seconds */
#define LONG 1000.0

static void must_be_cancelled(aaclip_status status, const char *reason)
{
    assert_int_equal(status, AACLIP_ERROR_CANCELLED);
    assert_non_null(strstr(aaclip_last_error(), "cancelled"));
    assert_non_null(strstr(aaclip_last_error(), reason));
}

static void a_deadline_passes(void **state)
{
    (void)state;
    assert_false(aac_cancel_is_watched());
    const double before = aac_seconds_now();
    assert_true(aaclip_set_deadline(SOON) == INFINITY);
    assert_true(aac_cancel_is_watched());
    while (!aac_cancel_look())
        assert_true(aac_seconds_now() < before + LONG);
    assert_true(aac_seconds_now() >= before + SOON);
    must_be_cancelled(aac_cancel_look(), "deadline");
    aac_cancel_hold();
    assert_false(aac_cancel_is_watched());
    assert_int_equal(aac_cancel_look(), AACLIP_OK);
    aac_cancel_release();
    must_be_cancelled(aac_cancel_look(), "deadline");
    assert_true(aaclip_set_deadline(INFINITY) <= 0);
    assert_int_equal(aac_cancel_look(), AACLIP_OK);
    assert_false(aac_cancel_is_watched());
}

static void the_former_deadline_is_told(void **state)
{
    (void)state;
    assert_true(aaclip_set_deadline(LONG) == INFINITY);
    assert_int_equal(aac_cancel_look(), AACLIP_OK);
    const double left = aaclip_set_deadline(-LONG);
    assert_true(left <= LONG && left > LONG / 2);
    must_be_cancelled(aac_cancel_look(), "deadline");
    assert_true(aaclip_set_deadline(NAN) <= -LONG);
    assert_int_equal(aac_cancel_look(), AACLIP_OK);
    assert_true(aaclip_set_deadline(-INFINITY) == INFINITY);
    must_be_cancelled(aac_cancel_look(), "deadline");
    assert_true(aaclip_set_deadline(INFINITY) == -INFINITY);
}

static void flag_and_deadline_are_both_watched(void **state)
{
    (void)state;
    volatile int flag = 0;
    aaclip_watch_cancel(&flag);
    assert_int_equal(aac_cancel_look(), AACLIP_OK);
    aaclip_set_deadline(0);
    must_be_cancelled(aac_cancel_look(), "deadline");
    aaclip_set_deadline(LONG);
    assert_int_equal(aac_cancel_look(), AACLIP_OK);
    flag = 1;
    must_be_cancelled(aac_cancel_look(), "flag");
    aaclip_set_deadline(INFINITY);
    must_be_cancelled(aac_cancel_look(), "flag");
    aaclip_watch_cancel(NULL);
    assert_int_equal(aac_cancel_look(), AACLIP_OK);
}

typedef struct helper {
    aac_cancel_watch watch;
    bool raised;
    aac_mutex *mutex;
    atomic_bool held, release;
} helper;

static void ask(void *user)
{
    helper *own = user;
    own->raised = aac_cancel_is_raised(&own->watch);
    own->raised = own->raised && !aac_cancel_is_watched(); /* it has no deadline of its own */
}

static bool another_thread_sees(helper *own)
{
    aac_thread *thread = aac_thread_start(ask, own);
    assert_non_null(thread);
    aac_thread_join(thread);
    return own->raised;
}

static void helpers_see_a_deadline(void **state)
{
    (void)state;
    helper own = {.raised = false};
    aac_cancel_share(&own.watch);
    assert_false(another_thread_sees(&own));
    aaclip_set_deadline(LONG);
    aac_cancel_share(&own.watch);
    assert_false(another_thread_sees(&own));
    assert_int_equal(aac_cancel_end(&own.watch), AACLIP_OK);
    aaclip_set_deadline(0);
    aac_cancel_share(&own.watch);
    assert_true(another_thread_sees(&own));
    aac_cancel_hold();
    aac_cancel_watch held;
    aac_cancel_share(&held);
    assert_false(aac_cancel_is_raised(&held));
    aac_cancel_release();
    aaclip_set_deadline(INFINITY);
    must_be_cancelled(aac_cancel_end(&own.watch), "deadline");
}

static void hold_mutex(void *user)
{
    helper *own = user;
    aac_mutex_lock(own->mutex);
    atomic_store(&own->held, true);
    while (!atomic_load(&own->release))
        aac_sleep(0.001);
    aac_mutex_unlock(own->mutex);
}

static void waiting_ends_at_a_deadline(void **state)
{
    (void)state;
    helper own = {.mutex = aac_mutex_new()};
    aac_condition *never = aac_condition_new();
    aac_mutex *mutex = aac_mutex_new();
    assert_true(own.mutex && never && mutex);
    aac_thread *thread = aac_thread_start(hold_mutex, &own);
    assert_non_null(thread);
    while (!atomic_load(&own.held))
        aac_sleep(0.001);
    aaclip_set_deadline(SOON);
    must_be_cancelled(aac_mutex_take(own.mutex), "deadline");
    aaclip_set_deadline(SOON);
    aac_mutex_lock(mutex);
    while (!aac_cancel_look())
        aac_condition_wait_watching(never, mutex);
    aac_mutex_unlock(mutex);
    aaclip_set_deadline(INFINITY);
    atomic_store(&own.release, true);
    aac_thread_join(thread);
    assert_int_equal(aac_mutex_take(own.mutex), AACLIP_OK);
    assert_int_equal(aac_mutex_take(own.mutex), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(aaclip_last_error(), "callback"));
    aac_mutex_unlock(own.mutex);
    aac_condition_free(never);
    aac_mutex_free(mutex);
    aac_mutex_free(own.mutex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_passes),
        cmocka_unit_test(the_former_deadline_is_told),
        cmocka_unit_test(flag_and_deadline_are_both_watched),
        cmocka_unit_test(helpers_see_a_deadline),
        cmocka_unit_test(waiting_ends_at_a_deadline),
    };
    return cmocka_run_group_tests_name("cancel", tests, NULL, NULL);
}
