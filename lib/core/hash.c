/* SipHash (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012). */
#include "core/hash.h"

#include <stdatomic.h>

#include "core/platform.h"

#define ROUNDS       2 /* per 8 bytes */
#define FINAL_ROUNDS 4

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[4], int rounds)
{
    while (rounds--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32) + v[3];
        v[2] += v[1];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static void take_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v, ROUNDS);
    v[0] ^= word;
}

/* Little-endian on every processor. */
static uint64_t read_word(const unsigned char *bytes, size_t size)
{
    uint64_t word = 0;
    for (size_t i = 0; i < size; i++)
        word |= (uint64_t)bytes[i] << 8 * i;
    return word;
}

uint64_t aac_hash_keyed(const uint64_t key[2], const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    size_t left = size;
    for (; left >= 8; at += 8, left -= 8)
        take_word(v, read_word(at, 8));
    take_word(v, (uint64_t)size << 56 | read_word(at, left));
    v[2] ^= 0xff;
    mix(v, FINAL_ROUNDS);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* If the system gives no random numbers: values that a remote attacker does not know. */
static uint64_t improvise(void)
{
    uint64_t word = (uint64_t)(aac_seconds_now() * 1e9);
    const uint64_t places[2] = {(uintptr_t)&word, (uintptr_t)&improvise};
    return aac_hash_keyed(places, &word, sizeof word);
}

/* If several threads draw it, the first one wins; lock-free, so that a fork finds no lock held. */
static uint64_t key_word(_Atomic uint64_t *word)
{
    uint64_t found = atomic_load_explicit(word, memory_order_relaxed), drawn = 0;
    if (found)
        return found;
    if (!aac_system_random(&drawn, sizeof drawn))
        drawn = improvise();
    drawn += !drawn; /* 0: none yet */
    return atomic_compare_exchange_strong(word, &found, drawn) ? drawn : found;
}

uint64_t aac_hash(const void *bytes, size_t size)
{
    static _Atomic uint64_t words[2];
    const uint64_t key[2] = {key_word(&words[0]), key_word(&words[1])};
    return aac_hash_keyed(key, bytes, size);
}
