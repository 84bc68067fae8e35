/* Online softmax of a warp's scores, tile after tile, and what its gradient needs of each row. */
#ifndef AAC_BACKEND_CUDA_SOFTMAX_CUH
#define AAC_BACKEND_CUDA_SOFTMAX_CUH

#include "backend/cuda/tiles.cuh"

/* A lane's two rows: the largest score so far, and the sum of the weights in the lane's own
 * columns. */
typedef struct softmax_state {
    float largest[2], sum[2];
} softmax_state;

/* Masks what a row does not see: keys from `end` on and, if causal, after the row itself. */
static __device__ __forceinline__ void hide(float scores[COLUMNS][4], int key, int end, int row,
                                            bool causal)
{
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int column = 0; column < COLUMNS; column++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int at = key + 8 * column + 2 * (lane % 4) + i % 2;
            if (at >= end || (causal && at > row + lane / 4 + i / 2 * 8))
                scores[column][i] = -INFINITY;
        }
}

/* The maximum and the sum over a row's four lanes. */
static __device__ __forceinline__ float row_max(float value)
{
    value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 1));
    return fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 2));
}

static __device__ __forceinline__ float row_sum(float value)
{
    value += __shfl_xor_sync(ALL_LANES, value, 1);
    return value + __shfl_xor_sync(ALL_LANES, value, 2);
}

/* Turns scores into weights; earlier sums must be multiplied by `kept`. scale: to base 2. */
static __device__ __forceinline__ void weigh(float scores[COLUMNS][4], softmax_state *state,
                                             float kept[2], float scale)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float largest = state->largest[half], sum = 0;
#pragma unroll
        for (int column = 0; column < COLUMNS; column++)
            largest = fmaxf(largest, fmaxf(scores[column][2 * half], scores[column][2 * half + 1]));
        largest = row_max(largest);
        kept[half] = power_of_two((state->largest[half] - largest) * scale);
        state->largest[half] = largest;
        float shift = largest * scale;
#pragma unroll
        for (int column = 0; column < COLUMNS; column++)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                scores[column][i] = power_of_two(scores[column][i] * scale - shift);
                sum += scores[column][i];
            }
        state->sum[half] = state->sum[half] * kept[half] + sum;
    }
}

/* dy . out of a lane's two rows, among the 16 from `row` on. */
static __device__ __forceinline__ void find_along(float along[2], const bf16 *dy, const bf16 *out,
                                                  int64_t stride, int row, int end)
{
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int at = row + lane / 4 + 8 * half;
        float sum = 0;
        if (at < end)
#pragma unroll
            for (int piece = lane % 4; piece < PIECES; piece += 4) {
                float a[EACH], b[EACH];
                load_each(a, dy + at * stride + piece * EACH);
                load_each(b, out + at * stride + piece * EACH);
#pragma unroll
                for (int i = 0; i < EACH; i++)
                    sum += a[i] * b[i];
            }
        along[half] = row_sum(sum);
    }
}

#endif
