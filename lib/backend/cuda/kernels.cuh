/* What the kernels share: loads and stores of all types, sums over a warp and a block. */
#ifndef AAC_BACKEND_CUDA_KERNELS_CUH
#define AAC_BACKEND_CUDA_KERNELS_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <type_traits>

#include "backend/cuda/cuda.h"

typedef __nv_bfloat16 bf16;
typedef __half f16;

#define WARP        32
#define ROW_THREADS 256 /* of a block with one row */
#define FEW_THREADS 64  /* of a block with one row per warp, in many registers */
#define ALL_LANES   0xffffffffu

static __device__ __forceinline__ float load(const float *p)
{
    return *p;
}

static __device__ __forceinline__ float load(const bf16 *p)
{
    return __bfloat162float(*p);
}

static __device__ __forceinline__ float load(const f16 *p)
{
    return __half2float(*p);
}

static __device__ __forceinline__ void store(float *p, float value)
{
    *p = value;
}

static __device__ __forceinline__ void store(bf16 *p, float value)
{
    *p = __float2bfloat16_rn(value);
}

static __device__ __forceinline__ void store(f16 *p, float value)
{
    *p = __float2half_rn(value);
}

/* Two values side by side, rounded. */
template <typename T> __device__ __forceinline__ unsigned pack(float low, float high);

template <> __device__ __forceinline__ unsigned pack<bf16>(float low, float high)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *(unsigned *)&both;
}

template <> __device__ __forceinline__ unsigned pack<f16>(float low, float high)
{
    __half2 both = __floats2half2_rn(low, high);
    return *(unsigned *)&both;
}

#define EACH 8 /* values per thread; 16 bytes of the narrow types */

static __device__ __forceinline__ void load_each(float values[EACH], const float *x)
{
    const float4 first = *(const float4 *)x, second = *(const float4 *)(x + 4);
    values[0] = first.x, values[1] = first.y, values[2] = first.z, values[3] = first.w;
    values[4] = second.x, values[5] = second.y, values[6] = second.z, values[7] = second.w;
}

static __device__ __forceinline__ void load_each(float values[EACH], const bf16 *x)
{
    const uint4 all = *(const uint4 *)x;
    const unsigned pairs[] = {all.x, all.y, all.z, all.w};
#pragma unroll
    for (int i = 0; i < EACH; i++)
        values[i] = __uint_as_float(i % 2 ? pairs[i / 2] & 0xffff0000u : pairs[i / 2] << 16);
}

static __device__ __forceinline__ void load_each(float values[EACH], const f16 *x)
{
    const uint4 all = *(const uint4 *)x;
    const unsigned pairs[] = {all.x, all.y, all.z, all.w};
#pragma unroll
    for (int i = 0; i < EACH / 2; i++) {
        const float2 both = __half22float2(*(const __half2 *)&pairs[i]);
        values[2 * i] = both.x, values[2 * i + 1] = both.y;
    }
}

static __device__ __forceinline__ void store_each(float *y, const float values[EACH])
{
    *(float4 *)y = make_float4(values[0], values[1], values[2], values[3]);
    *(float4 *)(y + 4) = make_float4(values[4], values[5], values[6], values[7]);
}

template <typename T>
static __device__ __forceinline__ void store_each(T *y, const float values[EACH])
{
    *(uint4 *)y = make_uint4(pack<T>(values[0], values[1]), pack<T>(values[2], values[3]),
                             pack<T>(values[4], values[5]), pack<T>(values[6], values[7]));
}

static __device__ __forceinline__ void store_four(float *y, float a, float b, float c, float d)
{
    *(float4 *)y = make_float4(a, b, c, d);
}

template <typename T>
static __device__ __forceinline__ void store_four(T *y, float a, float b, float c, float d)
{
    *(uint2 *)y = make_uint2(pack<T>(a, b), pack<T>(c, d));
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

#define LANE_VALUES 32 /* of a row, per lane, in registers */

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

/* For 16-byte loads. */
static inline bool is_aligned(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

#define STREAM aac_cuda_stream()

/* Returns launch(value), the value being of the C++ type for `type`. */
template <typename F> static int with_type(aac_dtype type, F launch)
{
    return type == AAC_F16 ? launch(f16()) : type == AAC_BF16 ? launch(bf16()) : launch(float());
}

#endif
