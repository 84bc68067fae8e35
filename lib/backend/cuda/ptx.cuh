/* Instructions for which CUDA C++ has no name: asynchronous copies, tensor cores. */
#ifndef AAC_BACKEND_CUDA_PTX_CUH
#define AAC_BACKEND_CUDA_PTX_CUH

#include "backend/cuda/kernels.cuh"

/* Begins to copy 16 bytes to an address in shared memory: `bytes` from `from`, then zeros. */
static __device__ __forceinline__ void copy_16(unsigned to, const void *from, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}

/* The same for 8 bytes. */
static __device__ __forceinline__ void copy_8(unsigned to, const void *from, int bytes)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(bytes));
}

/* The copies begun since the last group form a group. */
static __device__ __forceinline__ void end_group(void)
{
    asm volatile("cp.async.commit_group;");
}

/* Waits until all but the last `LEFT` of this thread's groups have arrived. */
template <int LEFT> static __device__ __forceinline__ void wait_for_own_groups(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT));
}

static __device__ __forceinline__ void load_four(float values[4], unsigned from)
{
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(values[0]), "=f"(values[1]), "=f"(values[2]), "=f"(values[3])
                 : "r"(from));
}

/* Four matrices (8, 8) of 16-bit values: lane i passes the address of row i % 8 of matrix i / 8 and
 * receives columns 2 (i % 4) and the next of row i / 4 of each. */
static __device__ __forceinline__ void load_matrices(unsigned fragment[4], unsigned from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(from));
}

/* The same, each matrix transposed. */
static __device__ __forceinline__ void load_transposed(unsigned fragment[4], unsigned from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(from));
}

/* sums (16, 8) += left (16, 16) right (16, 8), of T. A lane has columns 2 (lane % 4) and the next,
 * of rows lane / 4 (sums[0], [1]) and lane / 4 + 8 (sums[2], [3]). */
template <typename T>
static __device__ __forceinline__ void multiply(float sums[4], const unsigned left[4],
                                                unsigned right0, unsigned right1)
{
#define MULTIPLY(TYPE)                                                                             \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE                                     \
        ".f32 {%0, %1, %2, %3}, "                                                                  \
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                            \
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                               \
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1))
    if constexpr (std::is_same_v<T, f16>)
        MULTIPLY("f16");
    else
        MULTIPLY("bf16");
#undef MULTIPLY
}

/* 2^x; subnormal results become 0. */
static __device__ __forceinline__ float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
