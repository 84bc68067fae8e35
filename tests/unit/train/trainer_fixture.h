/* What a trainer needs, for the small model of tests/golden/nano. */
#ifndef AAC_TESTS_TRAINER_FIXTURE_H
#define AAC_TESTS_TRAINER_FIXTURE_H

#include <aaclip/aaclip.h>

#include "train/trainer_parts.h"

/* Where and how the trainer computes. */
typedef struct training_place {
    const char *backend; /* NULL: the best one */
    aaclip_precision precision;
    unsigned threads;
} training_place;

typedef struct training {
    const char *profile;
    aaclip_model *model;
    aaclip_dataset *dataset;
    aaclip_adapters *initial;
    aaclip_text_cache *cache; /* stage 2 */
    aaclip_trainer_options options;
} training;

/* Fails the test with the library's error text. */
void must(aaclip_status status);
/* Fails unless it is that error and its text contains all of the words (NULL-terminated). */
void must_fail(aaclip_status status, aaclip_status expected, ...) __attribute__((sentinel));
/* Fails if the numbers differ by more than `most`. */
void assert_near(double found, double expected, double most);

/*
 * The run of tests/golden/train/PROFILE-STAGE, from the same adapters: no augmentation, the data
 * set's order. `place` NULL: the best backend, one thread. `root` has the manifest; NULL:
 * tests/golden/train.
 */
void training_open(training *run, const char *profile, aaclip_stage stage,
                   const training_place *place, const char *root);
void training_close(training *run);
/* From random adapters, with augmentation, shuffled, 56 pixels a side. */
void training_randomise(training *run);

/* Both, of the published profile, which has few prompts. */
void training_open_random(training *run, aaclip_stage stage, const training_place *place);

aaclip_trainer *training_start(const training *run);
/* Starts a trainer, does so many steps and gives it back. */
aaclip_trainer *training_run(const training *run, unsigned steps);
void run_steps(aaclip_trainer *trainer, unsigned steps);

aaclip_training_progress progress_of(const aaclip_trainer *trainer);
/* Weights, Adam's means and position, to the bit. */
bool same_state(const aaclip_trainer *a, const aaclip_trainer *b);
/* A copy of the weights and Adam's means; free with aac_free. */
float *copy_of_state(const aaclip_trainer *trainer);
/* The gradients of the last step, of all parameters; free with aac_free. */
float *copy_of_gradients(const aaclip_trainer *trainer);
bool state_is(const aaclip_trainer *trainer, const float *copy);

bool backend_has_bf16(const char *backend);

#endif
