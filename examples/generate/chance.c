#include "chance.h"

/* The finalizer of a 64-bit hash: every bit of the result depends on every bit of the value. */
static uint64_t scramble(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

chance chance_of(uint64_t seed, const char *text, uint64_t number)
{
    uint64_t key = scramble(seed + 0x9e3779b97f4a7c15u);
    for (; *text; text++)
        key = scramble(key ^ (unsigned char)*text) + 0x632be59bd9b4e019u;
    return (chance){scramble(key ^ number), 0};
}

uint64_t chance_bits(chance *stream)
{
    return scramble(stream->key + ++stream->count * 0x9e3779b97f4a7c15u);
}

float chance_between(chance *stream, float low, float high)
{
    float unit = (float)(chance_bits(stream) >> 40) * 0x1p-24f;
    return low + (high - low) * unit;
}

unsigned chance_below(chance *stream, unsigned count)
{
    return (unsigned)((chance_bits(stream) >> 32) * count >> 32);
}

bool chance_happens(chance *stream, float probability)
{
    return chance_between(stream, 0, 1) < probability;
}
