/* The adapters of a tower in training: for each matrix, the sum of its gradients. */
#ifndef AAC_MODEL_TRAINED_TOWER_H
#define AAC_MODEL_TRAINED_TOWER_H

#include "model/block_backward.h"

typedef struct aac_trained_projection {
    const aac_projection *adapter;
    float *gradient; // (embedding, width)
} aac_trained_projection;

typedef struct aac_trained_tower {
    const aac_adapter_tower *adapters;
    uint32_t layer_count;
    aac_trained_layer *layers; // (layer_count)
    aac_trained_projection projections[AACLIP_MAX_LEVELS], detection;
} aac_trained_tower;

/*
 * `adapters` and `gradients` must outlive it. `gradients`, in device memory, has the layout of the
 * adapters' parameters: the matrices of the layers, the projections, the detection projection.
 */
aaclip_status aac_trained_tower_new(aac_trained_tower **tower, const aac_adapter_tower *adapters,
                                    float *gradients);
void aac_trained_tower_free(aac_trained_tower **tower);

#endif
