/*
 * The gradient of attention of bfloat16 heads of 64, on the tensor cores. Probabilities are
 * recomputed from the log-sum-exp of each query. One kernel has blocks of queries and makes dq, the
 * other has blocks of keys and makes dk and dv, so that every sum has a fixed order.
 */
#include "backend/cuda/heads.cuh"
#include "backend/cuda/softmax.cuh"

#define QUERIES (TILE_WARPS * 16) /* of a block; the other kernel has as many keys */
#define PASSING 32                /* queries that a block of keys takes at a time */

static __global__ void __launch_bounds__(TILE_THREADS)
    query_gradient(const bf16 *x, const bf16 *out, const bf16 *dy, bf16 *y, const int32_t *offsets,
                   head_shape shape, row_state *states)
{
    __shared__ __align__(128) bf16 queries[QUERIES * AAC_TILE], gradients[QUERIES * AAC_TILE];
    __shared__ __align__(128) bf16 keys[2][AAC_TILE * AAC_TILE], values[2][AAC_TILE * AAC_TILE];
    int first = offsets[blockIdx.z], end = offsets[blockIdx.z + 1];
    int begin = first + blockIdx.x * QUERIES, own = threadIdx.x / WARP * 16, row = begin + own;
    if (begin >= end)
        return;
    int keys_end = shape.causal ? min(end, begin + QUERIES) : end, lane = threadIdx.x % WARP;
    int64_t width = shape.heads * AAC_TILE;
    float scale = shape.scale * LOG2_E, along[2] = {0, 0}, log_sum[2];
    x += blockIdx.y * AAC_TILE, dy += blockIdx.y * AAC_TILE, out += blockIdx.y * AAC_TILE;
    const fetcher<bf16> by_query = fetcher_of(x, shape.stride), by_gradient = fetcher_of(dy, width);
    const fetcher<bf16> by_key = fetcher_of(x + shape.k, shape.stride);
    const fetcher<bf16> by_value = fetcher_of(x + shape.v, shape.stride);
    const lane_offsets offsets_in = find_offsets();
    const unsigned key_tile = shared_address(keys), value_tile = shared_address(values);
    fetch<QUERIES>(shared_address(queries), by_query, begin, end);
    fetch<QUERIES>(shared_address(gradients), by_gradient, begin, end);
    fetch<AAC_TILE>(key_tile, by_key, first, end);
    end_group();
    find_along(along, dy, out, width, row, end);
    unsigned query[1][STEPS][4], gradient[1][STEPS][4];
    float scores[1][COLUMNS][4], slopes[1][COLUMNS][4], sums[1][COLUMNS][4] = {};
    softmax_state state = {{-INFINITY, -INFINITY}, {0, 0}};
    unsigned stage = 0; /* bytes to the tile in use */
    for (int key = first; key < keys_end; key += AAC_TILE, stage ^= TILE_BYTES) {
        bool last = key + AAC_TILE >= keys_end; /* then the first again, for the next pass */
        fetch<AAC_TILE>(key_tile + (stage ^ TILE_BYTES), by_key, last ? first : key + AAC_TILE,
                        end);
        if (last)
            fetch<AAC_TILE>(value_tile + (stage ^ TILE_BYTES), by_value, first, end);
        end_group();
        wait_for_groups<1>();
        if (key == first) {
            load_left(query[0], shared_address(queries), own, offsets_in);
            load_left(gradient[0], shared_address(gradients), own, offsets_in);
        }
        multiply_rows<bf16, 1, COLUMNS>(scores, query, key_tile + stage, offsets_in);
        if (key + AAC_TILE > end || (shape.causal && key + AAC_TILE > row))
            hide(scores[0], key, end, row, shape.causal);
        float kept[2];
        weigh(scores[0], &state, kept, scale);
        __syncthreads(); /* the stage is free */
    }
#pragma unroll
    for (int half = 0; half < 2; half++)
        log_sum[half] = state.largest[half] * scale + log2f(row_sum(state.sum[half]));
    for (int key = first; key < keys_end; key += AAC_TILE, stage ^= TILE_BYTES) {
        if (key + AAC_TILE < keys_end) {
            fetch<AAC_TILE>(key_tile + (stage ^ TILE_BYTES), by_key, key + AAC_TILE, end);
            fetch<AAC_TILE>(value_tile + (stage ^ TILE_BYTES), by_value, key + AAC_TILE, end);
        }
        end_group();
        wait_for_groups<1>();
        multiply_rows<bf16, 1, COLUMNS>(scores, query, key_tile + stage, offsets_in);
        multiply_rows<bf16, 1, COLUMNS>(slopes, gradient, value_tile + stage, offsets_in);
        if (key + AAC_TILE > end || (shape.causal && key + AAC_TILE > row))
            hide(scores[0], key, end, row, shape.causal);
#pragma unroll
        for (int column = 0; column < COLUMNS; column++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                slopes[0][column][i] = power_of_two(scores[0][column][i] * scale - log_sum[i / 2]) *
                                       (slopes[0][column][i] - along[i / 2]);
        add_values<bf16, 1, COLUMNS>(sums, slopes, key_tile + stage, offsets_in);
        __syncthreads(); /* the stage is free */
    }
    write_sums(y + blockIdx.y * AAC_TILE, shape.stride, row, end, sums[0], shape.scale, shape.scale,
               queries, own);
    row_state *to = states + blockIdx.y * shape.rows + row;
    for (int half = 0; half < 2; half++)
        if (lane % 4 == 0 && row + lane / 4 + 8 * half < end)
            to[lane / 4 + 8 * half] = {log_sum[half], along[half]};
}

/* dk and dv: a warp has 16 keys and visits all queries that see them. */
static __global__ void __launch_bounds__(TILE_THREADS)
    key_gradient(const bf16 *x, const bf16 *dy, bf16 *y, const int32_t *offsets, head_shape shape,
                 row_state *states)
{
    __shared__ __align__(128) bf16 keys[QUERIES * AAC_TILE], values[QUERIES * AAC_TILE];
    __shared__ __align__(128) bf16 queries[2][PASSING * AAC_TILE], gradients[2][PASSING * AAC_TILE];
    int first = offsets[blockIdx.z], end = offsets[blockIdx.z + 1];
    int begin = first + blockIdx.x * QUERIES, own = threadIdx.x / WARP * 16, row = begin + own;
    if (begin >= end)
        return;
    int lane = threadIdx.x % WARP, queries_begin = shape.causal ? begin : first;
    unsigned stage = 0; /* bytes to the tiles in use */
    int64_t width = shape.heads * AAC_TILE;
    float scale = shape.scale * LOG2_E;
    const row_state *own_states = states + blockIdx.y * shape.rows;
    x += blockIdx.y * AAC_TILE, dy += blockIdx.y * AAC_TILE, y += blockIdx.y * AAC_TILE;
    const fetcher<bf16> by_query = fetcher_of(x, shape.stride), by_gradient = fetcher_of(dy, width);
    const fetcher<bf16> by_key = fetcher_of(x + shape.k, shape.stride);
    const fetcher<bf16> by_value = fetcher_of(x + shape.v, shape.stride);
    const lane_offsets offsets_in = find_offsets();
    const unsigned query_tile = shared_address(queries), gradient_tile = shared_address(gradients);
    fetch<QUERIES>(shared_address(keys), by_key, begin, end);
    fetch<QUERIES>(shared_address(values), by_value, begin, end);
    fetch<PASSING>(query_tile, by_query, queries_begin, end);
    fetch<PASSING>(gradient_tile, by_gradient, queries_begin, end);
    end_group();
    unsigned key[1][STEPS][4], value[1][STEPS][4];
    float weights[1][PASSING / 8][4], slopes[1][PASSING / 8][4];
    float dk[1][COLUMNS][4] = {}, dv[1][COLUMNS][4] = {};
    for (int query = queries_begin; query < end; query += PASSING, stage ^= PASSING * ROW_BYTES) {
        if (query + PASSING < end) {
            unsigned next = stage ^ (PASSING * ROW_BYTES);
            fetch<PASSING>(query_tile + next, by_query, query + PASSING, end);
            fetch<PASSING>(gradient_tile + next, by_gradient, query + PASSING, end);
        }
        end_group();
        wait_for_groups<1>();
        if (query == queries_begin) {
            load_left(key[0], shared_address(keys), own, offsets_in);
            load_left(value[0], shared_address(values), own, offsets_in);
        }
        multiply_rows<bf16, 1, PASSING / 8>(weights, key, query_tile + stage, offsets_in);
        multiply_rows<bf16, 1, PASSING / 8>(slopes, value, gradient_tile + stage, offsets_in);
#pragma unroll
        for (int column = 0; column < PASSING / 8; column++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int at = query + 8 * column + 2 * (lane % 4) + i % 2;
                bool seen = at < end && !(shape.causal && row + lane / 4 + i / 2 * 8 > at);
                row_state state = own_states[min(at, end - 1)];
                float weight =
                    seen ? power_of_two(weights[0][column][i] * scale - state.log_sum) : 0.0f;
                weights[0][column][i] = weight;
                slopes[0][column][i] = weight * (slopes[0][column][i] - state.along);
            }
        add_values<bf16, 1, PASSING / 8>(dv, weights, gradient_tile + stage, offsets_in);
        add_values<bf16, 1, PASSING / 8>(dk, slopes, query_tile + stage, offsets_in);
        __syncthreads(); /* the stage is free */
    }
    write_sums(y + shape.k, shape.stride, row, end, dk[0], shape.scale, shape.scale, keys, own);
    write_sums(y + shape.v, shape.stride, row, end, dv[0], 1, 1, values, own);
}

int aac_cuda_flash_attention_backward(const aac_op_desc *desc, const aac_op_args *args,
                                      row_state *states)
{
    int longest = (int)desc->attention.longest;
    dim3 grid(blocks_for(longest, QUERIES), (unsigned)desc->attention.heads,
              (unsigned)args->sequences);
    const bf16 *x = (const bf16 *)args->x, *dy = (const bf16 *)args->dy;
    query_gradient<<<grid, TILE_THREADS, 0, STREAM>>>(
        x, (const bf16 *)args->out, dy, (bf16 *)args->y, args->offsets, shape_of(desc), states);
    key_gradient<<<grid, TILE_THREADS, 0, STREAM>>>(x, dy, (bf16 *)args->y, args->offsets,
                                                    shape_of(desc), states);
    return cudaGetLastError();
}
