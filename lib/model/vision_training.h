/* The image tower forward with a tape, and backward: gradients of the image adapters. */
#ifndef AAC_MODEL_VISION_TRAINING_H
#define AAC_MODEL_VISION_TRAINING_H

#include "model/trained_tower.h"
#include "model/vision_encoder.h"

/* Owns tape and working memory for the encoder's images; for one thread at a time. */
typedef struct aac_vision_training aac_vision_training;

/*
 * `encoder` was made for training with the adapters that `trained` belongs to; both must outlive
 * the object. With `recompute` only the blocks' inputs are kept and the backward run recomputes
 * each block, which takes a third more time; only then may the encoder be streamed.
 */
aaclip_status aac_vision_training_new(aac_vision_training **training,
                                      const aac_vision_encoder *encoder, aac_trained_tower *trained,
                                      bool recompute);
void aac_vision_training_free(aac_vision_training **training);

/* Like aac_vision_encoder_run, also in device memory; keeps what the backward run needs. */
aaclip_status aac_vision_training_forward(aac_vision_training *training, const uint8_t *rgb,
                                          float *features, float *detection);
/*
 * From the gradients of features (images, levels, patches, embedding) and detection (images,
 * embedding) of the last forward run, all in device memory; adds to the gradients of the trained
 * tower.
 */
aaclip_status aac_vision_training_backward(aac_vision_training *training,
                                           const float *feature_gradient,
                                           const float *detection_gradient);

#endif
