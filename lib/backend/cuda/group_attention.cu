/*
 * Attention of bfloat16 and float16 heads of 64 over whole sequences, as in flash_attention.cu,
 * with Hopper's warp groups: a block is one group and has 64 query rows. (Two groups that share the
 * tiles of keys and values were slower, for one image and for many: each waits for the other.)
 */
#include "backend/cuda/group.cuh"
#include "backend/cuda/heads.cuh"

/* Turns scores into weights, as the left operand of a product; `sums` are rescaled to match.
 * Weights are relative to an earlier maximum until a later weight would exceed 2^8, far from
 * overflow: so sums are seldom rescaled, and in the end they are divided by the sum of the same
 * weights. */
template <typename T>
static __device__ __forceinline__ void weigh_group(unsigned weights[STEPS][4],
                                                   float scores[COLUMNS][4], float sums[COLUMNS][4],
                                                   softmax_state *state, float scale)
{
    const float behind = 8; /* in powers of two */
    float kept[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float largest = state->largest[half];
#pragma unroll
        for (int column = 0; column < COLUMNS; column++)
            largest = fmaxf(largest, fmaxf(scores[column][2 * half], scores[column][2 * half + 1]));
        largest = row_max(largest);
        bool stays = (largest - state->largest[half]) * scale <= behind;
        kept[half] = stays ? 1 : power_of_two((state->largest[half] - largest) * scale);
        largest = stays ? state->largest[half] : largest;
        state->largest[half] = largest;
        float shift = largest * scale, sum = 0;
#pragma unroll
        for (int column = 0; column < COLUMNS; column++)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                scores[column][i] = power_of_two(scores[column][i] * scale - shift);
                sum += scores[column][i];
            }
        state->sum[half] = state->sum[half] * kept[half] + sum;
    }
    if (__any_sync(ALL_LANES, kept[0] != 1 || kept[1] != 1))
#pragma unroll
        for (int column = 0; column < COLUMNS; column++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                sums[column][i] *= kept[i / 2];
#pragma unroll
    for (int step = 0; step < STEPS; step++)
        as_left_operand<T>(weights[step], scores[2 * step], scores[2 * step + 1]);
}

template <typename T>
static __global__ void __launch_bounds__(GROUP_THREADS, 5)
    attend(const T *x, T *y, float *log_sums, const int32_t *offsets, head_shape shape)
{
    __shared__ __align__(ATOM_BYTES) T queries[GROUP_ROWS * AAC_TILE];
    __shared__ __align__(ATOM_BYTES) T keys[2][AAC_TILE * AAC_TILE];
    __shared__ __align__(ATOM_BYTES) T values[2][AAC_TILE * AAC_TILE];
    int first = offsets[blockIdx.z], end = offsets[blockIdx.z + 1];
    int begin = first + blockIdx.x * GROUP_ROWS;
    if (begin >= end)
        return;
    float scale = shape.scale * LOG2_E;
    const fetcher<T> by = fetcher_of(x + blockIdx.y * AAC_TILE, shape.stride);
    const fetcher<T> by_key = {by.from + shape.k, by.stride, by.to, by.row};
    const fetcher<T> by_value = {by.from + shape.v, by.stride, by.to, by.row};
    const unsigned key_tile = shared_address(keys), value_tile = shared_address(values);
    const uint64_t query = describe(shared_address(queries));
    fetch<GROUP_ROWS>(shared_address(queries), by, begin, end);
    fetch<AAC_TILE>(key_tile, by_key, first, end);
    fetch<AAC_TILE>(value_tile, by_value, first, end);
    float sums[COLUMNS][4] = {}, scores[COLUMNS][4];
    unsigned weights[STEPS][4];
    softmax_state state = {{-INFINITY, -INFINITY}, {0, 0}};
    unsigned stage = 0; /* bytes to the tile in use */
    for (int key = first; key < end; key += AAC_TILE, stage ^= TILE_BYTES) {
        wait_for_copies(); /* all warps are done with the other stage, too */
        if (key + AAC_TILE < end) {
            unsigned next = stage ^ TILE_BYTES;
            fetch<AAC_TILE>(key_tile + next, by_key, key + AAC_TILE, end);
            fetch<AAC_TILE>(value_tile + next, by_value, key + AAC_TILE, end);
        }
        begin_products();
        multiply_tiles<T>(scores, query, describe(key_tile + stage));
        end_products();
        hold(scores);
        if (key + AAC_TILE > end)
            hide(scores, key, end, 0, false);
        weigh_group<T>(weights, scores, sums, &state, scale);
        hold(weights);
        hold(sums);
        begin_products();
        add_tile<T>(sums, weights, describe(value_tile + stage));
        end_products();
        hold(sums);
    }
    __syncthreads(); /* the queries' memory is free */
    int own = threadIdx.x / WARP * 16, lane = threadIdx.x % WARP, row = begin + own + lane / 4;
    float total[2] = {row_sum(state.sum[0]), row_sum(state.sum[1])};
    write_sums(y + blockIdx.y * AAC_TILE, shape.heads * AAC_TILE, begin + own, end, sums,
               1 / total[0], 1 / total[1], queries, own);
    if (log_sums && lane % 4 == 0)
        for (int half = 0; half < 2; half++)
            if (row + 8 * half < end)
                log_sums[blockIdx.y * shape.rows + row + 8 * half] =
                    state.largest[half] * scale + log2f(total[half]);
}

template <typename T> static int launch(const aac_op_desc *desc, const aac_op_args *args)
{
    dim3 grid(blocks_for(desc->attention.longest, GROUP_ROWS), (unsigned)desc->attention.heads,
              (unsigned)args->sequences);
    attend<T><<<grid, GROUP_THREADS, 0, STREAM>>>((const T *)args->x, (T *)args->y, args->sums,
                                                  args->offsets, shape_of(desc));
    return cudaGetLastError();
}

int aac_cuda_group_attention(const aac_op_desc *desc, const aac_op_args *args)
{
    return desc->attention.type == AAC_F16 ? launch<f16>(desc, args) : launch<bf16>(desc, args);
}
