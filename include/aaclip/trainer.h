/**
 * @file
 * Training of the adapters, in two stages, with checkpoints that Python can read and resume from.
 */
#ifndef AACLIP_TRAINER_H
#define AACLIP_TRAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/adapters.h>
#include <aaclip/config.h>
#include <aaclip/dataset.h>
#include <aaclip/export.h>
#include <aaclip/model.h>
#include <aaclip/status.h>
#include <aaclip/text_cache.h>

AACLIP_BEGIN_DECLS

/**
 * @file
 *
 * Stage 1 trains the text adapters against features of the frozen image tower; stage 2 trains the
 * image adapters against the finished text vectors:
 *
 *     aaclip_trainer_options_init(&options, AACLIP_STAGE_TEXT, AACLIP_PROFILE_DOCUMENT);
 *     aaclip_trainer_new(&trainer, model, dataset, NULL, &options);
 *     // 5 epochs in all, including those done before a state read by aaclip_trainer_load
 *     while (!status && !aaclip_trainer_get_progress(trainer, &progress) &&
 *            progress.step < 5 * progress.epoch_steps)
 *         status = aaclip_trainer_epoch(trainer, &losses);
 *     aaclip_trainer_save(trainer, "text_adapter.pth");
 *     aaclip_trainer_adapters(&text_adapters, trainer);
 *     // a text cache of these adapters, one pair per class; then stage 2 in the same way
 *     aaclip_trainer_options_init(&options, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_DOCUMENT);
 *     aaclip_trainer_new(&trainer, model, dataset, cache, &options);
 */

/** One thread at a time may use a trainer. It retains what it was made with. */
typedef struct aaclip_trainer aaclip_trainer;

/** What is trained. */
typedef enum aaclip_stage {
    AACLIP_STAGE_TEXT = 1, /**< text adapters */
    AACLIP_STAGE_IMAGE = 2 /**< image adapters */
} aaclip_stage;

/** Levels whose maps count in the loss of stage 1. */
typedef enum aaclip_scales {
    AACLIP_SCALES_SUM = 0, /**< all of them (document) */
    AACLIP_SCALES_LAST = 1 /**< the last one, as the published code does */
} aaclip_scales;

/** Terms of the loss, each averaged over the images. */
typedef struct aaclip_losses {
    size_t size;           /**< sizeof the struct, set by the caller */
    double total;          /**< what is minimised */
    double focal,          /**< focal loss of the maps, summed over the levels counted */
        dice_normal,       /**< dice loss of the normal map, summed likewise */
        dice_abnormal;     /**< dice loss of the abnormal map, summed likewise */
    double orthogonal;     /**< stage 1: (mean of normal . abnormal)^2, before its weight */
    double classification; /**< stage 2: cross entropy of the detection feature */
    uint64_t images;       /**< number averaged over */
} aaclip_losses;

/** Where training stands, for callbacks and logs. */
typedef struct aaclip_training_progress {
    size_t size;                 /**< sizeof the struct, set by the caller */
    aaclip_stage stage;          /**< of the trainer */
    uint64_t epoch;              /**< current, from 1; the finished one until the next begins */
    uint64_t step;               /**< optimizer steps done since the beginning */
    uint64_t epoch_step;         /**< of those, in this epoch */
    uint64_t epoch_steps;        /**< in an epoch */
    double learning_rate;        /**< of the last step */
    double images_per_second;    /**< of the last step, loading included */
    const aaclip_losses *losses; /**< of the last step; valid during the callback */
} aaclip_training_progress;

/**
 * Called after every optimizer step in the training thread; false stops with CANCELLED. It may
 * evaluate with, copy and save the trainer; a step or an epoch of it is INVALID_ARGUMENT there, and
 * it must not be closed.
 */
typedef bool (*aaclip_training_callback)(const aaclip_training_progress *progress, void *user);

/** Maximum number of milestones. */
#define AACLIP_MAX_MILESTONES 8

/** How to train. */
typedef struct aaclip_trainer_options {
    size_t size;                 /**< set by _init */
    aaclip_stage stage;          /**< as given to _init */
    const aaclip_config *config; /**< without `initial`; NULL: the profile given to _init */
    aaclip_profile profile;      /**< as given to _init */
    /** Adapters to start from, with a fresh optimizer; NULL: Xavier uniform from the seed. */
    const aaclip_adapters *initial;

    uint32_t image_size; /**< pixels per side; 0 as in detection */
    uint32_t batch_size; /**< images: 16 in stage 1, 2 in stage 2 */
    /** Batches per optimizer step. Images are computed one by one, so a step of `accumulate`
     * batches equals a step of one batch that many times larger, and needs no more memory. */
    uint32_t accumulate;
    double learning_rate, /**< of Adam, without weight decay; before any milestone */
        beta1,            /**< of Adam: decay of the mean gradient */
        beta2,            /**< of Adam: decay of the mean square */
        epsilon;          /**< of Adam: added to the root */
    /** Steps at which the learning rate is multiplied by gamma. */
    uint64_t milestones[AACLIP_MAX_MILESTONES];
    uint32_t milestone_count; /**< of `milestones` */
    double gamma;             /**< 0.5 */

    aaclip_scales scales;     /**< stage 1 */
    double orthogonal_weight; /**< stage 1 */
    /** Number of last blocks with value-value attention in stage 1; 0: 19/24 of the tower. */
    uint32_t surgery_blocks;
    bool balanced_focal; /**< weight pixels by twice the share of the other kind */

    uint64_t seed;           /**< initialisation, order, augmentation */
    bool no_augmentation;    /**< resize only */
    bool no_shuffle;         /**< the data set's order */
    bool recompute;          /**< stage 2: less memory, a third more time */
    uint32_t loader_threads; /**< that decode and augment in the background; 0: one or two,
                                  with backend cuda up to eight */

    const char *log;                   /**< appended to: a line of JSON per step; NULL: none */
    aaclip_training_callback callback; /**< may be NULL */
    void *callback_user;               /**< given to `callback`; must live as long as the trainer */

    /* Stage 1 only. */
    const char *vocabulary, /**< as in aaclip_text_cache_options */
        *prompts;           /**< as there */
    bool truncate;          /**< as there */
    const char *phrases;    /**< known data set whose phrases name the classes; NULL: plain names */
} aaclip_trainer_options;

