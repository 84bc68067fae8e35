/*
 * A tower under training: the frozen matrices that gradients go back through, turned, and for each
 * trained matrix its turned copy and the sum of its gradients.
 */
#ifndef AAC_MODEL_TRAINED_TOWER_H
#define AAC_MODEL_TRAINED_TOWER_H

#include "model/block_backward.h"
#include "model/model.h"

typedef struct aac_trained_projection {
    aac_weight *turned;
    float *gradient; // (embedding, width)
} aac_trained_projection;

typedef struct aac_trained_tower {
    const aac_adapter_tower *adapters; /* what is trained */
    int64_t block_count;
    aac_turned_block *blocks; // (block_count); the first one is not packed: no gradient passes it
    uint32_t layer_count;
    aac_trained_layer *layers; // (layer_count)
    aac_trained_projection projections[AACLIP_MAX_LEVELS], detection;
} aac_trained_tower;

/*
 * Blocks 1 .. block_count - 1 of `tensors` are packed. `gradients` is laid out as the parameters
 * of the adapters: the matrices of the layers, the projections, the detection projection.
 */
aaclip_status aac_trained_tower_new(aac_trained_tower **tower, const aaclip_model *model,
                                    const aac_block_tensors *tensors, int64_t block_count,
                                    const aac_adapter_tower *adapters, float *gradients);
void aac_trained_tower_free(aac_trained_tower **tower);

/* Packs the trained matrices anew, after their values have changed. */
aaclip_status aac_trained_tower_refresh(aac_trained_tower *tower, const aaclip_model *model);

#endif
