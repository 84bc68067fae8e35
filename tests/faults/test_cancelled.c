/*
 * A whole run with each of its calls cancelled at each of its looks in turn: the status says so,
 * what stood at a path is there as it was, nothing is left or open, and the same call succeeds
 * afterwards with the same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "counted_looks.h"
#include "failing_heap.h"
#include "footprint.h"

#define SOME 24 /* looks of a call that are tried, spread over all, without the next one */
static const char every[] = "AACLIP_TEST_EVERY_LOOK";

static session all;
static unsigned cancelled;

static void explain(const session_call *call, int at, aaclip_status status, const char *problem)
{
    fail_msg("%s: look %d: %s; status \"%s\", error \"%s\"", call->name, at, problem,
             aaclip_status_string(status), aaclip_last_error());
}

static void cancel_once(const session_call *call, int at, const footprint *before,
                        const footprint *after)
{
    footprint_write_old(&all);
    looks_arm(at);
    aaclip_status status = call->call(&all);
    int looks = looks_disarm();
    if (looks <= at) /* there were fewer this time: it has waited less for other threads */
        return;
    cancelled++;
    footprint allowed = *before; /* a trainer gives up one epoch before it has the next */
    if (heap_open_count() < allowed.heap)
        allowed.heap = heap_open_count();
    const char *problem = footprint_difference(&all, &allowed);
    if (status != AACLIP_ERROR_CANCELLED)
        problem = "another status than CANCELLED";
    else if (!strstr(aaclip_last_error(), "cancelled"))
        problem = "an error that does not say so";
    if (problem)
        explain(call, at, status, problem);
    status = call->call(&all);
    if (status || footprint_difference(&all, after))
        explain(call, at, status, "the same call does not succeed afterwards");
}

static void run_call(const session_call *call)
{
    footprint_write_old(&all);
    footprint before = footprint_look(&all);
    looks_arm(-1);
    must(call->call(&all));
    int looks = looks_disarm(), step = getenv(every) ? 1 : looks / SOME + 1;
    footprint after = footprint_look(&all);
    unsigned so_far = cancelled;
    for (int at = 0; at < looks; at += step)
        cancel_once(call, at, &before, &after);
    for (int at = looks - 1; step > 1 && at >= 0 && at > looks - 4; at--)
        cancel_once(call, at, &before, &after);
    print_message("%-28s %4d looks, cancelled at %4u\n", call->name, looks, cancelled - so_far);
    footprint_forget(&before);
    footprint_forget(&after);
}

static void every_call(void **state)
{
    (void)state;
    for (size_t i = 0; i < session_call_count; i++)
        run_call(&session_calls[i]);
    assert_true(cancelled > 300);
    print_message("%u calls were cancelled\n", cancelled);
}

static int open_all(void **state)
{
    return footprint_open_session(&all, state);
}

static int close_all(void **state)
{
    return footprint_close_session(&all, state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call)};
    return cmocka_run_group_tests_name("cancelled", tests, open_all, close_all);
}
