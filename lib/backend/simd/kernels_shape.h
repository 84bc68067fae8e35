/* Size of a block that the kernels of an instruction set hold in registers. For files that are
 * compiled once for each; see meson.build. */
#ifndef AAC_BACKEND_SIMD_KERNELS_SHAPE_H
#define AAC_BACKEND_SIMD_KERNELS_SHAPE_H

#include "backend/simd/kernels.h"

/* Bytes of a vector, and the number of rows whose sums, two vectors each, fill most vector
 * registers. */
#if defined(__AVX512F__)
#define BYTES 64
#define ROWS  AAC_BLOCK_ROWS
#elif defined(__AVX2__)
#define BYTES 32
#define ROWS  6
#elif defined(__aarch64__)
#define BYTES 16
#define ROWS  12
#else
#define BYTES 16
#define ROWS  6
#endif
#define LANES (BYTES / 4) /* values of 32 bits in a vector */

#ifdef __clang__
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

#endif
