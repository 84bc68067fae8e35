/*
 * The gradient of attention of float32 heads of 64 in float32 arithmetic, in two kernels as in
 * flash_attention_backward.cu: blocks of 64 queries make dq, blocks of 64 keys dk and dv.
 */
#include "backend/cuda/heads.cuh"
#include "backend/cuda/tiles_f32.cuh"

#define FLOATS       (TILE * HEAD) /* of a tile */
#define QUERY_SHARED (5 * FLOATS * sizeof(float))
#define KEY_SHARED   (6 * FLOATS * sizeof(float))

/* Stores each thread's a (OWN, OWN), rows from `row` and columns from `column` on, to a tile,
 * transposed. */
static __device__ __forceinline__ void write_transposed(float *tile, const float a[OWN][OWN],
                                                        int row, int column)
{
#pragma unroll
    for (int j = 0; j < OWN; j++)
        *(float4 *)(tile + (column + j) * TILE + row) =
            make_float4(a[0][j], a[1][j], a[2][j], a[3][j]);
}

/* Rows of y before `end` from each thread's sums. */
static __device__ __forceinline__ void write_rows(float *y, int64_t stride, int row, int end,
                                                  const float sums[OWN][OWN], float scale)
{
#pragma unroll
    for (int i = 0; i < OWN; i++)
        if (row + i < end)
            *(float4 *)(y + (int64_t)(row + i) * stride) = make_float4(
                sums[i][0] * scale, sums[i][1] * scale, sums[i][2] * scale, sums[i][3] * scale);
}

/* Updates the running maximum and sum of the softmax of OWN queries, to base 2. */
static __device__ __forceinline__ void add_scores(const float scores[OWN][OWN], float largest[OWN],
                                                  float total[OWN])
{
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        float highest = highest_of(scores[i], largest[i]), sum = 0;
#pragma unroll
        for (int j = 0; j < OWN; j++)
            sum += exp2f(scores[i][j] - highest);
        total[i] = total[i] * exp2f(largest[i] - highest) + sum;
        largest[i] = highest;
    }
}

/* dq, and the state that the keys need. */
static __global__ void __launch_bounds__(SIDE *SIDE)
    query_gradient(const float *x, const float *out, const float *dy, float *y,
                   const int32_t *offsets, head_shape shape, row_state *states)
{
    extern __shared__ float4 shared[];
    float *queries = (float *)shared;    // (HEAD, TILE)
    float *gradients = queries + FLOATS; // (HEAD, TILE)
    float *keys = gradients + FLOATS;    // (HEAD, TILE), then the slopes (keys, queries)
    float *values = keys + FLOATS;       // (HEAD, TILE)
    float *key_rows = values + FLOATS;   // (TILE, HEAD)
    int first = offsets[blockIdx.z], end = offsets[blockIdx.z + 1];
    int begin = first + blockIdx.x * TILE;
    if (begin >= end)
        return;
    int query = threadIdx.x / SIDE * OWN, key = threadIdx.x % SIDE * OWN, row = begin + query;
    int keys_end = shape.causal ? min(end, begin + TILE) : end;
    int64_t width = (int64_t)shape.heads * HEAD;
    float scale = shape.scale * LOG2_E, sums[OWN][OWN] = {};
    float largest[OWN], total[OWN], along[OWN], log_sum[OWN];
    x += blockIdx.y * HEAD, dy += blockIdx.y * HEAD, out += blockIdx.y * HEAD;
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        float sum = 0;
        if (row + i < end) {
            const float4 a = *(const float4 *)(dy + (int64_t)(row + i) * width + key);
            const float4 b = *(const float4 *)(out + (int64_t)(row + i) * width + key);
            sum = a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
        }
        along[i] = side_sum(sum);
        largest[i] = -INFINITY, total[i] = 0;
    }
    fetch_transposed(queries, x, shape.stride, begin, end);
    fetch_transposed(gradients, dy, width, begin, end);
    for (int tile = first; tile < keys_end; tile += TILE) {
        float scores[OWN][OWN] = {};
        __syncthreads(); /* the tile is free */
        fetch_transposed(keys, x + shape.k, shape.stride, tile, end);
        __syncthreads();
        add_products(scores, queries + query, keys + key);
        scale_and_hide(scores, scale, tile + key, end, row, shape.causal);
        add_scores(scores, largest, total);
    }
