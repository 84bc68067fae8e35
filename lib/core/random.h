/*
 * Random numbers that depend on (seed, stream) alone: the generator is counter-based
 * (Philox4x64-10, Salmon et al. 2011), so streams share no state and the order of threads does not
 * matter. The numbers are those of NumPy's Philox(key=[seed, stream]).
 */
#ifndef AAC_CORE_RANDOM_H
#define AAC_CORE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct aac_random {
    uint64_t key[2], counter;
    uint64_t block[4]; /* of which the last `left` are unused */
    unsigned left;
} aac_random;

/* What numbers are drawn for: streams of different purposes never coincide. */
typedef enum aac_random_purpose {
    AAC_RANDOM_INITIALISE, /* weights */
    AAC_RANDOM_SHUFFLE,    /* the order of an epoch */
    AAC_RANDOM_AUGMENT,    /* one sample of one epoch */
    AAC_RANDOM_SHOTS       /* few-shot sampling */
} aac_random_purpose;

/* The stream of a purpose and two numbers below 2^30 (epoch and sample, say). */
uint64_t aac_random_stream(aac_random_purpose purpose, uint64_t a, uint64_t b);

void aac_random_seed(aac_random *random, uint64_t seed, uint64_t stream);
uint64_t aac_random_next(aac_random *random);
double aac_random_unit(aac_random *random); /* in [0, 1), a multiple of 2^-53 */
double aac_random_between(aac_random *random, double low, double high);
uint64_t aac_random_below(aac_random *random, uint64_t n); /* 0 .. n-1, unbiased; n > 0 */
void aac_random_shuffle(aac_random *random, size_t *items, size_t count);

#endif
