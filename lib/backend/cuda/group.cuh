/*
 * Products of a warp group, four warps, as Hopper has them (wgmma): both sides are read from shared
 * memory, or the left one from registers, and run while the warps go on. For sm_90a alone.
 *
 * Tiles lie as in tiles.cuh, which is the 128-byte swizzle of the hardware where they begin at a
 * multiple of ATOM_BYTES. Sums have the layout of a warp's in tiles.cuh: warp i of the group has
 * rows 16 i .. 16 i + 15.
 */
#ifndef AAC_BACKEND_CUDA_GROUP_CUH
#define AAC_BACKEND_CUDA_GROUP_CUH

#include "backend/cuda/ptx_group.cuh"
#include "backend/cuda/softmax.cuh"

#define GROUP_THREADS (4 * WARP)
#define GROUP_ROWS    64
#define ATOM_BYTES    1024 /* eight rows, in which pieces are exchanged */

static_assert(GROUP_THREADS == TILE_THREADS && GROUP_ROWS == AAC_TILE && COLUMNS == 8,
              "tiles are copied by all threads of a group, and have its rows");

/* Steps of 16 from one fragment to the next, in the units of a tile's description: along its rows,
 * and from 16 rows to the next 16. */
#define ALONG (32 >> 4)
#define DOWN  (16 * ROW_BYTES >> 4)

/* What the tensor cores want to know of a tile that begins at an address in shared memory: eight
 * rows follow eight rows, with pieces exchanged over 128 bytes. */
static __device__ __forceinline__ uint64_t describe(unsigned address)
{
    const uint64_t atom = ATOM_BYTES >> 4, exchanged = 1ull << 62;
    return exchanged | atom << 32 | atom << 16 | (address & 0x3ffff) >> 4;
}

/* Copies of this thread's that have arrived are seen by the tensor cores, after a barrier those of
 * all threads are. */
static __device__ __forceinline__ void wait_for_copies(void)
{
    wait_for_own_copies();
    __syncthreads();
}

/* sums (64, 64) = 64 rows of one tile times 64 rows of another, of AAC_TILE values both. */
template <typename T>
static __device__ __forceinline__ void multiply_tiles(float sums[COLUMNS][4], uint64_t left,
                                                      uint64_t right)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
        multiply_group<T>(sums, left + step * ALONG, right + step * ALONG, step);
}

/* sums (64, AAC_TILE) += weights (64, 64) times a tile's rows. */
template <typename T>
static __device__ __forceinline__ void add_tile(float sums[COLUMNS][4],
                                                const unsigned weights[STEPS][4], uint64_t tile)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
        multiply_group_down<T>(sums, weights[step], tile + step * DOWN);
}

#endif
