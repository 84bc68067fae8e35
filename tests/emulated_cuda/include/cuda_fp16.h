/* CUDA's float16, as used by the kernels of lib/backend/cuda. */
#ifndef TEST_EMULATED_CUDA_FP16_H
#define TEST_EMULATED_CUDA_FP16_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cuda_runtime.h"

struct __half {
    uint16_t bits;
};
struct alignas(4) __half2 {
    __half x, y;
};

static inline float __half2float(__half narrow)
{
    int exponent = narrow.bits >> 10 & 31, fraction = narrow.bits & 1023;
    float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                 : exponent     ? ldexpf((float)(fraction + 1024), exponent - 25)
                                : ldexpf((float)fraction, -24);
    return narrow.bits >> 15 ? -size : size;
}

/* Rounds to nearest even; infinite from 65520 on. */
static inline __half __float2half_rn(float value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    float size = fabsf(value);
    if (isnan(value))
        return {0x7fff};
    if (size >= 65520)
        return {(uint16_t)(sign | 0x7c00)};
    int exponent = size < 0x1p-14f ? -14 : ilogbf(size);
    float steps = rintf(ldexpf(size, 10 - exponent)); /* up to 2048, the next exponent */
    return {(uint16_t)(sign | (uint16_t)((exponent + 14) * 1024 + (int)steps))};
}

static inline __half2 __floats2half2_rn(float low, float high)
{
    return {__float2half_rn(low), __float2half_rn(high)};
}

static inline float2 __half22float2(__half2 both)
{
    return {__half2float(both.x), __half2float(both.y)};
}

#endif
