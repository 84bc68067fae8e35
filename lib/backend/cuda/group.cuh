/*
 * Matrix products of a warp group (four warps) on Hopper (wgmma): both operands are read from
 * shared memory, or the left one from registers, and they run asynchronously. For sm_90a only.
 *
 * Tiles are laid out as in tiles.cuh, which is the hardware's 128-byte swizzle if they begin at a
 * multiple of ATOM_BYTES. Sums are laid out as those of a warp in tiles.cuh: warp i of the group
 * has rows 16 i .. 16 i + 15.
 */
#ifndef AAC_BACKEND_CUDA_GROUP_CUH
#define AAC_BACKEND_CUDA_GROUP_CUH

#include "backend/cuda/ptx_group.cuh"
#include "backend/cuda/softmax.cuh"

#define GROUP_THREADS (4 * WARP)
#define GROUP_ROWS    64
#define ATOM_BYTES    1024 /* eight rows, within which pieces are swizzled */

static_assert(GROUP_THREADS == TILE_THREADS && GROUP_ROWS == AAC_TILE && COLUMNS == 8,
              "tiles are copied by all threads of a group, and have its rows");

/* From one fragment of 16 to the next, in units of a tile's descriptor: along its rows, and from 16
 * rows to the next 16. */
#define ALONG (32 >> 4)
#define DOWN  (16 * ROW_BYTES >> 4)

/* The wgmma descriptor of a tile at an address in shared memory: groups of eight rows, one after
 * the other, with 128-byte swizzle. */
static __device__ __forceinline__ uint64_t describe(unsigned address)
{
    const uint64_t atom = ATOM_BYTES >> 4, exchanged = 1ull << 62;
    return exchanged | atom << 32 | atom << 16 | (address & 0x3ffff) >> 4;
}

/* Waits for this thread's copies and makes them visible to the tensor cores; after the barrier this
 * holds for all threads. */
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
