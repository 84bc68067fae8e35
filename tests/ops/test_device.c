/* Routines of a device: recorded, or run directly if that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "backend/device.h"
#include "core/error.h"

static aaclip_status refuse_to_begin(void)
{
    return aac_error(AACLIP_ERROR_BACKEND, "recording: not now");
}

static aaclip_status begin(void)
{
    return AACLIP_OK;
}

static aaclip_status refuse_to_end(void **recording)
{
    *recording = NULL;
    return aac_error(AACLIP_ERROR_BACKEND, "recording: not that");
}

static aaclip_status play(void *recording)
{
    (void)recording;
    return AACLIP_OK;
}

static void release(void *recording)
{
    assert_null(recording);
}

static aaclip_status count_up(void *user)
{
    ++*(int *)user;
    return AACLIP_OK;
}

static void a_routine_that_is_not_recorded_says_nothing(void **state)
{
    (void)state;
    const aac_backend_recorder recorders[] = {{refuse_to_begin, refuse_to_end, play, release},
                                              {begin, refuse_to_end, play, release}};
    for (int i = 0; i < 2; i++) {
        const aac_backend backend = {.name = "reluctant", .recorder = &recorders[i]};
        const aac_dispatch dispatch = {.chain = {&backend}, .chain_length = 1, .threads = 1};
        aac_device_routine routine = {0};
        int runs = 0;
        aac_error(AACLIP_ERROR_IO, "before");
        for (int run = 0; run < 6; run++)
            assert_int_equal(aac_device_repeat(&dispatch, &routine, count_up, &runs), AACLIP_OK);
        assert_int_equal(runs, 6 + 3 * i); /* three are written down, and do not run */
        assert_string_equal(aaclip_last_error(), "before");
        aac_device_routine_clear(&dispatch, &routine);
    }
}

static int refusals, plays;

static aaclip_status end_in_the_end(void **recording)
{
    if (refusals-- > 0)
        return refuse_to_end(recording);
    *recording = &plays;
    return AACLIP_OK;
}

static aaclip_status count_play(void *recording)
{
    ++*(int *)recording;
    return AACLIP_OK;
}

static void forget(void *recording)
{
    assert_true(!recording || recording == &plays);
}

/* Another user of the device may break a recording; the next one is made. */
static void a_recording_is_tried_again(void **state)
{
    (void)state;
    const aac_backend_recorder recorder = {begin, end_in_the_end, count_play, forget};
    const aac_backend backend = {.name = "disturbed", .recorder = &recorder};
    const aac_dispatch dispatch = {.chain = {&backend}, .chain_length = 1, .threads = 1};
    aac_device_routine routine = {0};
    int runs = 0;
    refusals = 2;
    for (int run = 0; run < 6; run++)
        assert_int_equal(aac_device_repeat(&dispatch, &routine, count_up, &runs), AACLIP_OK);
    assert_int_equal(plays, 3);
    assert_int_equal(runs, 3 + 3); /* three ran, three were written down */
    aac_device_routine_clear(&dispatch, &routine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_routine_that_is_not_recorded_says_nothing),
        cmocka_unit_test(a_recording_is_tried_again),
    };
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
