/* The image tower with its adapters: RGB bytes in, patch features of every level out. */
#ifndef AAC_MODEL_VISION_ENCODER_H
#define AAC_MODEL_VISION_ENCODER_H

#include "model/adapters.h"
#include "model/model.h"

/* Plans for one image size. Immutable; shared by threads that bring their own workspace. */
typedef struct aac_vision_encoder aac_vision_encoder;

/* `adapters` may be NULL or without image modules: CLIP's own projection then stands in for all. */
aaclip_status aac_vision_encoder_new(aac_vision_encoder **encoder, const aaclip_model *model,
                                     const aaclip_adapters *adapters, const aaclip_config *config,
                                     int64_t image_size);
void aac_vision_encoder_free(aac_vision_encoder **encoder);

int64_t aac_vision_encoder_patches(const aac_vision_encoder *encoder);
/* Bytes of workspace that a run needs. */
size_t aac_vision_encoder_workspace(const aac_vision_encoder *encoder);

/*
 * rgb: image_size x image_size x 3. features: (levels, patches, embedding), rows L2-normalised.
 * detection: (embedding), mean over the patches of normalised rows.
 */
aaclip_status aac_vision_encoder_run(const aac_vision_encoder *encoder, const uint8_t *rgb,
                                     float *features, float *detection, void *workspace);

#endif
