#include "core/random.h"

#define ROUNDS 10

/* High and low half of a 128-bit product. */
static uint64_t multiply(uint64_t a, uint64_t b, uint64_t *high)
{
    const uint64_t mask = 0xffffffff;
    uint64_t low = (a & mask) * (b & mask);
    uint64_t first = (a >> 32) * (b & mask) + (low >> 32);
    uint64_t second = (a & mask) * (b >> 32) + (first & mask);
    *high = (a >> 32) * (b >> 32) + (first >> 32) + (second >> 32);
    return a * b;
}

static void philox(const uint64_t counter, const uint64_t key[2], uint64_t block[4])
{
    uint64_t x[4] = {counter, 0, 0, 0}, k[2] = {key[0], key[1]};
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t high[2];
        uint64_t low0 = multiply(0xD2E7470EE14C6C93, x[0], &high[0]);
        uint64_t low2 = multiply(0xCA5A826395121157, x[2], &high[1]);
        x[0] = high[1] ^ x[1] ^ k[0];
        x[1] = low2;
        x[2] = high[0] ^ x[3] ^ k[1];
        x[3] = low0;
        k[0] += 0x9E3779B97F4A7C15;
        k[1] += 0xBB67AE8584CAA73B;
    }
    for (int i = 0; i < 4; i++)
        block[i] = x[i];
}

uint64_t aac_random_stream(aac_random_purpose purpose, uint64_t a, uint64_t b)
{
    return (uint64_t)purpose << 60 | (a & 0x3fffffff) << 30 | (b & 0x3fffffff);
}

void aac_random_seed(aac_random *random, uint64_t seed, uint64_t stream)
{
    *random = (aac_random){.key = {seed, stream}};
}

uint64_t aac_random_next(aac_random *random)
{
    if (!random->left) {
        philox(++random->counter, random->key, random->block);
        random->left = 4;
    }
    return random->block[4 - random->left--];
}

double aac_random_unit(aac_random *random)
{
    return (double)(aac_random_next(random) >> 11) * 0x1p-53;
}

double aac_random_between(aac_random *random, double low, double high)
{
    return low + (high - low) * aac_random_unit(random);
}

uint64_t aac_random_below(aac_random *random, uint64_t n)
{
    const uint64_t biased = -n % n; /* 2^64 mod n: that many numbers must be rejected */
    uint64_t x;
    do
        x = aac_random_next(random);
    while (x < biased);
    return x % n;
}

void aac_random_shuffle(aac_random *random, size_t *items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)aac_random_below(random, i), item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}
