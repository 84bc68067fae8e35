/* Photographs: an individual of a class, whole or damaged, under a light, through a camera. */
#ifndef GENERATE_STUDIO_H
#define GENERATE_STUDIO_H

#include "extras.h"
#include "recipes.h"

typedef struct photo_studio {
    unsigned side;
    drawn_picture whole, damaged;
    float *light, *scratch;
    /* The latest photograph, what it would be without its defect, and where that is (255). */
    uint8_t *pixels, *undamaged, *mask;
    picture_words words;
    chance *extras_stream; /* random choice of extras; NULL, the default: none */
    picture_extras extras;
} photo_studio;

bool studio_open(photo_studio *studio, unsigned side);
void studio_close(photo_studio *studio);

/*
 * Takes the photograph `number` of a series; `defect` is NULL for a good one. False if the class
 * shows no such defect in many trials.
 */
bool studio_photograph(photo_studio *studio, const class_recipe *recipe, const char *defect,
                       uint64_t seed, const char *series, unsigned number);

#endif
