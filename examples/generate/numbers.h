/*
 * Elementary functions from +, -, * and / only. Those of libm differ in their last bits between
 * systems; with these a seed gives the same pixels everywhere. Angles are in turns.
 */
#ifndef GENERATE_NUMBERS_H
#define GENERATE_NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline int floor_of(float x)
{
    int whole = (int)x;
    return whole - (x < (float)whole);
}

static inline float clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

static inline float mix(float a, float b, float share)
{
    return a + (b - a) * share;
}

static inline float square(float x)
{
    return x * x;
}

/* 0 below `low`, 1 above `high`, smooth between. */
static inline float ramp(float low, float high, float x)
{
    float t = clamp((x - low) / (high - low), 0, 1);
    return t * t * (3 - 2 * t);
}

/* From -0.5 to 0.5: how far from the nearest whole number. */
static inline float offset_from_whole(float x)
{
    return x - (float)floor_of(x + 0.5f);
}

static inline float sine(float turns)
{
    float x = offset_from_whole(turns);
    float parabola = 8 * x - 16 * x * fabsf(x);
    return parabola + 0.225f * (parabola * fabsf(parabola) - parabola);
}

static inline float cosine(float turns)
{
    return sine(turns + 0.25f);
}

/* Direction of (x, y), from -0.5 to 0.5. */
static inline float angle_of(float x, float y)
{
    float long_side = fabsf(x) > fabsf(y) ? fabsf(x) : fabsf(y);
    float short_side = fabsf(x) > fabsf(y) ? fabsf(y) : fabsf(x);
    float t = short_side / (long_side + 1e-20f);
    float turns = t * (0.15915f - t * t * (0.0527f - t * t * 0.0186f));
    turns = fabsf(y) > fabsf(x) ? 0.25f - turns : turns;
    turns = x < 0 ? 0.5f - turns : turns;
    return y < 0 ? -turns : turns;
}

static inline float exponential2(float x)
{
    x = clamp(x, -120, 120);
    int whole = floor_of(x);
    float part = x - (float)whole, scale;
    uint32_t bits = (uint32_t)(whole + 127) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return scale *
           (1 + part * (0.69315f + part * (0.24023f + part * (0.05550f + part * 0.01112f))));
}

/* e^(-x * x) */
static inline float bell(float x)
{
    return exponential2(-1.442695f * x * x);
}

static inline float logarithm2(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 23) - 127;
    bits = (bits & 0x7fffffu) | 0x3f800000u;
    memcpy(&x, &bits, sizeof x);
    float t = (x - 1) / (x + 1);
    return (float)exponent + t * (2.885390f + t * t * (0.961797f + t * t * 0.577078f));
}

/* Of a positive x. */
static inline float power(float x, float exponent)
{
    return exponential2(exponent * logarithm2(x));
}

#endif
