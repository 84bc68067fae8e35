/*
 * The gradient of attention of bfloat16 heads of 64 over whole sequences, as in
 * flash_attention_backward.cu, with Hopper's warp groups: a block is one group and has 64 query
 * rows (makes dq) or 64 key rows (makes dk and dv). The log-sum-exp of each query comes from the
 * forward run.
 */
#include "backend/cuda/group.cuh"
#include "backend/cuda/heads.cuh"

static __global__ void __launch_bounds__(GROUP_THREADS, 4)
    query_gradient(const bf16 *x, const bf16 *out, const bf16 *dy, bf16 *y, const float *log_sums,
                   const int32_t *offsets, head_shape shape, row_state *states)
{
    __shared__ __align__(ATOM_BYTES) bf16 queries[AAC_TILE * AAC_TILE];
    __shared__ __align__(ATOM_BYTES) bf16 gradients[AAC_TILE * AAC_TILE];
    __shared__ __align__(ATOM_BYTES) bf16 keys[2][AAC_TILE * AAC_TILE];
    __shared__ __align__(ATOM_BYTES) bf16 values[2][AAC_TILE * AAC_TILE];
    int first = offsets[blockIdx.z], end = offsets[blockIdx.z + 1];
    int begin = first + blockIdx.x * GROUP_ROWS;
    if (begin >= end)
        return;
    int row = begin + threadIdx.x / WARP * 16, lane = threadIdx.x % WARP;
    int64_t width = shape.heads * AAC_TILE;
    float scale = shape.scale * LOG2_E, along[2], log_sum[2];
    x += blockIdx.y * AAC_TILE, dy += blockIdx.y * AAC_TILE, out += blockIdx.y * AAC_TILE;
    const fetcher<bf16> by_query = fetcher_of(x, shape.stride), by_gradient = fetcher_of(dy, width);
    const fetcher<bf16> by_key = {by_query.from + shape.k, shape.stride, by_query.to, by_query.row};
    const fetcher<bf16> by_value = {by_query.from + shape.v, shape.stride, by_query.to,
                                    by_query.row};
    const unsigned key_tile = shared_address(keys), value_tile = shared_address(values);
    const uint64_t query = describe(shared_address(queries));
    const uint64_t gradient = describe(shared_address(gradients));
    fetch<GROUP_ROWS>(shared_address(queries), by_query, begin, end);
    fetch<GROUP_ROWS>(shared_address(gradients), by_gradient, begin, end);
    fetch<AAC_TILE>(key_tile, by_key, first, end);
    fetch<AAC_TILE>(value_tile, by_value, first, end);
    find_along(along, dy, out, width, row, end);
    float scores[COLUMNS][4], slopes[COLUMNS][4], sums[COLUMNS][4] = {};
    unsigned stage = 0; /* bytes to the tile in use */
#pragma unroll
    for (int half = 0; half < 2; half++)
        log_sum[half] = log_sums[blockIdx.y * shape.rows + min(row + lane / 4 + 8 * half, end - 1)];
    for (int key = first; key < end; key += AAC_TILE, stage ^= TILE_BYTES) {
        wait_for_copies(); /* all warps are done with the other stage, too */
        if (key + AAC_TILE < end) {
            unsigned next = stage ^ TILE_BYTES;
            fetch<AAC_TILE>(key_tile + next, by_key, key + AAC_TILE, end);
            fetch<AAC_TILE>(value_tile + next, by_value, key + AAC_TILE, end);
        }
        begin_products();
        multiply_tiles<bf16>(scores, query, describe(key_tile + stage));
        multiply_tiles<bf16>(slopes, gradient, describe(value_tile + stage));
        end_products();
        hold(scores);
        hold(slopes);
        if (key + AAC_TILE > end)
            hide(scores, key, end, 0, false);
        unsigned weights[STEPS][4];
#pragma unroll
        for (int column = 0; column < COLUMNS; column++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                slopes[column][i] = power_of_two(scores[column][i] * scale - log_sum[i / 2]) *
                                    (slopes[column][i] - along[i / 2]);
#pragma unroll
        for (int step = 0; step < STEPS; step++)
            as_left_operand<bf16>(weights[step], slopes[2 * step], slopes[2 * step + 1]);
        hold(weights);
        hold(sums);
        begin_products();
        add_tile<bf16>(sums, weights, describe(key_tile + stage));
        end_products();
        hold(sums);
    }
    __syncthreads(); /* the queries' memory is free */
    write_sums(y + blockIdx.y * AAC_TILE, shape.stride, row, end, sums, shape.scale, shape.scale,
               queries, row - begin);
    row_state *to = states + blockIdx.y * shape.rows + row;
    for (int half = 0; half < 2; half++)
        if (lane % 4 == 0 && row + lane / 4 + 8 * half < end)
            to[lane / 4 + 8 * half] = {log_sum[half], along[half]};
}

#define STATES_BYTES (AAC_TILE * (int)sizeof(row_state)) /* of a tile of queries */
/* A tile of keys, one of values, two stages of queries, gradients and states; begins at a multiple
 * of ATOM_BYTES. */
#define KEY_GRADIENT_BYTES (ATOM_BYTES + 6 * TILE_BYTES + 2 * STATES_BYTES)

/* Begins to copy the states of AAC_TILE queries from `first` on, up to `end`. */
static __device__ __forceinline__ void fetch_states(unsigned to, const row_state *states, int first,
                                                    int end)
{
    int i = threadIdx.x;
    if (i < AAC_TILE)
        copy_8(to + i * (unsigned)sizeof *states, states + first + i, first + i < end ? 8 : 0);
}

static __global__ void __launch_bounds__(GROUP_THREADS, 3)
    key_gradient(const bf16 *x, const bf16 *dy, bf16 *y, const int32_t *offsets, head_shape shape,
                 const row_state *states)
{
    extern __shared__ char shared[];
    int first = offsets[blockIdx.z], end = offsets[blockIdx.z + 1];
    int begin = first + blockIdx.x * GROUP_ROWS, own = threadIdx.x / WARP * 16;
    if (begin >= end)
        return;
    int lane = threadIdx.x % WARP;
    int64_t width = shape.heads * AAC_TILE;
    float scale = shape.scale * LOG2_E;
    const row_state *own_states = states + blockIdx.y * shape.rows;
    x += blockIdx.y * AAC_TILE, dy += blockIdx.y * AAC_TILE, y += blockIdx.y * AAC_TILE;
    const fetcher<bf16> by_query = fetcher_of(x, shape.stride), by_gradient = fetcher_of(dy, width);
    const fetcher<bf16> by_key = {by_query.from + shape.k, shape.stride, by_query.to, by_query.row};
    const fetcher<bf16> by_value = {by_query.from + shape.v, shape.stride, by_query.to,
                                    by_query.row};
    bf16 *keys = (bf16 *)(shared + (-shared_address(shared) & (ATOM_BYTES - 1)));
    bf16 *values = keys + AAC_TILE * AAC_TILE;
    const unsigned query_tile = shared_address(values) + TILE_BYTES;
    const unsigned gradient_tile = query_tile + 2 * TILE_BYTES;
    const unsigned state_tile = gradient_tile + 2 * TILE_BYTES;
    const uint64_t key = describe(shared_address(keys));
    const uint64_t value = describe(shared_address(values));
    fetch<GROUP_ROWS>(shared_address(keys), by_key, begin, end);
    fetch<GROUP_ROWS>(shared_address(values), by_value, begin, end);
    fetch<AAC_TILE>(query_tile, by_query, first, end);
    fetch<AAC_TILE>(gradient_tile, by_gradient, first, end);
    fetch_states(state_tile, own_states, first, end);
    float scores[COLUMNS][4], slopes[COLUMNS][4];
    float dk[COLUMNS][4] = {}, dv[COLUMNS][4] = {};
    unsigned stage = 0; /* bytes to the tiles in use */
    for (int query = first; query < end; query += AAC_TILE, stage ^= TILE_BYTES) {
        unsigned state = state_tile + (stage ? STATES_BYTES : 0);
        wait_for_copies(); /* all warps are done with the other stage, too */
        if (query + AAC_TILE < end) {
            unsigned next = stage ^ TILE_BYTES;
            fetch<AAC_TILE>(query_tile + next, by_query, query + AAC_TILE, end);
            fetch<AAC_TILE>(gradient_tile + next, by_gradient, query + AAC_TILE, end);
            fetch_states(state_tile + (stage ? 0 : STATES_BYTES), own_states, query + AAC_TILE,
                         end);
        }
        begin_products();
        multiply_tiles<bf16>(scores, key, describe(query_tile + stage));
        multiply_tiles<bf16>(slopes, value, describe(gradient_tile + stage));
        end_products();
        hold(scores);
        hold(slopes);
        unsigned weights[STEPS][4], sloped[STEPS][4];
#pragma unroll
        for (int column = 0; column < COLUMNS; column++) {
            int at = 8 * column + 2 * (lane % 4);
            float states[4]; /* of two queries */
            load_four(states, state + at * (unsigned)sizeof(row_state));
#pragma unroll
            for (int i = 0; i < 4; i++) {
                /* beyond the end: 1, multiplied with rows of zeros */
                float weight = power_of_two(scores[column][i] * scale - states[2 * (i % 2)]);
                scores[column][i] = weight;
                slopes[column][i] = weight * (slopes[column][i] - states[2 * (i % 2) + 1]);
            }
        }
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            as_left_operand<bf16>(weights[step], scores[2 * step], scores[2 * step + 1]);
            as_left_operand<bf16>(sloped[step], slopes[2 * step], slopes[2 * step + 1]);
        }
        hold(weights);
        hold(sloped);
        hold(dv);
        hold(dk);
        begin_products();
        add_tile<bf16>(dv, weights, describe(gradient_tile + stage));
        add_tile<bf16>(dk, sloped, describe(query_tile + stage));
        end_products();
        hold(dv);
        hold(dk);
    }
    __syncthreads(); /* the keys' and values' memory is free */
    write_sums(y + shape.k, shape.stride, begin + own, end, dk, shape.scale, shape.scale, keys,
               own);
    write_sums(y + shape.v, shape.stride, begin + own, end, dv, 1, 1, values, own);
}

int aac_cuda_group_attention_backward(const aac_op_desc *desc, const aac_op_args *args,
                                      row_state *states)
{
    const bf16 *x = (const bf16 *)args->x, *dy = (const bf16 *)args->dy;
    dim3 grid(blocks_for(desc->attention.longest, GROUP_ROWS), (unsigned)desc->attention.heads,
              (unsigned)args->sequences);
    int error = cudaFuncSetAttribute(key_gradient, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     KEY_GRADIENT_BYTES);
    if (error)
        return error;
    query_gradient<<<grid, GROUP_THREADS, 0, STREAM>>>(x, (const bf16 *)args->out, dy,
                                                       (bf16 *)args->y, args->sums, args->offsets,
                                                       shape_of(desc), states);
    key_gradient<<<grid, GROUP_THREADS, KEY_GRADIENT_BYTES, STREAM>>>(
        x, dy, (bf16 *)args->y, args->offsets, shape_of(desc), states);
    return cudaGetLastError();
}
