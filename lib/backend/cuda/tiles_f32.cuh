/*
 * Tiles of float32 matrices in shared memory and their products in plain arithmetic, for attention
 * with heads of 64. A block has SIDE * SIDE threads, each with OWN rows by OWN columns of a
 * product.
 */
#ifndef AAC_BACKEND_CUDA_TILES_F32_CUH
#define AAC_BACKEND_CUDA_TILES_F32_CUH

#include "backend/cuda/kernels.cuh"

#define HEAD 64
#define TILE 64 /* queries, and keys */
#define SIDE 16 /* threads along each */
#define OWN  (TILE / SIDE)

/* (HEAD, TILE): rows of x from `first` on, transposed; those from `end` on become zeros. */
static __device__ void fetch_transposed(float *tile, const float *x, int64_t stride, int first,
                                        int end)
{
    for (int i = threadIdx.x; i < TILE * HEAD / 4; i += SIDE * SIDE) {
        int row = i % TILE, part = i / TILE * 4;
        float4 values = make_float4(0, 0, 0, 0);
        if (first + row < end)
            values = *(const float4 *)(x + (int64_t)(first + row) * stride + part);
        tile[part * TILE + row] = values.x;
        tile[(part + 1) * TILE + row] = values.y;
        tile[(part + 2) * TILE + row] = values.z;
        tile[(part + 3) * TILE + row] = values.w;
    }
}

/* (TILE, HEAD) */
static __device__ void fetch_rows(float *tile, const float *x, int64_t stride, int first, int end)
{
    for (int i = threadIdx.x; i < TILE * HEAD / 4; i += SIDE * SIDE) {
        int row = i / (HEAD / 4), part = i % (HEAD / 4) * 4;
        float4 values = make_float4(0, 0, 0, 0);
        if (first + row < end)
            values = *(const float4 *)(x + (int64_t)(first + row) * stride + part);
        *(float4 *)(tile + row * HEAD + part) = values;
    }
}

/* sums[i][j] += a[k][own i] * b[k][own j] over all k */
static __device__ __forceinline__ void add_products(float sums[OWN][OWN], const float *a,
                                                    const float *b)
{
#pragma unroll 8
    for (int k = 0; k < TILE; k++) {
        const float4 left = *(const float4 *)(a + k * TILE);
        const float4 right = *(const float4 *)(b + k * TILE);
        const float l[OWN] = {left.x, left.y, left.z, left.w};
        const float r[OWN] = {right.x, right.y, right.z, right.w};
#pragma unroll
        for (int i = 0; i < OWN; i++)
#pragma unroll
            for (int j = 0; j < OWN; j++)
                sums[i][j] += l[i] * r[j];
    }
}

/* Scales the scores of queries from `row` on and keys from `key` on, and masks those not seen. */
static __device__ __forceinline__ void scale_and_hide(float scores[OWN][OWN], float scale, int key,
                                                      int end, int row, bool causal)
{
#pragma unroll
    for (int i = 0; i < OWN; i++)
#pragma unroll
        for (int j = 0; j < OWN; j++) {
            bool seen = key + j < end && !(causal && key + j > row + i);
            scores[i][j] = seen ? scores[i][j] * scale : -INFINITY;
        }
}

/* Reductions over the SIDE threads that share rows. */
static __device__ __forceinline__ float side_max(float value)
{
    for (int apart = SIDE / 2; apart; apart /= 2)
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, apart));
    return value;
}

static __device__ __forceinline__ float side_sum(float value)
{
    for (int apart = SIDE / 2; apart; apart /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, apart);
    return value;
}

/* The maximum of a row's scores and of `before`, over the threads that share it. */
static __device__ __forceinline__ float highest_of(const float scores[OWN], float before)
{
#pragma unroll
    for (int j = 0; j < OWN; j++)
        before = fmaxf(before, scores[j]);
    return side_max(before);
}

#endif
