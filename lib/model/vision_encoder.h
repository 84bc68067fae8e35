/* The image tower with its adapters: RGB bytes in, patch features of every level out. */
#ifndef AAC_MODEL_VISION_ENCODER_H
#define AAC_MODEL_VISION_ENCODER_H

#include "model/adapters.h"
#include "model/block_stream.h"
#include "model/model.h"

/* Plans for one image size. Immutable; threads share it, each with its own workspace. */
typedef struct aac_vision_encoder aac_vision_encoder;

typedef struct aac_vision_setup {
    /* NULL or without image modules: CLIP's own projection replaces all others. */
    const aaclip_adapters *adapters;
    const aaclip_config *config; /* resolved */
    int64_t image_size;
    int64_t images; /* per run; 0: one */
    bool training;  /* runs can write a tape */
    bool streamed;  /* each run supplies the blocks in its tape: the encoder packs none */
    /*
     * Stage 1: this many of the last blocks attend value to value ("surgery"), alongside the plain
     * tower, whose class token is also needed. 0: an ordinary tower.
     */
    int64_t surgery_blocks; /* requires images == 1 */
} aac_vision_setup;

aaclip_status aac_vision_encoder_new(aac_vision_encoder **encoder, const aaclip_model *model,
                                     const aac_vision_setup *setup);
void aac_vision_encoder_free(aac_vision_encoder **encoder);

/* Bytes of workspace, device memory, that a run needs. */
size_t aac_vision_encoder_workspace(const aac_vision_encoder *encoder);

/* What a level's projections leave for their backward run, in device memory. */
typedef struct aac_tap_tape {
    void *normed;     // (images, patches, width), type: after ln_post
    float *projected; // (images, patches, embedding): before the L2 norm
} aac_tap_tape;

/* What a run leaves for its backward run. */
typedef struct aac_vision_tape {
    const aac_block_tape *blocks;     // (blocks + 1): `x` of the last is the tower's output
    const aac_adapter_tape *adapters; // (adapted blocks); those without `x` are not recorded
    const aac_tap_tape *taps;         // (levels)
    float *detection;         // (images, patches, embedding): before the L2 norm; device memory
    aac_block_stream *stream; /* for a streamed encoder; else unused */
} aac_vision_tape;

/*
 * Pixels, features and detection are in device memory, here and below.
 * rgb: (images, image_size, image_size, 3). features: (images, levels, patches, embedding), rows
 * L2-normalised. detection: (images, embedding), mean over the patches of normalised rows. `tape`
 * may be NULL.
 */
aaclip_status aac_vision_encoder_run(const aac_vision_encoder *encoder, const uint8_t *rgb,
                                     float *features, float *detection, void *workspace,
                                     const aac_vision_tape *tape);

/*
 * Stage 1: features (levels, patches, embedding) of the surgery tower, rows L2-normalised; class
 * (embedding) of the plain tower, L2-normalised. The blocks before the surgery run only once.
 */
aaclip_status aac_vision_encoder_run_surgery(const aac_vision_encoder *encoder, const uint8_t *rgb,
                                             float *features, float *class_feature,
                                             void *workspace);

#endif