/**
 * Defaults of a stage and profile: batches of 16 images and a learning rate of 1e-5 in stage 1; 2
 * and 5e-4 in stage 2, halved after 16000 and 32000 steps; scales of the profile. `struct_size` is
 * the caller's sizeof; use the macro. Errors: INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_trainer_options_init_sized(aaclip_trainer_options *options,
                                                           size_t struct_size, aaclip_stage stage,
                                                           aaclip_profile profile);
/** aaclip_trainer_options_init_sized of this version's struct. */
#define aaclip_trainer_options_init(options, stage, profile)                                       \
    aaclip_trainer_options_init_sized((options), sizeof *(options), (stage), (profile))

/**
 * Prepares training on `dataset`: every class needs normal and abnormal samples and no others,
 * abnormal ones with a mask. Stage 2 needs a `cache` with a pair for every class; stage 1 takes
 * NULL.
 * Errors: INVALID_ARGUMENT (options, missing masks), NOT_FOUND (class not in the cache,
 * vocabulary), MISMATCH (a class without normal or without abnormal samples; adapters of another
 * model handle; a cache of another model, or whose vectors were built under another configuration),
 * UNSUPPORTED (a bundle has no text tower; a model in int8 or f16), OUT_OF_MEMORY. An abnormal
 * sample's mask that is all black or all white is not an error, but is logged as a warning when
 * first read.
 */
AACLIP_API aaclip_status aaclip_trainer_new(aaclip_trainer **trainer, const aaclip_model *model,
                                            const aaclip_dataset *dataset,
                                            const aaclip_text_cache *cache,
                                            const aaclip_trainer_options *options);

/** Frees the trainer and sets *trainer to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_trainer_close(aaclip_trainer **trainer);

/**
 * One optimizer step. `losses` may be NULL; else set losses->size first.
 * Errors: IO, FORMAT, ... of a sample, naming its file; BACKEND when the loss is not a number: the
 * step then changes nothing; CANCELLED by the callback, after the step, whose losses are then
 * filled in, or by a flag (aaclip/cancel.h), before it.
 */
AACLIP_API aaclip_status aaclip_trainer_step(aaclip_trainer *trainer, aaclip_losses *losses);

/**
 * Steps to the end of the current epoch; `losses` (may be NULL) are averages over these steps.
 * Errors as for aaclip_trainer_step; `losses` are then not filled in.
 */
AACLIP_API aaclip_status aaclip_trainer_epoch(aaclip_trainer *trainer, aaclip_losses *losses);

/**
 * Losses on a data set, without augmentation or training. Set losses->size first.
 * Errors: as for aaclip_trainer_new and for reading the files.
 */
AACLIP_API aaclip_status aaclip_trainer_evaluate(aaclip_trainer *trainer,
                                                 const aaclip_dataset *dataset,
                                                 aaclip_losses *losses);

/**
 * Where training stands. Set progress->size first; `losses` and the speed are not filled in.
 * Errors: INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_trainer_get_progress(const aaclip_trainer *trainer,
                                                     aaclip_training_progress *progress);

/**
 * A copy of the adapters as they are now. Close it with aaclip_adapters_close.
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_trainer_adapters(aaclip_adapters **adapters,
                                                 const aaclip_trainer *trainer);

/**
 * Writes adapters, optimizer and position, whole or not at all: in PyTorch's format, which
 * torch.load(weights_only=True) reads, when the name ends in .pth or .pt, else as safetensors.
 * Errors: IO, INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_trainer_save(const aaclip_trainer *trainer, const char *path);

/**
 * Continues from a saved state, the library's or PyTorch's: the following steps give the same bits
 * as if training had not stopped (same options, data set, processor and number of threads).
 * Errors: NOT_FOUND, IO, FORMAT, MISMATCH (shapes, another model, seed or schedule).
 */
AACLIP_API aaclip_status aaclip_trainer_load(aaclip_trainer *trainer, const char *path);

AACLIP_END_DECLS

#endif
