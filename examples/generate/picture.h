/*
 * A picture in the making: the surface that the camera will see, as planes of numbers. Coordinates
 * go from -1 to 1, heights are in the same unit, colours are linear light from 0 to 1.
 */
#ifndef GENERATE_PICTURE_H
#define GENERATE_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chance.h"

typedef struct rgb_colour {
    const char *name;
    float red, green, blue;
} rgb_colour;

/* One place of a surface, as recipes make it. */
typedef struct surface_point {
    rgb_colour colour;
    float height;
    float gloss;    /* 0 dull, 1 polished */
    float metal;    /* 0 shows its colour in diffuse light, 1 in reflections only */
    float distance; /* to the outline of a part, negative inside it */
    float print;    /* how much ink is there */
} surface_point;

typedef struct surface_layer {
    float *height, *red, *green, *blue, *gloss, *metal;
} surface_layer;

/* The planes of a layer, then of the picture; copies are copies of this one block. */
enum { LAYER_PLANES = 6, PICTURE_PLANES = 2 * LAYER_PLANES + 4 };

/* What a caption says. */
typedef struct picture_words {
    const char *colour, *second_colour, *material, *noun, *ground_colour, *ground, *light;
} picture_words;

typedef struct drawn_picture {
    unsigned side;
    size_t count; /* pixels */
    float pixel;  /* size of one */
    bool has_part;
    float *planes;
    surface_layer ground, part;
    float *cover;    /* share of a pixel that the part hides */
    float *distance; /* to its outline, negative inside; of textures -1 */
    float *print;
    float *damage; /* 0 to 1 */
    rgb_colour ink;
    picture_words words;
} drawn_picture;

bool picture_create(drawn_picture *picture, unsigned side);
void picture_free(drawn_picture *picture);
void picture_copy(drawn_picture *target, const drawn_picture *source);
/* The layer that is inspected. */
surface_layer *picture_subject(drawn_picture *picture);

static inline float place_of(const drawn_picture *picture, unsigned index)
{
    return ((float)index + 0.5f) * picture->pixel - 1;
}

void layer_set(surface_layer *layer, size_t i, const surface_point *point);

/* Box blurs, `times` over; `scratch` is as large as the plane. Edge values are repeated beyond the
 * edge. */
void plane_blur(float *plane, float *scratch, unsigned side, unsigned radius, unsigned times);

/* Colours */
rgb_colour colour_mix(rgb_colour a, rgb_colour b, float share);
rgb_colour colour_scaled(rgb_colour a, float factor);
/* The same colour, a little lighter, darker, warmer or colder. */
rgb_colour colour_varied(rgb_colour a, chance *stream, float amount);

#endif
