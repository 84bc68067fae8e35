/* The camera: lens, exposure, white balance, sensor. */
#ifndef GENERATE_CAMERA_H
#define GENERATE_CAMERA_H

#include <stddef.h>

#include "chance.h"

typedef struct camera_setting {
    float blur, vignette;
    float gain[3]; /* exposure times white balance */
    float read_noise, shot_noise;
    uint32_t seed;
    const char *light; /* description of the light as the camera sees it */
} camera_setting;

camera_setting camera_draw(chance *stream);

/* From three planes of linear light, which it blurs, to side * side RGB pixels. */
void camera_expose(uint8_t *rgb, float *light, float *scratch, unsigned side,
                   const camera_setting *camera);

#endif
