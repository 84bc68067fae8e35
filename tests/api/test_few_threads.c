/*
 * A system that allows few threads: OpenMP's runtimes end the process when one cannot be created,
 * the library goes on with fewer. This program's own pthread_create stands before the system's.
 */
#define _GNU_SOURCE

#include <stdarg.h>
#include <stdatomic.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "fixture.h"

#define THREADS 4
#define MANY    1000

static atomic_int running, most = MANY; /* besides the main thread */

typedef int (*creator)(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *),
                       void *user);

typedef struct beginning {
    void *(*work)(void *user);
    void *user;
} beginning;

static void *run_counted(void *argument)
{
    beginning own = *(beginning *)argument;
    free(argument);
    void *result = own.work(own.user);
    atomic_fetch_sub(&running, 1);
    return result;
}

__attribute__((visibility("default"))) int pthread_create(pthread_t *thread,
                                                          const pthread_attr_t *attributes,
                                                          void *(*work)(void *user), void *user)
{
    const creator system_create = (creator)(uintptr_t)dlsym(RTLD_NEXT, "pthread_create");
    if (atomic_fetch_add(&running, 1) >= most) {
        atomic_fetch_sub(&running, 1);
        return EAGAIN;
    }
    beginning *own = malloc(sizeof *own);
    *own = (beginning){work, user};
    return system_create(thread, attributes, run_counted, own);
}

static atomic_int warnings;

static void count_warnings(aaclip_log_level level, const char *message, void *user)
{
    (void)user;
    warnings += level == AACLIP_LOG_WARNING && strstr(message, "threads") != NULL;
}

static bool leaves_out(const char *backend)
{
    return !aaclip_backend_available(backend) || strcmp(backend, "cuda") == 0;
}

/* Opens and detects in a new thread, which has no OpenMP threads yet. */
typedef struct visit {
    const char *backend;
    kept_result result;
    uint32_t threads;
} visit;

static void *open_and_detect(void *user)
{
    visit *own = user;
    fixture all;
    fixture_open(&all, own->backend, THREADS);
    aaclip_model_info info = {.size = sizeof info};
    must(aaclip_model_get_info(all.model, &info));
    own->threads = info.threads;
    aaclip_detector *detector = make_detector(&all, false);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    const aaclip_result result = detect(detector, &view, "cat");
    own->result = keep_result(&result);
    aaclip_detector_close(&detector);
    fixture_close(&all);
    return NULL;
}

static void in_a_thread(void *(*work)(void *user), void *user)
{
    const int before = running;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, work, user), 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 100 && running > before; i++)
        usleep(1000); /* its OpenMP threads end soon, OpenBLAS's do not */
}

static void a_model_takes_the_threads_that_there_are(void **state)
{
    (void)state;
    aaclip_set_log(count_warnings, AACLIP_LOG_WARNING, NULL);
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        if (leaves_out(aaclip_backend_name(i)))
            continue;
        visit all = {.backend = aaclip_backend_name(i)}, few = all;
        in_a_thread(open_and_detect, &all);
        most = running + 2; /* it and one more */
        in_a_thread(open_and_detect, &few);
        most = MANY;
        assert_int_equal(all.threads, THREADS);
        assert_int_equal(few.threads, 2);
        assert_true(map_difference(&all.result, &few.result) < 1e-4);
        free_result(&all.result);
        free_result(&few.result);
    }
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    assert_int_equal(warnings, 1);
}

typedef struct later_visit {
    aaclip_detector *detector;
    aaclip_image_view view;
    const kept_result *expected;
    bool good;
} later_visit;

static bool detects(const later_visit *own)
{
    aaclip_result result = {.size = sizeof result};
    if (aaclip_detector_detect(own->detector, &own->view, "cat", &result))
        return false;
    kept_result found = keep_result(&result);
    const bool same = same_bits(own->expected, &found);
    free_result(&found);
    return same;
}

/* oneDNN's products need the threads for which they were planned. */
static void *detect_while_there_are_few(void *user)
{
    later_visit *own = user;
    most = running + 1;
    own->good = detects(own) || strstr(aaclip_last_error(), "onednn: needs 4 threads");
    most = MANY;
    usleep(200000); /* it tries again */
    own->good = own->good && detects(own);
    return NULL;
}

static void a_plan_runs_with_fewer_threads_or_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        if (leaves_out(aaclip_backend_name(i)))
            continue;
        fixture all;
        fixture_open(&all, aaclip_backend_name(i), THREADS);
        later_visit own = {.detector = make_detector(&all, false),
                           .view = aaclip_image_get_view(all.image)};
        const aaclip_result result = detect(own.detector, &own.view, "cat");
        const kept_result expected = keep_result(&result);
        own.expected = &expected;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, detect_while_there_are_few, &own), 0);
        pthread_join(thread, NULL);
        assert_true(own.good);
        free_result((kept_result *)&expected);
        aaclip_detector_close(&own.detector);
        fixture_close(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_takes_the_threads_that_there_are),
        cmocka_unit_test(a_plan_runs_with_fewer_threads_or_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
