/*
 * Random numbers that depend on a seed and on how many were drawn before, nothing else. Draw one in
 * a statement: C leaves the order of arguments and of initializers to the compiler.
 */
#ifndef GENERATE_CHANCE_H
#define GENERATE_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct chance {
    uint64_t key, count;
} chance;

/* A stream of its own for every seed and text ("wood/train/good") and number. */
chance chance_of(uint64_t seed, const char *text, uint64_t number);

uint64_t chance_bits(chance *stream);
float chance_between(chance *stream, float low, float high);
/* 0 to count - 1 */
unsigned chance_below(chance *stream, unsigned count);
bool chance_happens(chance *stream, float probability);

#endif
