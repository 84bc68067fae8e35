/*
 * Attention of bfloat16 and float16 heads of 64 on the tensor cores, as in FlashAttention-2 (Dao,
 * 2023): a block visits the keys a tile at a time with the running maximum and sum of each query's
 * softmax; the scores stay in registers. Probabilities are rounded to the operands' type before
 * they are multiplied with the values.
 */
#include "backend/cuda/heads.cuh"
#include "backend/cuda/softmax.cuh"

/* A warp has 16 query rows of each of PARTS parts of its block. */
template <typename T, int PARTS>
static __global__ void __launch_bounds__(TILE_THREADS)
    attend(const T *x, T *y, const int32_t *offsets, head_shape shape)
{
    constexpr int QUERIES = PARTS * TILE_WARPS * 16;
    __shared__ __align__(128) T queries[QUERIES * AAC_TILE];
    __shared__ __align__(128) T keys[2][AAC_TILE * AAC_TILE], values[2][AAC_TILE * AAC_TILE];
    int first = offsets[blockIdx.z], end = offsets[blockIdx.z + 1];
    int begin = first + blockIdx.x * QUERIES;
    if (begin >= end)
        return;
    int keys_end = shape.causal ? min(end, begin + QUERIES) : end;
    int own = threadIdx.x / WARP * PARTS * 16; /* the warp's first row in the tile */
    float scale = shape.scale * LOG2_E;
    const fetcher<T> by = fetcher_of(x + blockIdx.y * AAC_TILE, shape.stride);
    const fetcher<T> by_key = {by.from + shape.k, by.stride, by.to, by.row};
    const fetcher<T> by_value = {by.from + shape.v, by.stride, by.to, by.row};
    const lane_offsets offsets_in = find_offsets();
    const unsigned key_tile = shared_address(keys), value_tile = shared_address(values);
    fetch<QUERIES>(shared_address(queries), by, begin, end);
    fetch<AAC_TILE>(key_tile, by_key, first, end);
    fetch<AAC_TILE>(value_tile, by_value, first, end);
    end_group();
    unsigned query[PARTS][STEPS][4];
    float sums[PARTS][COLUMNS][4] = {};
    softmax_state state[PARTS];
#pragma unroll
    for (int part = 0; part < PARTS; part++)
        state[part] = {{-INFINITY, -INFINITY}, {0, 0}};
    unsigned stage = 0; /* bytes to the tile in use */
    for (int key = first; key < keys_end; key += AAC_TILE, stage ^= TILE_BYTES) {
        if (key + AAC_TILE < keys_end) {
            fetch<AAC_TILE>(key_tile + (stage ^ TILE_BYTES), by_key, key + AAC_TILE, end);
            fetch<AAC_TILE>(value_tile + (stage ^ TILE_BYTES), by_value, key + AAC_TILE, end);
        }
        end_group();
        wait_for_groups<1>();
        if (key == first)
#pragma unroll
            for (int part = 0; part < PARTS; part++)
                load_left(query[part], shared_address(queries), own + 16 * part, offsets_in);
        float scores[PARTS][COLUMNS][4];
        multiply_rows<T, PARTS, COLUMNS>(scores, query, key_tile + stage, offsets_in);
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            int row = begin + own + 16 * part;
            float kept[2];
            if (key + AAC_TILE > end || (shape.causal && key + AAC_TILE > row))
                hide(scores[part], key, end, row, shape.causal);
            weigh(scores[part], &state[part], kept, scale);
#pragma unroll
            for (int column = 0; column < COLUMNS; column++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    sums[part][column][i] *= kept[i / 2];
        }
        add_values<T, PARTS, COLUMNS>(sums, scores, value_tile + stage, offsets_in);
        __syncthreads(); /* the stage is free */
    }
#pragma unroll
    for (int part = 0; part < PARTS; part++)
        write_sums(y + blockIdx.y * AAC_TILE, shape.heads * AAC_TILE, begin + own + 16 * part, end,
                   sums[part], 1 / row_sum(state[part].sum[0]), 1 / row_sum(state[part].sum[1]),
                   queries, own + 16 * part);
}

template <typename T, int PARTS>
static void launch(const aac_op_desc *desc, const aac_op_args *args)
{
    dim3 grid(blocks_for(desc->attention.longest, PARTS * TILE_WARPS * 16),
              (unsigned)desc->attention.heads, (unsigned)args->sequences);
    attend<T, PARTS><<<grid, TILE_THREADS, 0, STREAM>>>((const T *)args->x, (T *)args->y,
                                                        args->offsets, shape_of(desc));
}

/* Larger blocks read the keys less often; smaller ones balance the load better. */
template <typename T> static int choose(const aac_op_desc *desc, const aac_op_args *args)
{
    int64_t large = blocks_for(desc->attention.longest, 2 * TILE_WARPS * 16) *
                    desc->attention.heads * args->sequences;
    if (large >= 3 * aac_cuda_processors())
        launch<T, 2>(desc, args);
    else
        launch<T, 1>(desc, args);
    return cudaGetLastError();
}

int aac_cuda_flash_attention(const aac_op_desc *desc, const aac_op_args *args)
{
    return desc->attention.type == AAC_F16 ? choose<f16>(desc, args) : choose<bf16>(desc, args);
}
