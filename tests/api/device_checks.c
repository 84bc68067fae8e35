#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device_checks.h"

kept_result detect_once_on(const char *backend)
{
    fixture all;
    fixture_open(&all, backend, 1);
    aaclip_detector *detector = make_detector(&all, true);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    const aaclip_result result = detect(detector, &view, "cat");
    kept_result kept = keep_result(&result);
    aaclip_detector_close(&detector);
    fixture_close(&all);
    return kept;
}

void train_in_turn(const char *first, const char *second)
{
    const char *const names[] = {first, second};
    fixture all[2];
    aaclip_dataset *dataset = open_training_set();
    aaclip_trainer *trainers[2];
    aaclip_losses losses[2][2];
    for (int i = 0; i < 2; i++) {
        fixture_open(&all[i], names[i], 1);
        trainers[i] = make_trainer(&all[i], dataset);
    }
    for (int step = 0; step < 2; step++)
        for (int i = 0; i < 2; i++) {
            losses[i][step] = (aaclip_losses){.size = sizeof(aaclip_losses)};
            must(aaclip_trainer_step(trainers[i], &losses[i][step]));
        }
    for (int step = 0; step < 2; step++)
        assert_memory_equal(&losses[0][step], &losses[1][step], sizeof losses[0][step]);
    for (int i = 0; i < 2; i++) {
        aaclip_trainer_close(&trainers[i]);
        fixture_close(&all[i]);
    }
    aaclip_dataset_close(&dataset);
}

enum { PASSED_STEPS = 3 };

typedef struct passed_on {
    const char *backend;
    fixture all;
    aaclip_dataset *dataset;
    aaclip_detector *detector;
    aaclip_trainer *trainer;
    aaclip_adapters *trained;
    kept_result before, after; /* with the first adapters, with the trained ones */
    aaclip_losses losses[PASSED_STEPS + 1];
    int step;
} passed_on;

static void *open_all(void *user)
{
    passed_on *own = user;
    fixture_open(&own->all, own->backend, 1);
    own->dataset = open_training_set();
    return NULL;
}

static void *new_handles(void *user)
{
    passed_on *own = user;
    own->detector = make_detector(&own->all, true);
    own->trainer = make_trainer(&own->all, own->dataset);
    return NULL;
}

static void *detect_with(void *user)
{
    passed_on *own = user;
    const aaclip_image_view view = aaclip_image_get_view(own->all.image);
    const aaclip_result result = detect(own->detector, &view, "cat");
    *(own->trained ? &own->after : &own->before) = keep_result(&result);
    return NULL;
}

static void *take_step(void *user)
{
    passed_on *own = user;
    aaclip_losses *losses = &own->losses[own->step++];
    losses->size = sizeof *losses;
    must(aaclip_trainer_step(own->trainer, losses));
    return NULL;
}

static void *evaluate(void *user)
{
    passed_on *own = user;
    aaclip_losses *losses = &own->losses[PASSED_STEPS];
    losses->size = sizeof *losses;
    must(aaclip_trainer_evaluate(own->trainer, own->dataset, losses));
    return NULL;
}

static void *take_adapters(void *user)
{
    passed_on *own = user;
    must(aaclip_trainer_adapters(&own->trained, own->trainer));
    return NULL;
}

static void *renew_detector(void *user)
{
    passed_on *own = user;
    aaclip_detector_close(&own->detector);
    aaclip_adapters_close(&own->all.adapters);
    own->all.adapters = own->trained;
    own->detector = make_detector(&own->all, true);
    return NULL;
}

/* Calls that fail end the test, in whatever thread. */
static void pass_on(passed_on *own, bool threads)
{
    void *(*const calls[])(void *) = {open_all,       new_handles, detect_with, take_step,
                                      take_step,      take_step,   evaluate,    take_adapters,
                                      renew_detector, detect_with};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        pthread_t thread;
        if (!threads) {
            calls[i](own);
            continue;
        }
        assert_int_equal(pthread_create(&thread, NULL, calls[i], own), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

static void pass_on_end(passed_on *own)
{
    free_result(&own->before);
    free_result(&own->after);
    aaclip_detector_close(&own->detector);
    aaclip_trainer_close(&own->trainer);
    aaclip_dataset_close(&own->dataset);
    fixture_close(&own->all);
}

void go_from_thread_to_thread(const char *backend)
{
    passed_on one = {.backend = backend}, many = one;
    pass_on(&one, false);
    pass_on(&many, true);
    assert_true(same_bits(&one.before, &many.before));
    assert_memory_equal(one.losses, many.losses, sizeof one.losses);
    assert_true(same_bits(&one.after, &many.after));
    assert_false(same_bits(&one.before, &one.after));
    pass_on_end(&one);
    pass_on_end(&many);
}

void refuse_fork(const char *backend)
{
    fixture all;
    int status = 0;
    fixture_open(&all, backend, 1);
    aaclip_detector *detector = make_detector(&all, true);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    detect(detector, &view, "cat"); /* so that it has page-locked memory */
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        aaclip_result result = {.size = sizeof result};
        aaclip_detector *second = NULL;
        bool refused =
            aaclip_detector_detect(detector, &view, "cat", &result) == AACLIP_ERROR_BACKEND &&
            strstr(aaclip_last_error(), "forked") &&
            new_detector(&second, &all, false) == AACLIP_ERROR_BACKEND;
        aaclip_detector_close(&detector);
        fixture_close(&all);
        _exit(!refused);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    detect(detector, &view, "cat");
    aaclip_detector_close(&detector);
    fixture_close(&all);
}
