/* The losses and their gradients (numerics page, "Losses"). */
#ifndef AAC_TRAIN_LOSSES_H
#define AAC_TRAIN_LOSSES_H

#include <aaclip/trainer.h>

#include "backend/device.h"

/*
 * Features of levels against a class's pair: similarities, upsampled maps, focal and dice losses. A
 * class feature, added to every patch, adds the same amount to every patch's similarity: `class_*`
 * and `spread` add its similarity to all, `total` and `class_back` sum all gradients for the pair.
 */
typedef struct aac_map_loss {
    const aac_dispatch *dispatch;
    aac_plan *similarity, *loss, *back;
    aac_plan *class_similarity, *spread, *total, *class_back;
    int64_t patches, rows, embedding; /* rows: patches of all levels */
    aac_mirror sums;          // (4) double: focal, dice of normal, dice of abnormal, classification
    float *scores, *gradient; // (rows, 2), in device memory, as the following
    float *ones;              // (rows)
    float *class_scores;      // (2)
    void *scratch;
} aac_map_loss;

aaclip_status aac_map_loss_make(aac_map_loss *loss, const aac_dispatch *dispatch, int64_t levels,
                                int64_t grid, int64_t size, int64_t embedding, bool balanced);
void aac_map_loss_clear(aac_map_loss *loss);

/* An image, in device memory. Gradients are of factor * (focal + dice + dice). */
typedef struct aac_map_sample {
    const float *features;      // (levels, patches, embedding)
    const float *class_feature; // (embedding), added to every patch; NULL: none
    const float *pair;          // (2, embedding): normal, abnormal
    const uint8_t *mask;        // (size, size): 0 or 1
    float factor;
    float *feature_gradient; // (levels, patches, embedding), written; NULL: not wanted
    float *pair_gradient;    // (2, embedding), added to; NULL: not wanted
} aac_map_sample;

/* `begin` sets the sums to 0, each run adds to the first three, and `end` returns them: focal, dice
 * of normal, dice of abnormal, classification. The last is the caller's: aac_map_loss_class_sum. */
aaclip_status aac_map_loss_begin(const aac_map_loss *loss);
aaclip_status aac_map_loss_run(const aac_map_loss *loss, const aac_map_sample *sample);
double *aac_map_loss_class_sum(const aac_map_loss *loss); /* in device memory */
aaclip_status aac_map_loss_end(const aac_map_loss *loss, double sums[4]);

/* On the host: normal . abnormal */
double aac_pair_product(const float *pair, int64_t embedding);

#endif
