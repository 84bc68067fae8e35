/* Warp group instructions (Hopper only). */
#ifndef AAC_BACKEND_CUDA_PTX_GROUP_CUH
#define AAC_BACKEND_CUDA_PTX_GROUP_CUH

#include "backend/cuda/tiles.cuh"

/* Call before a series of products, after hold() on the registers that they use. */
static __device__ __forceinline__ void begin_products(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/* Waits for all products; call hold() on their results next. */
static __device__ __forceinline__ void end_products(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
}

/* A compiler barrier for these registers: no access to them moves across it. */
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

/* Waits for this thread's copies and makes them visible to the tensor cores. */
static __device__ __forceinline__ void wait_for_own_copies(void)
{
    asm volatile("cp.async.wait_all;\nfence.proxy.async.shared::cta;" ::: "memory");
}

#define SUMS(c) "+f"(sums[c][0]), "+f"(sums[c][1]), "+f"(sums[c][2]), "+f"(sums[c][3])
#define SUMS_64 SUMS(0), SUMS(1), SUMS(2), SUMS(3), SUMS(4), SUMS(5), SUMS(6), SUMS(7)
#define NAMES_64                                                                                   \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "

/* sums (64, 64) = left (64, 16) right^T (64, 16), of T, added where accumulate is not 0. */
template <typename T>
static __device__ __forceinline__ void multiply_group(float sums[COLUMNS][4], uint64_t left,
                                                      uint64_t right, int accumulate)
{
#define MULTIPLY(TYPE)                                                                             \
    asm volatile(                                                                                  \
        "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"                                               \
        "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " " NAMES_64                   \
        "%32, %33, p, 1, 1, 0, 0;\n}"                                                              \
        : SUMS_64                                                                                  \
        : "l"(left), "l"(right), "r"(accumulate))
    if constexpr (std::is_same_v<T, f16>)
        MULTIPLY("f16");
    else
        MULTIPLY("bf16");
#undef MULTIPLY
}

/* sums (64, 64) += left (64, 16) right (16, 64), of T; left: each warp's fragment. */
template <typename T>
static __device__ __forceinline__ void multiply_group_down(float sums[COLUMNS][4],
                                                           const unsigned left[4], uint64_t right)
{
#define MULTIPLY(TYPE)                                                                             \
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " " NAMES_64          \
                 "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;"                                          \
                 : SUMS_64                                                                         \
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right))
    if constexpr (std::is_same_v<T, f16>)
        MULTIPLY("f16");
    else
        MULTIPLY("bf16");
#undef MULTIPLY
}

#endif
