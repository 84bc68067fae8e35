/*
 * A whole run with each call cancelled at each of its checks in turn, and by a deadline: the status
 * says so, existing files are unchanged, nothing is left behind or open, and the same call succeeds
 * afterwards with the same bytes.
 */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "backend/registry.h"
#include "core/memory.h"
#include "counted_looks.h"
#include "failing_heap.h"
#include "files/tensor_file.h"
#include "files/torch_writer.h"
#include "footprint.h"
#include "system.h"
#include "text/tokenizer.h"

#define ENTRIES 1024
#define SOME    24 /* checks of a call that are tried, spread over all, unless `every` is set */
static const char every[] = "AACLIP_TEST_EVERY_LOOK";

static session all;
static unsigned cancelled;

static void explain(const session_call *call, int at, aaclip_status status, const char *problem)
{
    fail_msg("%s: look %d: %s; status \"%s\", error \"%s\"", call->name, at, problem,
             aaclip_status_string(status), aaclip_last_error());
}

/* What a cancelled call has left, and that the next one succeeds. */
static void check_ended(const session_call *call, int at, aaclip_status status,
                        const footprint *before, const footprint *after)
{
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
    check_ended(call, at, status, before, after);
}

static void pass_deadline(const session_call *call, const footprint *before, const footprint *after)
{
    footprint_write_old(&all);
    aaclip_set_deadline(0);
    aaclip_status status = call->call(&all);
    aaclip_set_deadline(INFINITY);
    if (!strstr(aaclip_last_error(), "deadline"))
        explain(call, -1, status, "an error that does not name the deadline");
    check_ended(call, -1, status, before, after);
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
    if (looks)
        pass_deadline(call, &before, &after);
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

static aaclip_status open_tensors(const char *path)
{
    aac_tensor_file *file;
    aaclip_status status = aac_tensor_file_open(&file, path);
    aac_tensor_file_close(&file);
    return status;
}

static aaclip_status open_merges(const char *path)
{
    aac_tokenizer *tokenizer;
    aaclip_status status = aac_tokenizer_open(&tokenizer, path, ENTRIES + 514);
    aac_tokenizer_close(&tokenizer);
    return status;
}

/* Cancelled at each of its looks, of which there are at least so many. */
static void cancel_opening(const char *path, aaclip_status (*opening)(const char *path), int least)
{
    int held = heap_open_count();
    looks_arm(-1);
    must(opening(path));
    int looks = looks_disarm();
    if (looks < least)
        fail_msg("%s: expected %d looks, found %d", path, least, looks);
    for (int at = 0; at < looks; at++) {
        looks_arm(at);
        assert_int_equal(opening(path), AACLIP_ERROR_CANCELLED);
        looks_disarm();
        assert_non_null(strstr(aaclip_last_error(), "cancelled"));
        assert_int_equal(heap_open_count(), held);
    }
    system_remove(path);
}

/* A hostile one may be long, and is read before anything of it is used. */
static void long_headers(void **state)
{
    static char names[ENTRIES][8];
    static aac_tensor_source sources[ENTRIES];
    const float number = 1;
    scratch_file file = scratch_path(*state, "many");
    aac_torch_writer *torch;
    for (int i = 0; i < ENTRIES; i++) {
        snprintf(names[i], sizeof names[i], "%d", i);
        sources[i] =
            (aac_tensor_source){{.name = names[i], .dtype = AAC_F32, .data = &number}, AAC_F32};
    }
    must(aac_safetensors_write(file.path, sources, ENTRIES, NULL, 0));
    cancel_opening(file.path, open_tensors, 2 * ENTRIES / 256); /* entries, places */
    must(aac_torch_writer_open(&torch, file.path));
    aac_torch_begin(torch, AAC_TORCH_LIST);
    for (int i = 0; i < ENTRIES; i++)
        aac_torch_tensor(torch, &sources[i].tensor);
    aac_torch_end(torch);
    must(aac_torch_writer_commit(&torch));
    cancel_opening(file.path, open_tensors, 12 * ENTRIES / 256); /* opcodes, archive, entries */
}

static void long_vocabulary(void **state)
{
    scratch_file file = scratch_path(*state, "list");
    FILE *list = fopen(file.path, "w");
    assert_non_null(list);
    fprintf(list, "#version: 1\n");
    for (int i = 0; i < ENTRIES; i++)
        fprintf(list, "%c %c\n", '!' + i / 90, '!' + i % 90);
    assert_int_equal(fclose(list), 0);
    cancel_opening(file.path, open_merges, ENTRIES / 256);
}

enum { ROWS = 600, HEADS = 2, HEAD = 8, WIDTH = HEADS * HEAD };

/* One long sequence: x, out and dy are part of `values`. */
static void cancel_plan(const aac_plan *plan, const float *values, float *y)
{
    static float first[3 * ROWS * WIDTH];
    const int32_t offsets[] = {0, ROWS};
    const aac_op_args args = {
        .x = values, .out = values, .dy = values, .y = y, .offsets = offsets, .sequences = 1};
    void *scratch = aac_alloc(plan->scratch + 1);
    assert_non_null(scratch);
    memset(y, 0, sizeof first);
    looks_arm(-1);
    must(aac_run(plan, &args, scratch));
    int looks = looks_disarm();
    memcpy(first, y, sizeof first);
    if (looks <= 1 + HEADS)
        fail_msg("%s: expected more than %d looks, found %d", plan->backend->name, 1 + HEADS,
                 looks);
    for (int at = 0; at < looks; at++) {
        looks_arm(at);
        assert_int_equal(aac_run(plan, &args, scratch), AACLIP_ERROR_CANCELLED);
        looks_disarm();
        assert_non_null(strstr(aaclip_last_error(), "cancelled"));
        must(aac_run(plan, &args, scratch));
        assert_memory_equal(y, first, sizeof first);
    }
    aac_free(scratch);
}

/* oneDNN can do what it leaves to `simd` on newer processors. */
static bool attends(const aac_backend *backend, const aac_op_desc *desc)
{
    if (backend == &aac_backend_reference || backend->memory || !backend->available())
        return false;
    bool onednn = strcmp(backend->name, "onednn") == 0;
    return backend->supports(desc) || (onednn && desc->attention.type == AAC_F32);
}

/* Of a large picture one takes seconds: it ends between tiles, whoever of its threads looks. */
static void within_attention(void **state)
{
    (void)state;
    static float y[3 * ROWS * WIDTH], values[3 * ROWS * WIDTH];
    static const aac_op operations[] = {AAC_OP_ATTENTION, AAC_OP_ATTENTION_BACKWARD};
    static const aac_dtype types[] = {AAC_F32, AAC_BF16};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        values[i] = (float)(i * 7 % 31) / 32 - 0.5f; /* fine as pairs of bfloat16, too */
    for (size_t i = 0; i < 4 * aac_backend_count(); i++) {
        const aac_backend *backend = aac_backend_at(i / 4);
        aac_op_desc desc = {.op = operations[i % 2]};
        aac_plan *plan;
        desc.attention.longest = desc.attention.rows = ROWS;
        desc.attention.uniform = true;
        desc.attention.heads = HEADS;
        desc.attention.head_size = HEAD;
        desc.attention.type = types[i % 4 / 2];
        if (!attends(backend, &desc))
            continue;
        must(backend->plan(&plan, &desc, 2));
        cancel_plan(plan, values, y);
        aac_plan_free(&plan);
    }
}

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Takes seconds. */
typedef struct long_attention {
    aac_dispatch dispatch;
    aac_plan *plan;
    float *x, *y;
    void *scratch;
    int32_t offsets[2];
    aac_op_args args;
} long_attention;

static void open_attention(long_attention *own)
{
    enum { MANY = 12000, WIDE = 2 * 64 };
    aac_op_desc desc = {.op = AAC_OP_ATTENTION};
    desc.attention.longest = desc.attention.rows = MANY;
    desc.attention.uniform = true;
    desc.attention.heads = 2;
    desc.attention.head_size = 64;
    desc.attention.type = AAC_F32;
    must(aac_dispatch_open(&own->dispatch, NULL, 2));
    must(aac_dispatch_plan(&own->dispatch, &own->plan, &desc));
    own->x = aac_calloc(3 * MANY * WIDE, sizeof *own->x);
    own->y = aac_calloc(MANY * WIDE, sizeof *own->y);
    own->scratch = aac_alloc(own->plan->scratch + 1);
    assert_true(own->x && own->y && own->scratch);
    own->offsets[0] = 0;
    own->offsets[1] = MANY;
    own->args = (aac_op_args){.x = own->x, .y = own->y, .offsets = own->offsets, .sequences = 1};
}

static void close_attention(long_attention *own)
{
    aac_free(own->x);
    aac_free(own->y);
    aac_free(own->scratch);
    aac_plan_free(&own->plan);
}

/* No other thread takes signals: the one that computes does, between tiles. */
static void by_a_signal_within_attention(void **state)
{
    (void)state;
    long_attention own;
    open_attention(&own);
    const struct itimerval soon = {.it_value.tv_usec = 20000};
    const volatile int *flag = (const volatile int *)&interrupted;
    signal(SIGALRM, interrupt);
    aaclip_watch_cancel(flag);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    aaclip_status status = aac_run(own.plan, &own.args, own.scratch);
    aaclip_watch_cancel(NULL);
    signal(SIGALRM, SIG_DFL);
    assert_int_equal(status, AACLIP_ERROR_CANCELLED);
    close_attention(&own);
}

static void by_a_deadline_within_attention(void **state)
{
    (void)state;
    long_attention own;
    open_attention(&own);
    aaclip_set_deadline(0.02);
    aaclip_status status = aac_run(own.plan, &own.args, own.scratch);
    aaclip_set_deadline(INFINITY);
    assert_int_equal(status, AACLIP_ERROR_CANCELLED);
    assert_non_null(strstr(aaclip_last_error(), "deadline"));
    close_attention(&own);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call),
        cmocka_unit_test(long_headers),
        cmocka_unit_test(long_vocabulary),
        cmocka_unit_test(within_attention),
        cmocka_unit_test(by_a_signal_within_attention),
        cmocka_unit_test(by_a_deadline_within_attention),
    };
    return cmocka_run_group_tests_name("cancelled", tests, open_all, close_all);
}
