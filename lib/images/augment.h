/*
 * Augmentation of training samples, with the same pixels as torchvision. Drawing the parameters and
 * applying them are separate, so that the latter can be compared with torchvision step by step.
 */
#ifndef AAC_IMAGES_AUGMENT_H
#define AAC_IMAGES_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include <aaclip/config.h>
#include <aaclip/image.h>

#include "core/random.h"

typedef struct aac_augment_options {
    double margin; /* resize to size * (1 + margin), then crop a random square of `size` */
    double rotation, rotation_probability;       /* degrees to either side */
    double translation, translation_probability; /* of the side, in each direction */
    double horizontal_flip, vertical_flip;       /* probabilities */
    double brightness, contrast, saturation;     /* factors are drawn from 1 -+ these */
    double colour_probability;
    bool colour_jointly; /* one draw for all three, in random order; else one each, in order */
    bool colour_first;   /* on the decoded image, before resizing; else on the finished square */
    /*
     * Fractional bits of the positions that rotation reads from: 16 as in Pillow (document), 32 to
     * stay close to PyTorch's floats (published).
     */
    unsigned rotation_bits;
    uint8_t fill[3]; /* colour of the area that the image moved out of */
} aac_augment_options;

/*
 * What config->profile does in stage 1 (text adapters) or 2 (image adapters).
 *
 * document: torchvision on Pillow images, bit for bit. Colour jitter comes last.
 *
 * published: colours on the decoded image; rotation, translation and flips after normalisation, on
 * tensors filled with 0, which is the mean colour. Nearest-neighbour moves do not depend on
 * normalisation, so only two things differ here: the mean colour is rounded to 8 bits (at most half
 * a grey level, 0.008 once normalised), and a rotated pixel whose source lies within float32's
 * rounding error of the border of two pixels may take the other one.
 */
void aac_augment_options_init(aac_augment_options *options, const aaclip_config *config, int stage);

/* INVALID_ARGUMENT for invalid probabilities or fractions, or non-finite numbers. */
aaclip_status aac_augment_options_check(const aac_augment_options *options);

typedef enum aac_colour_kind {
    AAC_COLOUR_BRIGHTNESS,
    AAC_COLOUR_CONTRAST,
    AAC_COLOUR_SATURATION
} aac_colour_kind;

/* The augmentation of one sample, applied in the order of the fields. All but `resized` may be
 * zero. */
typedef struct aac_augmentation {
    bool colour_first; /* else the colours change last */
    struct {
        aac_colour_kind kind;
        float factor;
    } colours[3];
    unsigned colour_count;
    uint32_t resized;         /* side after resizing */
    double angle;             /* degrees, counter-clockwise */
    unsigned rotation_bits;   /* see the options; 0 means 16 */
    int32_t shift_x, shift_y; /* to the right and down, in pixels */
    uint32_t crop_x, crop_y;  /* crop + size <= resized */
    bool flip_horizontal, flip_vertical;
    uint8_t fill[3];
} aac_augmentation;

aac_augmentation aac_augment_draw(const aac_augment_options *options, uint32_t size,
                                  aac_random *random);

/*
 * Makes a sample of size x size: `rgb` (size, size, 3) and `mask_out` (size, size; 0 or 1) of an
 * image and its mask (NULL: all normal) of the same size. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
aaclip_status aac_augment_apply(const aac_augmentation *augmentation,
                                const aaclip_image_view *image, const aaclip_image_view *mask,
                                uint32_t size, uint8_t *rgb, uint8_t *mask_out);

#endif
