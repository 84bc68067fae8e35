/*
 * Products of small blocks of bfloat16 and of 8-bit integers, for processors with AVX-512 and its
 * instructions that multiply pairs and fours of them.
 */
#include "backend/simd/kernels.h"

#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#include <immintrin.h>

extern const aac_narrow_kernels aac_narrow_kernels_avx512;

#define ROWS  14 /* as those of the other block kernels */
#define LANES 16
#ifdef __clang__
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* sums + left . right in each lane; `whole`: four products of integers, else two of bfloat16. */
static inline __attribute__((always_inline)) __m512i add_products(__m512i sums, __m512i left,
                                                                  __m512i right, bool whole)
{
    if (whole)
        return _mm512_dpbusd_epi32(sums, left, right);
    return _mm512_castps_si512(
        _mm512_dpbf16_ps(_mm512_castsi512_ps(sums), (__m512bh)left, (__m512bh)right));
}

static inline __attribute__((always_inline)) void multiply(const uint32_t *a, int64_t a_stride,
                                                           const uint32_t *panel, int64_t depth,
                                                           uint32_t *c, int64_t c_stride,
                                                           bool whole)
{
    __m512i sums[ROWS][2];
    UNROLLED
    for (int i = 0; i < ROWS; i++)
        sums[i][0] = sums[i][1] = _mm512_setzero_si512();
    for (int64_t k = 0; k < depth; k++, panel += 2 * LANES) {
        __m512i left = _mm512_loadu_si512(panel), right = _mm512_loadu_si512(panel + LANES);
        UNROLLED
        for (int i = 0; i < ROWS; i++) {
            __m512i unit = _mm512_set1_epi32((int32_t)a[i * a_stride + k]);
            sums[i][0] = add_products(sums[i][0], unit, left, whole);
            sums[i][1] = add_products(sums[i][1], unit, right, whole);
        }
    }
    UNROLLED
    for (int i = 0; i < ROWS; i++) {
        _mm512_storeu_si512(c + i * c_stride, sums[i][0]);
        _mm512_storeu_si512(c + i * c_stride + LANES, sums[i][1]);
    }
}

static void multiply_bf16(const uint32_t *a, int64_t a_stride, const uint32_t *panel, int64_t depth,
                          float *c, int64_t c_stride)
{
    multiply(a, a_stride, panel, depth, (uint32_t *)c, c_stride, false);
}

static void multiply_int8(const uint32_t *a, int64_t a_stride, const uint32_t *panel, int64_t depth,
                          int32_t *c, int64_t c_stride)
{
    multiply(a, a_stride, panel, depth, (uint32_t *)c, c_stride, true);
}

/* Lanes of a row's last values: 0 .. count - 1. */
static inline __mmask16 lanes_of(int64_t count)
{
    return count >= LANES ? 0xFFFF : (__mmask16)((1u << (count > 0 ? count : 0)) - 1);
}

static inline float maximum(const float *row, int64_t count)
{
    __m512 largest[4];
    for (int i = 0; i < 4; i++)
        largest[i] = _mm512_set1_ps(row[0]);
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int j = 0; j < 4; j++)
            largest[j] = _mm512_max_ps(_mm512_loadu_ps(row + i + j * LANES), largest[j]);
    for (; i < count; i += LANES)
        largest[0] =
            _mm512_mask_max_ps(largest[0], lanes_of(count - i),
                               _mm512_maskz_loadu_ps(lanes_of(count - i), row + i), largest[0]);
    largest[0] = _mm512_max_ps(largest[0], largest[1]);
    largest[2] = _mm512_max_ps(largest[2], largest[3]);
    return _mm512_reduce_max_ps(_mm512_max_ps(largest[0], largest[2]));
}

/* 2^x for x <= 0, to 4e-6 of it, of which bfloat16 keeps less; below -125 that of -125; NaN stays.
 */
static inline __m512 power_of_two(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-125.0f), x);
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, whole), p = _mm512_set1_ps(0.0096183f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.055503f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.2402265f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931472f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, whole);
}

static float softmax(const float *row, int64_t count, float scale, uint16_t *out)
{
    const float scaled = scale * 1.442695041f;
    const __m512 factor = _mm512_set1_ps(scaled),
                 offset = _mm512_set1_ps(scaled * maximum(row, count));
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3F80);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < count; i += 2 * LANES) {
        __mmask16 left = lanes_of(count - i), right = lanes_of(count - i - LANES);
        __m512 low = _mm512_maskz_loadu_ps(left, row + i),
               high = _mm512_maskz_loadu_ps(right, row + i + LANES);
        low = _mm512_maskz_mov_ps(left, power_of_two(_mm512_fmsub_ps(low, factor, offset)));
        high = _mm512_maskz_mov_ps(right, power_of_two(_mm512_fmsub_ps(high, factor, offset)));
        __m512bh rounded = _mm512_cvtne2ps_pbh(high, low);
        sum = _mm512_dpbf16_ps(sum, rounded, ones);
        _mm512_mask_storeu_epi16(out + i, (__mmask32)left | (__mmask32)right << LANES,
                                 (__m512i)rounded);
    }
    return 1.0f / _mm512_reduce_add_ps(sum);
}

const aac_narrow_kernels aac_narrow_kernels_avx512 = {
    .rows = ROWS,
    .columns = 2 * LANES,
    .multiply_bf16 = multiply_bf16,
    .multiply_int8 = multiply_int8,
    .softmax_bf16 = softmax,
};
#endif
