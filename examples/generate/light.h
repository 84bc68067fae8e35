/* Light on a surface. */
#ifndef GENERATE_LIGHT_H
#define GENERATE_LIGHT_H

#include "picture.h"

typedef struct light_setting {
    float key[3];    /* direction to the lamp, of length 1 */
    float window[2]; /* direction to a bright strip that metal mirrors */
    float lamp, sky; /* strengths */
    float uneven[2]; /* change of brightness from the centre to the right, to the bottom */
    float shadow_length, shadow_softness;
} light_setting;

light_setting light_draw(chance *stream);

/* Three planes of linear light, red first. `scratch` holds three planes. */
void light_shade(float *light, float *scratch, const drawn_picture *picture,
                 const light_setting *lighting);

#endif
