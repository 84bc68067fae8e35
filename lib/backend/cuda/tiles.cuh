/*
 * Tiles of matrices of T (bfloat16 or float16) in shared memory and their products on the tensor
 * cores (mma m16n8k16, float32 sums), for attention with heads of 64.
 *
 * A tile has rows of AAC_TILE values. The eight 16-byte pieces of a row are swizzled by row, so
 * that the eight rows of a fragment lie in different banks.
 */
#ifndef AAC_BACKEND_CUDA_TILES_CUH
#define AAC_BACKEND_CUDA_TILES_CUH

#include "backend/cuda/kernels.cuh"
#include "backend/cuda/ptx.cuh"

#define AAC_TILE     64             /* values of a row, rows of a tile of keys */
#define PIECES       (AAC_TILE / 8) /* of 16 bytes, of a row */
#define TILE_WARPS   4
#define TILE_THREADS (TILE_WARPS * WARP)
#define STEPS        (AAC_TILE / 16) /* fragments along a row */
#define COLUMNS      (AAC_TILE / 8)  /* of 8, of the sums of a warp */

template <typename T> static __device__ __forceinline__ T *piece_of(T *tile, int row, int piece)
{
    return tile + row * AAC_TILE + ((piece ^ (row & 7)) << 3);
}

static __device__ __forceinline__ unsigned shared_address(const void *p)
{
    return (unsigned)__cvta_generic_to_shared(p);
}

#define ROW_BYTES  (AAC_TILE * 2)
#define TILE_BYTES (AAC_TILE * ROW_BYTES)  /* of a tile of keys */
#define PASS_ROWS  (TILE_THREADS / PIECES) /* rows that the block's threads copy at a time */

/* The piece of the first rows that a thread copies; its further pieces lie PASS_ROWS rows apart. */
template <typename T> struct fetcher {
    const T *from;
    int64_t stride;
    unsigned to; /* bytes into a tile */
    int row;
};

template <typename T>
static __device__ __forceinline__ fetcher<T> fetcher_of(const T *x, int64_t stride)
{
    int row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    return {x + row * stride + piece * 8, stride,
            (unsigned)(row * ROW_BYTES + ((piece ^ (row & 7)) << 4)), row};
}

/* Begins to copy rows of x from `first` on to a tile; those from `end` on become zeros. */
template <int ROWS, typename T>
static __device__ __forceinline__ void fetch(unsigned tile, const fetcher<T> &by, int first,
                                             int end)
{
    const T *from = by.from + first * by.stride;
#pragma unroll
    for (int row = 0; row < ROWS; row += PASS_ROWS, from += PASS_ROWS * by.stride) {
        int bytes = first + by.row + row < end ? 16 : 0; /* at 0 nothing is read */
        copy_16(tile + by.to + row * ROW_BYTES, from, bytes);
    }
}

/* Waits until all but the last `LEFT` groups have arrived, for all threads. */
template <int LEFT> static __device__ __forceinline__ void wait_for_groups(void)
{
    wait_for_own_groups<LEFT>();
    __syncthreads();
}

/* Byte offsets in a tile of a lane's part of the fragments of 16 rows by 16 values: in that order,
 * or with the middle two of the four quarters exchanged. */
typedef struct lane_offsets {
    unsigned plain[STEPS], crossed[STEPS];
} lane_offsets;

static __device__ __forceinline__ lane_offsets find_offsets(void)
{
    lane_offsets offsets;
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        offsets.plain[step] = lane % 16 * ROW_BYTES + (((2 * step + lane / 16) ^ (lane & 7)) << 4);
        offsets.crossed[step] = (lane % 8 + lane / 16 * 8) * ROW_BYTES +
                                (((2 * step + lane / 8 % 2) ^ (lane & 7)) << 4);
    }
    return offsets;
}

/* The left operand of a product: rows [row, row + 16) of a tile, all values. */
static __device__ __forceinline__ void load_left(unsigned left[STEPS][4], unsigned tile, int row,
                                                 const lane_offsets &offsets)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
        load_matrices(left[step], tile + row * ROW_BYTES + offsets.plain[step]);
}

