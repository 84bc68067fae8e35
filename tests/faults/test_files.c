/*
 * A whole run with each of its file system calls failing in turn: errors name the file and the
 * reason, existing files are unchanged, nothing is left behind or open, and the same call succeeds
 * afterwards. Signals and partial transfers make no difference.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "failing_heap.h"
#include "faulty_calls.h"
#include "footprint.h"
#include "session.h"
#include "system.h"

#define EVERY_SECOND (-2)

static session all;
static char last_warning[2048];
static unsigned failures, tolerated, transients; /* for the summary */

static void keep_warning(aaclip_log_level level, const char *message, void *user)
{
    (void)level;
    (void)user;
    snprintf(last_warning, sizeof last_warning, "%s", message);
}

static void explain(const session_call *call, const file_fault *fault, const fault_victim *victim,
                    aaclip_status status, const char *problem)
{
    fail_msg(
        "%s: %s %d (%s, %s) of %s: %s; status \"%s\", error \"%s\", warning \"%s\"", call->name,
        faulty_call_name(fault->call), fault->at, strerror(fault->error),
        (const char *[]){"fails", "half", "end of file", "one byte", "interrupted"}[fault->kind],
        victim->path, problem, aaclip_status_string(status), aaclip_last_error(), last_warning);
}

/* Whether a failure of this call is one of the library's call, too. */
static bool fails_with(const file_fault *fault, const fault_victim *victim)
{
    switch (fault->call) {
    case CALL_CLOSE:
        return victim->written;
    case CALL_FSTAT:
        return !victim->appended; /* else a torn line could not be cut off */
    case CALL_RESOLVE:
    case CALL_STAT: /* what it would tell may make no difference */
        return false;
    default:
        return true;
    }
}

static bool names_both(const char *text, const file_fault *fault, const fault_victim *victim)
{
    const char *reason = fault->kind == FAULT_END ? "expected " : strerror(fault->error);
    return strstr(text, victim->path) && strstr(text, reason);
}

static const char *check_failure(aaclip_status status, const file_fault *fault,
                                 const fault_victim *victim)
{
    failures++;
    const char *text = aaclip_last_error();
    if (fault->call == CALL_STAT) /* may be taken for a file's path, and the next call tells */
        return strstr(text, victim->path) || names_both(last_warning, fault, victim)
                   ? NULL
                   : "the file is not named";
    return status != AACLIP_ERROR_IO          ? "another status than IO"
           : !names_both(text, fault, victim) ? "file and reason are not both named"
                                              : NULL;
}

static const char *check_success(const session_call *call, const file_fault *fault,
                                 const fault_victim *victim)
{
    tolerated++;
    bool told = call->survives && names_both(last_warning, fault, victim);
    return fails_with(fault, victim) && !told ? "it should have failed" : NULL;
}

static void fail_once(const session_call *call, const file_fault *fault, const footprint *before,
                      const footprint *after)
{
    const char *problem = NULL;
    last_warning[0] = '\0';
    footprint_write_old(&all);
    faults_arm(fault);
    aaclip_status status = call->call(&all);
    fault_victim victim = faults_disarm(NULL);
    if (!victim.hit)
        explain(call, fault, &victim, status, "the call was not made again");
    problem = footprint_difference(&all, status ? before : after);
    if (!problem)
        problem =
            status ? check_failure(status, fault, &victim) : check_success(call, fault, &victim);
    if (problem)
        explain(call, fault, &victim, status, problem);
    status = call->call(&all);
    if (status || footprint_difference(&all, after))
        explain(call, fault, &victim, status, "the same call does not succeed afterwards");
}

static void disturb(const session_call *call, const file_fault *fault, const footprint *after)
{
    footprint_write_old(&all);
    faults_arm(fault);
    aaclip_status status = call->call(&all);
    fault_victim victim = faults_disarm(NULL);
    transients++;
    if (status || footprint_difference(&all, after))
        explain(call, fault, &victim, status, "it should make no difference");
}

static const struct {
    faulty_call call;
    fault_kind kind;
    int error;
} lasting[] =
    {
        {CALL_OPEN, FAULT_ERROR, EACCES},    {CALL_OPEN, FAULT_ERROR, EMFILE},
        {CALL_FSTAT, FAULT_ERROR, EIO},      {CALL_STAT, FAULT_ERROR, EIO},
        {CALL_STAT, FAULT_ERROR, EACCES},    {CALL_READ, FAULT_ERROR, EIO},
        {CALL_READ, FAULT_END, 0},           {CALL_READ, FAULT_HALF, EIO},
        {CALL_MAP, FAULT_ERROR, ENOMEM},     {CALL_WRITE, FAULT_ERROR, EIO},
        {CALL_WRITE, FAULT_HALF, ENOSPC},    {CALL_FLUSH, FAULT_ERROR, EIO},
        {CALL_CLOSE, FAULT_ERROR, EIO},      {CALL_RENAME, FAULT_ERROR, EACCES},
        {CALL_FOLDER, FAULT_ERROR, EACCES},  {CALL_LIST, FAULT_ERROR, EIO},
        {CALL_RESOLVE, FAULT_ERROR, EACCES},
},
  passing[] = {
      {CALL_OPEN, FAULT_INTERRUPTED, EINTR},  {CALL_READ, FAULT_INTERRUPTED, EINTR},
      {CALL_READ, FAULT_ONE_BYTE, 0},         {CALL_WRITE, FAULT_INTERRUPTED, EINTR},
      {CALL_WRITE, FAULT_ONE_BYTE, 0},        {CALL_FLUSH, FAULT_INTERRUPTED, EINTR},
      {CALL_CLOSE, FAULT_INTERRUPTED, EINTR},
};

static void run_call(const session_call *call)
{
    int counts[CALL_COUNT];
    footprint_write_old(&all);
    footprint before = footprint_look(&all);
    faults_arm(&(file_fault){.at = -1});
    must(call->call(&all));
    faults_disarm(counts);
    assert_int_equal(counts[CALL_FLUSH], counts[CALL_RENAME]); /* on disk before it is in place */
    footprint after = footprint_look(&all);
    for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++)
        for (int at = 0; at < counts[lasting[i].call]; at++)
            fail_once(call, &(file_fault){lasting[i].call, lasting[i].kind, at, lasting[i].error},
                      &before, &after);
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        for (int at = EVERY_SECOND; at < counts[passing[i].call]; at += at < 0 ? -at : 1)
            disturb(call, &(file_fault){passing[i].call, passing[i].kind, at, passing[i].error},
                    &after);
    footprint_forget(&before);
    footprint_forget(&after);
}

static void every_call(void **state)
{
    (void)state;
    for (size_t i = 0; i < session_call_count; i++) {
        unsigned before = failures + tolerated, passed = transients;
        run_call(&session_calls[i]);
        print_message("%-28s %4u calls failed, %4u disturbed\n", session_calls[i].name,
                      failures + tolerated - before, transients - passed);
    }
    print_message("%u calls failed with an error, %u without; %u disturbed\n", failures, tolerated,
                  transients);
}

static int open_all(void **state)
{
    aaclip_set_log(keep_warning, AACLIP_LOG_WARNING, NULL);
    return footprint_open_session(&all, state);
}

static int close_all(void **state)
{
    return footprint_close_session(&all, state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call)};
    return cmocka_run_group_tests_name("files that fail", tests, open_all, close_all);
}
