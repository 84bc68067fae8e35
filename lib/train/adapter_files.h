/*
 * Training checkpoints of one side's adapters: PyTorch's `.pth`, from which Python can resume, and
 * the library's safetensors. Both hold the same values under the same names; both open as adapters.
 */
#ifndef AAC_TRAIN_ADAPTER_FILES_H
#define AAC_TRAIN_ADAPTER_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include <aaclip/trainer.h>

#include "train/parameters.h"

/* Everything that exact resumption needs besides the parameters. Counts are at most 2^53. */
typedef struct aac_training_state {
    uint64_t epoch;    /* completed epochs */
    uint64_t position; /* samples used of the next epoch */
    uint64_t step;     /* optimizer steps done */
    uint64_t seed;

    double learning_rate, base_learning_rate; /* of the next step; before any milestone */
    double beta1, beta2, epsilon;
    double gamma; /* factor of the learning rate at each milestone; milestones: step counts,
                     ascending */
    uint32_t milestone_count;
    uint64_t milestones[AACLIP_MAX_MILESTONES];

    aaclip_config config;
    uint64_t model_vision_fingerprint, text_adapter_fingerprint; /* 0: unknown */
    char *options; /* the trainer's own settings as text; may be NULL; owned (aac_alloc) */
} aac_training_state;

/* Frees what the state owns. */
void aac_training_state_clear(aac_training_state *state);

/*
 * Written completely or not at all. INVALID_ARGUMENT for state or parameters that could not be read
 * back (non-finite, a negative mean of squares).
 */
aaclip_status aac_training_write_torch(const char *path, const aac_parameter_set *set,
                                       const aac_training_state *state);
aaclip_status aac_training_write_safetensors(const char *path, const aac_parameter_set *set,
                                             const aac_training_state *state);

/* What a file contained. */
typedef struct aac_training_found {
    bool optimizer; /* else fresh: no steps, zero moments; rates and betas are the caller's */
    bool progress; /* else not written by the library: position, seed and schedule are the caller's,
                      too */
} aac_training_found;

/*
 * Reads either kind, including published files and those of PyTorch, into a set made for the file's
 * configuration and a state preset to the caller's values for whatever the file lacks. On failure
 * the state is unchanged, but the set's values are undefined. Errors name file, tensor, what was
 * expected and found: NOT_FOUND, IO, FORMAT, MISMATCH (names, shapes, steps that differ),
 * UNSUPPORTED (weight decay, AMSGrad, several groups), OUT_OF_MEMORY.
 */
aaclip_status aac_training_read(aac_parameter_set *set, aac_training_state *state,
                                aac_training_found *found, const char *path);

#endif
