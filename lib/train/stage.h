/*
 * A training stage: what it computes for a step's images. The trainer supplies the images one by
 * one; gradients are summed over them, so a step of any size needs the memory of one image, or on a
 * device of those that run together.
 */
#ifndef AAC_TRAIN_STAGE_H
#define AAC_TRAIN_STAGE_H

#include <aaclip/trainer.h>

#include "train/loader.h"
#include "train/optimizer.h"

/* The images of one optimizer step, or of one part of an evaluation. */
typedef struct aac_step {
    const aaclip_dataset *dataset;
    const size_t *samples; // (count): indices in the data set
    size_t count;
    bool train;            /* computes gradients */
    aaclip_losses *losses; /* means over the step's images are added */
} aac_step;

/* What a stage is made from; what it points to must outlive the stage. */
typedef struct aac_stage_setup {
    const aaclip_model *model;
    const aaclip_text_cache *cache; /* stage 2 */
    const aaclip_config *config;    /* resolved */
    const aaclip_trainer_options *options;
    int64_t image_size;
    aac_parameter_set *parameters;
    float *gradients; /* of all parameters, contiguous in device memory */
} aac_stage_setup;

/* Pixels of samples in device memory. The buffers are NULL if that is host memory: a single sample
 * is then used in place. */
typedef struct aac_stage_pixels {
    const aac_dispatch *dispatch;
    size_t count; /* size * size */
    uint8_t *rgb_buffer, *mask_buffer;
    const uint8_t *rgb;  // (images, size, size, 3)
    const uint8_t *mask; // (images, size, size)
} aac_stage_pixels;

/* images: 1 if device memory is host memory */
aaclip_status aac_stage_pixels_make(aac_stage_pixels *pixels, const aac_dispatch *dispatch,
                                    int64_t image_size, int64_t images);
void aac_stage_pixels_clear(aac_stage_pixels *pixels);
/* Makes a sample's pixels those of image `image`; sets `rgb` and `mask`. */
aaclip_status aac_stage_pixels_send(aac_stage_pixels *pixels, const aac_sample *sample,
                                    int64_t image);

typedef struct aac_stage aac_stage;

struct aac_stage {
    uint64_t prompts; /* fingerprint of the prompts that describe the classes */
    /* Before the images: everything that depends only on their classes. */
    aaclip_status (*begin)(aac_stage *stage, const aac_step *step);
    aaclip_status (*image)(aac_stage *stage, const aac_step *step, const aac_sample *sample);
    /* After the images. */
    aaclip_status (*end)(aac_stage *stage, const aac_step *step);
    /* After the parameters' values have changed: to `values`, of all, contiguous in device memory,
     * or to what the parameters hold (NULL). */
    aaclip_status (*refresh)(aac_stage *stage, const float *values);
    /* Finds early what would fail at a class of this data set. */
    aaclip_status (*check)(aac_stage *stage, const aaclip_dataset *dataset);
    void (*free)(aac_stage *stage);
};

aaclip_status aac_stage_text_new(aac_stage **stage, const aac_stage_setup *setup);
aaclip_status aac_stage_image_new(aac_stage **stage, const aac_stage_setup *setup);

/* The parameters as an adapter set that reads them in place or copies them. */
aaclip_status aac_stage_adapters(aaclip_adapters **adapters, const aaclip_model *model,
                                 const aaclip_config *config, const aac_parameter_set *parameters,
                                 bool copy);

#endif
