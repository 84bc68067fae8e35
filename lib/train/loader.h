/*
 * Samples in a given order, read, resized and augmented by background threads. A sample's contents
 * depend only on the seed, the epoch and its index.
 */
#ifndef AAC_TRAIN_LOADER_H
#define AAC_TRAIN_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/dataset.h>

#include "images/augment.h"

typedef struct aac_loader aac_loader;

typedef struct aac_loader_options {
    uint32_t image_size;                /* S */
    const aac_augment_options *augment; /* copied; NULL: only resized */
    uint64_t seed;
    uint32_t epoch;
    unsigned threads;   /* 0: samples are made in aac_loader_next */
    size_t ahead;       /* samples made before they are asked for, at least 1; bounds the memory */
    bool require_masks; /* an abnormal sample without a mask is an error; else its mask is all
                           normal */
    uint8_t *memory;    /* aac_loader_memory() bytes that must outlive the loader; NULL: its own */
} aac_loader_options;

typedef struct aac_sample {
    size_t index; /* in the data set */
    size_t class_index;
    const char *class_name;
    int label;
    bool has_mask;       /* false: `mask` is all normal for want of a mask */
    const uint8_t *rgb;  /* (S, S, 3) */
    const uint8_t *mask; /* (S, S), 0 or 1 */
} aac_sample;

/* Bytes of the samples held at once. */
size_t aac_loader_memory(const aac_loader_options *options);

/*
 * Starts loading the samples order[0 .. count-1] (copied). Retains the data set. Getting fewer
 * threads than requested is not an error. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
aaclip_status aac_loader_open(aac_loader **loader, const aaclip_dataset *dataset,
                              const size_t *order, size_t count, const aac_loader_options *options);

/*
 * Waits for the next sample; NULL after the last. It lives until the next call. A sample that
 * cannot be read returns its error in its turn; the following call continues with the next one.
 * After CANCELLED the loader can only be closed. Errors: those of aaclip_image_open; MISMATCH
 * (image and mask of different sizes), NOT_FOUND (no mask). One thread at a time.
 */
aaclip_status aac_loader_next(aac_loader *loader, const aac_sample **sample);

/* Whether a fork has left its threads behind: it can then only be closed. */
bool aac_loader_was_left(const aac_loader *loader);

/* Cancels the threads' samples, drops all and nulls the pointer; accepts a pointer to NULL. */
void aac_loader_close(aac_loader **loader);

#endif
