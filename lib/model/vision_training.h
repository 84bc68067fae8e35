/* The image tower run forward with a tape, and back: gradients of the image adapters. */
#ifndef AAC_MODEL_VISION_TRAINING_H
#define AAC_MODEL_VISION_TRAINING_H

#include "model/trained_tower.h"
#include "model/vision_encoder.h"

/* Owns tape and working memory of the encoder's images; for one thread at a time. */
typedef struct aac_vision_training aac_vision_training;

/*
 * `encoder` was made for training with the adapters that `trained` belongs to; both outlive the
 * object. With `recompute` only the blocks' inputs are kept and the backward run computes each
 * block again, a third more time; the encoder may be a streamed one then.
 */
aaclip_status aac_vision_training_new(aac_vision_training **training,
                                      const aac_vision_encoder *encoder, aac_trained_tower *trained,
                                      bool recompute);
void aac_vision_training_free(aac_vision_training **training);

/* As aac_vision_encoder_run, device memory too; what the backward run needs is kept. */
aaclip_status aac_vision_training_forward(aac_vision_training *training, const uint8_t *rgb,
                                          float *features, float *detection);
/*
 * All in device memory: from the gradients of features (images, levels, patches, embedding) and
 * detection (images, embedding) of the last forward run; adds to those of the trained tower.
 * `feature_gradient` is overwritten.
 */
aaclip_status aac_vision_training_backward(aac_vision_training *training,
                                           const float *feature_gradient,
                                           const float *detection_gradient);

#endif
