/* What the kernels share: loads and stores of both types, sums over a warp and a block. */
#ifndef AAC_BACKEND_CUDA_KERNELS_CUH
#define AAC_BACKEND_CUDA_KERNELS_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "backend/cuda/cuda.h"

typedef __nv_bfloat16 bf16;

#define WARP 32
#define ROW_THREADS 256 /* of a block that has one row */
#define ALL_LANES 0xffffffffu

static __device__ __forceinline__ float load(const float *p)
{
    return *p;
}

static __device__ __forceinline__ float load(const bf16 *p)
{
    return __bfloat162float(*p);
}

static __device__ __forceinline__ void store(float *p, float value)
{
    *p = value;
}

static __device__ __forceinline__ void store(bf16 *p, float value)
{
    *p = __float2bfloat16_rn(value);
}

template <typename T> static __device__ __forceinline__ T warp_sum(T value)
{
    for (int apart = WARP / 2; apart; apart /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, apart);
    return value;
}

static __device__ __forceinline__ float warp_max(float value)
{
    for (int apart = WARP / 2; apart; apart /= 2)
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, apart));
    return value;
}

/* The sum over a block, the same in every thread and in every run; all threads take part. */
template <typename T> static __device__ T block_sum(T value)
{
    __shared__ T sums[WARP];
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        sums[threadIdx.x / WARP] = value;
    __syncthreads();
    T total = 0;
    for (unsigned i = 0; i < blockDim.x / WARP; i++)
        total += sums[i];
    return total;
}

static __device__ __forceinline__ float activation(float x, aac_activation kind, float slope)
{
    switch (kind) {
    case AAC_ACTIVATION_QUICK_GELU:
        return __fdividef(x, 1.0f + __expf(-1.702f * x));
    case AAC_ACTIVATION_GELU:
        return 0.5f * x * erfcf(-x * 0.70710678118654752f);
    case AAC_ACTIVATION_LEAKY_RELU:
        return x < 0 ? slope * x : x;
    default:
        return x;
    }
}

static inline unsigned blocks_for(int64_t count, int64_t each)
{
    return (unsigned)((count + each - 1) / each);
}

/* Enough for loads of 16 bytes. */
static inline bool is_aligned(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

#define STREAM cudaStreamPerThread

#endif
