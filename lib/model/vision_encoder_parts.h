/* Internals of the vision encoder, for its backward run. */
#ifndef AAC_MODEL_VISION_ENCODER_PARTS_H
#define AAC_MODEL_VISION_ENCODER_PARTS_H

#include "model/vision_encoder.h"

struct aac_vision_encoder {
    aaclip_model *model;
    aaclip_adapters *adapters; /* NULL without image adapters */
    aaclip_config config;
    const aac_vision_tower *tower;
    int64_t images, image_size, patches, width, embedding, patch_values, surgery_blocks;
    aac_dtype type;
    bool streamed;
    aac_weight **values; // (blocks): set for the surgery blocks; NULL without surgery
    float *start;        // (1 + patches, width): class token and positions, as every image starts
    int32_t *offsets;    // (images + 1): of the images' rows; both in device memory
    aac_plan *gather, *embed, *ln_post, *normalize, *detect; /* of one image's patches */
    aac_plan *ln_pre, *project;                              /* of all images */
    aac_plan *class_norm, *class_project, *class_normalize;  /* of one row, for the surgery run */
    aac_block_plan block, value_block;                       /* value_block: for the surgery run */
    aac_adapter_plan adapter;
};

/* In device memory. */
typedef struct aac_vision_memory {
    float *x;         // (images, 1 + patches, width)
    float *plain;     // (1 + patches, width): the plain tower beside the surgery
    float *projected; // (images, patches, embedding)
    aac_block_memory block;
} aac_vision_memory;

/* The frozen block of that index; in a streamed encoder it is valid until another is requested. */
aaclip_status aac_vision_encoder_block(const aac_vision_encoder *encoder, uint32_t index,
                                       aac_block_stream *stream, const aac_block **block);
/* The sequences: each image's rows attend to each other. */
aac_sequences aac_vision_encoder_images(const aac_vision_encoder *encoder);
/* The offset of an image's patches in the residual stream, (images, 1 + patches, width). */
int64_t aac_vision_encoder_patches_at(const aac_vision_encoder *encoder, int64_t image);
/* Bytes of the residual stream. */
size_t aac_vision_encoder_stream_bytes(const aac_vision_encoder *encoder);

aac_vision_memory aac_vision_encoder_lay_out(const aac_vision_encoder *encoder,
                                             aac_workspace *workspace, size_t more_scratch);

#endif