/* Sums (16, 16), two neighbouring columns of 8, as the left operand of a product along them. */
template <typename T>
static __device__ __forceinline__ void as_left_operand(unsigned fragment[4], const float first[4],
                                                       const float second[4])
{
    fragment[0] = pack<T>(first[0], first[1]);
    fragment[1] = pack<T>(first[2], first[3]);
    fragment[2] = pack<T>(second[0], second[1]);
    fragment[3] = pack<T>(second[2], second[3]);
}

/* sums (PARTS, 16, 8 COUNT) = left (PARTS, 16, AAC_TILE) times the rows of a tile. */
template <typename T, int PARTS, int COUNT>
static __device__ __forceinline__ void multiply_rows(float sums[PARTS][COUNT][4],
                                                     const unsigned left[PARTS][STEPS][4],
                                                     unsigned tile, const lane_offsets &offsets)
{
#pragma unroll
    for (int part = 0; part < PARTS; part++)
#pragma unroll
        for (int column = 0; column < COUNT; column++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                sums[part][column][i] = 0;
#pragma unroll
    for (int step = 0; step < STEPS; step++)
#pragma unroll
        for (int pair = 0; pair < COUNT / 2; pair++) {
            unsigned right[4];
            load_matrices(right, tile + offsets.crossed[step] + 16 * pair * ROW_BYTES);
#pragma unroll
            for (int part = 0; part < PARTS; part++) {
                multiply<T>(sums[part][2 * pair], left[part][step], right[0], right[1]);
                multiply<T>(sums[part][2 * pair + 1], left[part][step], right[2], right[3]);
            }
        }
}

/* sums (PARTS, 16, AAC_TILE) += weights (PARTS, 16, 8 COUNT), rounded, times a tile's values. */
template <typename T, int PARTS, int COUNT>
static __device__ __forceinline__ void add_values(float sums[PARTS][COLUMNS][4],
                                                  const float weights[PARTS][COUNT][4],
                                                  unsigned tile, const lane_offsets &offsets)
{
#pragma unroll
    for (int pair = 0; pair < COUNT / 2; pair++) {
        unsigned left[PARTS][4];
#pragma unroll
        for (int part = 0; part < PARTS; part++)
            as_left_operand<T>(left[part], weights[part][2 * pair], weights[part][2 * pair + 1]);
#pragma unroll
        for (int piece = 0; piece < STEPS; piece++) {
            unsigned right[4];
            load_transposed(right, tile + offsets.plain[piece] + 16 * pair * ROW_BYTES);
#pragma unroll
            for (int part = 0; part < PARTS; part++) {
                multiply<T>(sums[part][2 * piece], left[part], right[0], right[1]);
                multiply<T>(sums[part][2 * piece + 1], left[part], right[2], right[3]);
            }
        }
    }
}

/*
 * Writes a warp's sums (16, AAC_TILE), each lane's two rows scaled, to rows of y from `first` up to
 * `end`. Overwrites the tile's rows [row, row + 16), which must be this warp's alone.
 */
template <typename T>
static __device__ __forceinline__ void write_sums(T *y, int64_t stride, int first, int end,
                                                  const float sums[COLUMNS][4], float upper,
                                                  float lower, T *tile, int row)
{
    int lane = threadIdx.x % WARP;
    __syncwarp();
#pragma unroll
    for (int column = 0; column < COLUMNS; column++) {
        int within = 2 * (lane % 4);
        *(unsigned *)(piece_of(tile, row + lane / 4, column) + within) =
            pack<T>(sums[column][0] * upper, sums[column][1] * upper);
        *(unsigned *)(piece_of(tile, row + lane / 4 + 8, column) + within) =
            pack<T>(sums[column][2] * lower, sums[column][3] * lower);
    }
    __syncwarp();
    for (int i = lane; i < 16 * PIECES; i += WARP)
        if (first + i / PIECES < end)
            *(uint4 *)(y + (int64_t)(first + i / PIECES) * stride + i % PIECES * 8) =
                *(const uint4 *)piece_of(tile, row + i / PIECES, i % PIECES);
}

#endif
