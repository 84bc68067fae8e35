/*
 * Random numbers that depend only on a seed and on how many were drawn before. Draw one per
 * statement: C leaves the order of arguments and of initializers to the compiler.
 */
#ifndef GENERATE_CHANCE_H
#define GENERATE_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct chance {
    uint64_t key, count;
} chance;

/* An independent stream for every seed, text ("wood/train/good") and number. */
chance chance_of(uint64_t seed, const char *text, uint64_t number);

uint64_t chance_bits(chance *stream);
float chance_between(chance *stream, float low, float high);
/* 0 to count - 1 */
unsigned chance_below(chance *stream, unsigned count);
bool chance_happens(chance *stream, float probability);

#endif
