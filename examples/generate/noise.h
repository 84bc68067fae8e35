/* Noise over the plane: a value for every seed and place. */
#ifndef GENERATE_NOISE_H
#define GENERATE_NOISE_H

#include <stdint.h>

uint32_t noise_hash(uint32_t seed, int x, int y);
/* 0 to 1 for integer coordinates. */
float noise_cell(uint32_t seed, int x, int y);

/* Gradient noise, about -1 to 1, with features of size 1. */
float noise_smooth(uint32_t seed, float x, float y);

/*
 * Octaves of it, each half as large and as strong. Octaves with features below `finest` are
 * omitted: they would only alias.
 */
float noise_fractal(uint32_t seed, float x, float y, float finest, int octaves);

/* Scattered points, one in a cell of size 1. */
typedef struct noise_points {
    float nearest, second; /* distances */
    float x, y;            /* from the nearest point to here */
    uint32_t hash;         /* of the nearest point */
} noise_points;

noise_points noise_scatter(uint32_t seed, float x, float y);

#endif
