/*
 * A whole run with each of its operations failing in turn, when planned, packed for or run: the
 * call says what failed, existing files are unchanged, no memory is kept, and the same call
 * succeeds afterwards with the usual bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "failing_heap.h"
#include "faulty_backend.h"
#include "footprint.h"
#include "session.h"

#define EARLY 20 /* the first operations of a call, each of which fails in turn */
#define LATER 40 /* of the further ones, about so many */

static session all;
static unsigned failures; /* for the summary */

static void fail_once(const session_call *call, int at, const footprint *before,
                      const footprint *after)
{
    footprint_write_old(&all);
    operations_arm(at);
    aaclip_status status = call->call(&all);
    operations_disarm();
    const char *failed = operations_failed(), *problem = NULL;
    footprint left = *before;
    if (heap_open_count() < left.heap) /* a weight that was not packed anew is not there */
        left.heap = heap_open_count();
    failures++;
    if (!failed)
        problem = "the operation was not asked for again";
    else if (status != AACLIP_ERROR_BACKEND || !strstr(aaclip_last_error(), failed))
        problem = "the error is another one";
    else
        problem = footprint_difference(&all, &left);
    if (!problem && (call->call(&all) || footprint_difference(&all, after)))
        problem = "the same call does not succeed afterwards";
    if (problem)
        fail_msg("%s: operation %d, %s: %s; error \"%s\"", call->name, at, failed ? failed : "?",
                 problem, aaclip_last_error());
}

static void run_call(const session_call *call)
{
    const bool every = getenv("AACLIP_TEST_EVERY_OPERATION") != NULL;
    footprint_write_old(&all);
    footprint before = footprint_look(&all);
    operations_arm(-1);
    must(call->call(&all));
    const int count = operations_disarm();
    footprint after = footprint_look(&all);
    const int pace = !every && count > EARLY + LATER ? (count - EARLY + LATER - 1) / LATER : 1;
    for (int at = 0; at < count; at += at < EARLY ? 1 : pace)
        fail_once(call, at, &before, &after);
    footprint_forget(&before);
    footprint_forget(&after);
    print_message("%-28s %5d operations\n", call->name, count);
}

static void every_call(void **state)
{
    (void)state;
    for (size_t i = 0; i < session_call_count; i++)
        run_call(&session_calls[i]);
    print_message("%u operations failed\n", failures);
    assert_true(failures > 0);
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
    return cmocka_run_group_tests_name("operations that fail", tests, open_all, close_all);
}
