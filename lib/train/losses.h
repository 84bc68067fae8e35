/* The losses of one image and their gradients (numerics page, "Losses"). */
#ifndef AAC_TRAIN_LOSSES_H
#define AAC_TRAIN_LOSSES_H

#include <aaclip/trainer.h>

#include "backend/backend.h"

/* A level's features against a class's pair: similarities, enlarged map, focal and dice losses. */
typedef struct aac_map_loss {
    aac_plan *similarity, *loss, *back;
    int64_t patches, embedding;
    float *scores, *gradient; // (patches, 2)
    void *scratch;
} aac_map_loss;

aaclip_status aac_map_loss_make(aac_map_loss *loss, const aac_dispatch *dispatch, int64_t grid,
                                int64_t size, int64_t embedding, bool balanced);
void aac_map_loss_clear(aac_map_loss *loss);

/* One level of one image. Gradients are those of factor * (focal + dice + dice). */
typedef struct aac_map_sample {
    const float *features;      // (patches, embedding)
    const float *class_feature; // (embedding), added to every patch; NULL: none
    const float *pair;          // (2, embedding): normal, abnormal
    const uint8_t *mask;        // (size, size): 0 or 1
    float factor;
    float *feature_gradient; // (patches, embedding), written; NULL: not wanted
    float *pair_gradient;    // (2, embedding), added to; NULL: not wanted
} aac_map_sample;

/* Adds focal, dice of normal, dice of abnormal to `sums`. */
aaclip_status aac_map_loss_run(const aac_map_loss *loss, const aac_map_sample *sample,
                               double sums[3]);

/*
 * Cross entropy of [detection . normal, detection . abnormal] against the label; writes factor
 * times the gradient of detection (embedding) unless that is NULL.
 */
double aac_classification_loss(const float *detection, const float *pair, int label,
                               int64_t embedding, double factor, float *gradient);

/* normal . abnormal */
double aac_pair_product(const float *pair, int64_t embedding);

#endif