#pragma unroll
    for (int i = 0; i < OWN; i++)
        log_sum[i] = largest[i] + log2f(side_sum(total[i]));
    for (int tile = first; tile < keys_end; tile += TILE) {
        float scores[OWN][OWN] = {}, slopes[OWN][OWN] = {};
        __syncthreads(); /* the tiles are free */
        fetch_transposed(keys, x + shape.k, shape.stride, tile, end);
        fetch_transposed(values, x + shape.v, shape.stride, tile, end);
        fetch_rows(key_rows, x + shape.k, shape.stride, tile, end);
        __syncthreads();
        add_products(scores, queries + query, keys + key);
        add_products(slopes, gradients + query, values + key);
        scale_and_hide(scores, scale, tile + key, end, row, shape.causal);
#pragma unroll
        for (int i = 0; i < OWN; i++)
#pragma unroll
            for (int j = 0; j < OWN; j++)
                slopes[i][j] = exp2f(scores[i][j] - log_sum[i]) * (slopes[i][j] - along[i]);
        __syncthreads(); /* all have read the keys */
        write_transposed(keys, slopes, query, key);
        __syncthreads();
        add_products(sums, keys + query, key_rows + key);
    }
    write_rows(y + blockIdx.y * HEAD + key, shape.stride, row, end, sums, shape.scale);
    if (key == 0)
        for (int i = 0; i < OWN && row + i < end; i++)
            states[blockIdx.y * shape.rows + row + i] = {log_sum[i], along[i]};
}

static __global__ void __launch_bounds__(SIDE *SIDE)
    key_gradient(const float *x, const float *dy, float *y, const int32_t *offsets,
                 head_shape shape, const row_state *states)
{
    extern __shared__ float4 shared[];
    float *keys = (float *)shared;              // (HEAD, TILE)
    float *values = keys + FLOATS;              // (HEAD, TILE)
    float *queries = values + FLOATS;           // (HEAD, TILE), then the weights (queries, keys)
    float *gradients = queries + FLOATS;        // (HEAD, TILE), then the slopes (queries, keys)
    float *query_rows = gradients + FLOATS;     // (TILE, HEAD)
    float *gradient_rows = query_rows + FLOATS; // (TILE, HEAD)
    int first = offsets[blockIdx.z], end = offsets[blockIdx.z + 1];
    int begin = first + blockIdx.x * TILE;
    if (begin >= end)
        return;
    int key = threadIdx.x / SIDE * OWN, query = threadIdx.x % SIDE * OWN, row = begin + key;
    int64_t width = (int64_t)shape.heads * HEAD;
    float scale = shape.scale * LOG2_E, dk[OWN][OWN] = {}, dv[OWN][OWN] = {};
    const row_state *own = states + blockIdx.y * shape.rows;
    x += blockIdx.y * HEAD, dy += blockIdx.y * HEAD;
    fetch_transposed(keys, x + shape.k, shape.stride, begin, end);
    fetch_transposed(values, x + shape.v, shape.stride, begin, end);
    for (int tile = shape.causal ? begin : first; tile < end; tile += TILE) {
        float weights[OWN][OWN] = {}, slopes[OWN][OWN] = {};
        __syncthreads(); /* the tiles are free */
        fetch_transposed(queries, x, shape.stride, tile, end);
        fetch_transposed(gradients, dy, width, tile, end);
        fetch_rows(query_rows, x, shape.stride, tile, end);
        fetch_rows(gradient_rows, dy, width, tile, end);
        __syncthreads();
        add_products(weights, keys + key, queries + query);
        add_products(slopes, values + key, gradients + query);
#pragma unroll
        for (int j = 0; j < OWN; j++) {
            int at = tile + query + j;
            const row_state state = own[min(at, end - 1)];
#pragma unroll
            for (int i = 0; i < OWN; i++) {
                bool seen = at < end && !(shape.causal && row + i > at);
                weights[i][j] = seen ? exp2f(weights[i][j] * scale - state.log_sum) : 0.0f;
                slopes[i][j] = weights[i][j] * (slopes[i][j] - state.along);
            }
        }
        __syncthreads(); /* all have read the queries and gradients */
        write_transposed(queries, weights, key, query);
        write_transposed(gradients, slopes, key, query);
        __syncthreads();
        add_products(dv, queries + key, gradient_rows + query);
        add_products(dk, gradients + key, query_rows + query);
    }
    y += blockIdx.y * HEAD + query;
    write_rows(y + shape.k, shape.stride, row, end, dk, shape.scale);
    write_rows(y + shape.v, shape.stride, row, end, dv, 1);
}

/* Allows more dynamic shared memory than the default. */
static int allow(const void *kernel, size_t bytes)
{
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

int aac_cuda_flash_attention_f32_backward(const aac_op_desc *desc, const aac_op_args *args,
                                          row_state *states)
{
    dim3 grid(blocks_for(desc->attention.longest, TILE), (unsigned)desc->attention.heads,
              (unsigned)args->sequences);
    const float *x = (const float *)args->x, *dy = (const float *)args->dy;
    int error = allow((const void *)query_gradient, QUERY_SHARED);
    if (!error)
        error = allow((const void *)key_gradient, KEY_SHARED);
    if (error)
        return error;
    query_gradient<<<grid, SIDE * SIDE, QUERY_SHARED, STREAM>>>(
        x, (const float *)args->out, dy, (float *)args->y, args->offsets, shape_of(desc), states);
    key_gradient<<<grid, SIDE * SIDE, KEY_SHARED, STREAM>>>(x, dy, (float *)args->y, args->offsets,
                                                            shape_of(desc), states);
    return cudaGetLastError();
}
