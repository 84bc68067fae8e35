#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
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

void refuse_fork(const char *backend)
{
    fixture all;
    int status = 0;
    fixture_open(&all, backend, 1);
    aaclip_detector *detector = make_detector(&all, true);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
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
