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

/* What products will use of registers is to be held first; this comes before them. */
static __device__ __forceinline__ void begin_products(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/* Waits for all products; what they wrote is then to be held. */
static __device__ __forceinline__ void end_products(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
}

/* What is computed of these before here is, and what after it is not yet, for the compiler. */
static __device__ __forceinline__ void hold(float sums[COLUMNS][4])
{
#pragma unroll
    for (int i = 0; i < COLUMNS; i++)
        asm volatile("" : "+f"(sums[i][0]), "+f"(sums[i][1]), "+f"(sums[i][2]), "+f"(sums[i][3]));
}

static __device__ __forceinline__ void hold(unsigned left[STEPS][4])
{
#pragma unroll
    for (int i = 0; i < STEPS; i++)
        asm volatile("" : "+r"(left[i][0]), "+r"(left[i][1]), "+r"(left[i][2]), "+r"(left[i][3]));
}

/* Copies of this thread's that have arrived are seen by the tensor cores, after a barrier those of
 * all threads are. */
static __device__ __forceinline__ void wait_for_copies(void)
{
    asm volatile("cp.async.wait_all;\nfence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
}

#define SUMS(c) "+f"(sums[c][0]), "+f"(sums[c][1]), "+f"(sums[c][2]), "+f"(sums[c][3])
#define SUMS_64 SUMS(0), SUMS(1), SUMS(2), SUMS(3), SUMS(4), SUMS(5), SUMS(6), SUMS(7)
#define NAMES_64                                                                                   \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "

/* sums (64, 64) = left (64, 16) right^T (64, 16), added where accumulate is not 0. */
static __device__ __forceinline__ void multiply_group(float sums[COLUMNS][4], uint64_t left,
                                                      uint64_t right, int accumulate)
{
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " NAMES_64
        "%32, %33, p, 1, 1, 0, 0;\n}"
        : SUMS_64
        : "l"(left), "l"(right), "r"(accumulate));
}

/* sums (64, 64) += left (64, 16) right (16, 64); left: each warp's fragment. */
static __device__ __forceinline__ void multiply_group_down(float sums[COLUMNS][4],
                                                           const unsigned left[4], uint64_t right)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " NAMES_64
                 "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
                 : SUMS_64
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right));
}

/* sums (64, 64) = 64 rows of one tile times 64 rows of another, of AAC_TILE values both. */
static __device__ __forceinline__ void multiply_tiles(float sums[COLUMNS][4], uint64_t left,
                                                      uint64_t right)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
        multiply_group(sums, left + step * ALONG, right + step * ALONG, step);
}

/* sums (64, AAC_TILE) += weights (64, 64) times a tile's rows. */
static __device__ __forceinline__ void add_tile(float sums[COLUMNS][4],
                                                const unsigned weights[STEPS][4], uint64_t tile)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
        multiply_group_down(sums, weights[step], tile + step * DOWN);
}

#endif
