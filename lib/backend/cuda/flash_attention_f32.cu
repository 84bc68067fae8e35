/*
 * Attention of float32 heads of 64 in float32 arithmetic. A block has 64 queries and visits the
 * keys 64 at a time, as in flash_attention.cu; each of its threads has 4 queries by 4 keys of the
 * scores, then 4 queries by 4 values of the result.
 */
#include "backend/cuda/heads.cuh"
#include "backend/cuda/tiles_f32.cuh"

#define SHARED (3 * TILE * HEAD * sizeof(float))

static __global__ void __launch_bounds__(SIDE *SIDE)
    attend(const float *x, float *y, const int32_t *offsets, head_shape shape)
{
    extern __shared__ float4 shared[];
    float *queries = (float *)shared;    // (HEAD, TILE)
    float *keys = queries + TILE * HEAD; // (HEAD, TILE), then the weights (keys, queries)
    float *values = keys + TILE * HEAD;  // (TILE, HEAD)
    int first = offsets[blockIdx.z], end = offsets[blockIdx.z + 1];
    int begin = first + blockIdx.x * TILE;
    if (begin >= end)
        return;
    int query = threadIdx.x / SIDE * OWN, key = threadIdx.x % SIDE * OWN;
    int keys_end = shape.causal ? min(end, begin + TILE) : end;
    float scale = shape.scale * LOG2_E, sums[OWN][OWN] = {}, largest[OWN], total[OWN];
    x += blockIdx.y * HEAD;
    for (int i = 0; i < OWN; i++)
        largest[i] = -INFINITY, total[i] = 0;
    fetch_transposed(queries, x, shape.stride, begin, end);
    for (int tile = first; tile < keys_end; tile += TILE) {
        float scores[OWN][OWN] = {};
        __syncthreads(); /* the tiles are free */
        fetch_transposed(keys, x + shape.k, shape.stride, tile, end);
        fetch_rows(values, x + shape.v, shape.stride, tile, end);
        __syncthreads();
        add_products(scores, queries + query, keys + key);
        scale_and_hide(scores, scale, tile + key, end, begin + query, shape.causal);
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            float highest = highest_of(scores[i], largest[i]), sum = 0;
            float kept = exp2f(largest[i] - highest);
            largest[i] = highest;
#pragma unroll
            for (int j = 0; j < OWN; j++) {
                scores[i][j] = exp2f(scores[i][j] - highest);
                sum += scores[i][j];
                sums[i][j] *= kept;
            }
            total[i] = total[i] * kept + sum;
        }
        __syncthreads(); /* all have read the keys */
#pragma unroll
        for (int j = 0; j < OWN; j++)
            *(float4 *)(keys + (key + j) * TILE + query) =
                make_float4(scores[0][j], scores[1][j], scores[2][j], scores[3][j]);
        __syncthreads();
        add_products(sums, keys + query, values + key);
    }
    y += (int64_t)blockIdx.y * HEAD + key;
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        float share = 1 / side_sum(total[i]);
        if (begin + query + i < end)
            *(float4 *)(y + (int64_t)(begin + query + i) * shape.heads * HEAD) = make_float4(
                sums[i][0] * share, sums[i][1] * share, sums[i][2] * share, sums[i][3] * share);
    }
}

int aac_cuda_flash_attention_f32(const aac_op_desc *desc, const aac_op_args *args)
{
    dim3 grid(blocks_for(desc->attention.longest, TILE), (unsigned)desc->attention.heads,
              (unsigned)args->sequences);
    attend<<<grid, SIDE * SIDE, SHARED, STREAM>>>((const float *)args->x, (float *)args->y,
                                                  args->offsets, shape_of(desc));
    return cudaGetLastError();
}
