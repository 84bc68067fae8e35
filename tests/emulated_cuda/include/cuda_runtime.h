/* CUDA C++ in C++: the part that the kernels of lib/backend/cuda use. convert.py does the rest. */
#ifndef TEST_EMULATED_CUDA_RUNTIME_H
#define TEST_EMULATED_CUDA_RUNTIME_H

#include <math.h>
#include <stdint.h>

#include "cuda_runtime_api.h"
#include "emulated.h"

#define __expf expf /* instead of the C library's own */
#define __global__
#define __device__
#define __forceinline__  inline
#define __align__(bytes) alignas(bytes)
#define __launch_bounds__(...)

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}

static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

static inline int min(int a, int b)
{
    return a < b ? a : b;
}

static inline int max(int a, int b)
{
    return a > b ? a : b;
}

static inline int64_t min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline double min(double a, double b)
{
    return a < b ? a : b;
}

static inline float rsqrtf(float x)
{
    return 1 / sqrtf(x);
}

static inline float __fdividef(float a, float b)
{
    return a / b;
}

static inline float __uint_as_float(unsigned bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline size_t __cvta_generic_to_shared(const void *p)
{
    return emulated::address_of(p);
}

static inline void __syncthreads()
{
    emulated::meet_block();
}

static inline void __syncwarp()
{
    emulated::meet_warp("__syncwarp", nullptr, 0);
}

/* Masks are ignored: in these kernels all lanes always take part. */
template <typename T> static inline T __shfl_sync(unsigned, T value, int lane)
{
    emulated::meet_warp("__shfl_sync", &value, sizeof value);
    return emulated::of_lane<T>(lane % emulated::lanes);
}

template <typename T> static inline T __shfl_xor_sync(unsigned, T value, int apart)
{
    emulated::meet_warp("__shfl_xor_sync", &value, sizeof value);
    return emulated::of_lane<T>(emulated::own_lane ^ apart);
}

static inline unsigned __ballot_sync(unsigned, bool value)
{
    unsigned all = 0;
    emulated::meet_warp("__ballot_sync", &value, sizeof value);
    for (int lane = 0; lane < emulated::lanes; lane++)
        all |= (unsigned)emulated::of_lane<bool>(lane) << lane;
    return all;
}

static inline bool __any_sync(unsigned mask, bool value)
{
    return __ballot_sync(mask, value) != 0;
}

template <typename F> cudaError_t cudaFuncSetAttribute(F, cudaFuncAttribute, int bytes)
{
    return (size_t)bytes <= emulated::shared_bytes ? cudaSuccess : cudaErrorInvalidValue;
}

#endif
