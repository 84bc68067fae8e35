/*
 * Products of small blocks of bfloat16, for processors with AVX-512 and its dot-product instruction
 * on pairs of them; what stands between them and products of 8-bit integers.
 */
#include "backend/simd/kernels.h"

#include <immintrin.h>
#include <math.h>

extern const aac_narrow_kernels aac_narrow_kernels_avx512;

#define ROWS  AAC_BLOCK_ROWS
#define LANES 16
#ifdef __clang__
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

typedef struct block_product {
    const uint32_t *a;
    int64_t row_stride, depth_stride;
    const uint32_t *panel;
    int64_t depth;
    float *c;
    int64_t c_stride;
} block_product;

static inline __attribute__((always_inline)) void multiply(block_product block, bool add)
{
    __m512 sums[ROWS][2];
    UNROLLED
    for (int i = 0; i < ROWS; i++) {
        const float *c = block.c + i * block.c_stride;
        sums[i][0] = add ? _mm512_loadu_ps(c) : _mm512_setzero_ps();
        sums[i][1] = add ? _mm512_loadu_ps(c + LANES) : _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < block.depth; k++, block.panel += 2 * LANES) {
        const __m512bh left = (__m512bh)_mm512_loadu_si512(block.panel),
                       right = (__m512bh)_mm512_loadu_si512(block.panel + LANES);
        UNROLLED
        for (int i = 0; i < ROWS; i++) {
            uint32_t value = block.a[i * block.row_stride + k * block.depth_stride];
            __m512bh unit = (__m512bh)_mm512_set1_epi32((int32_t)value);
            sums[i][0] = _mm512_dpbf16_ps(sums[i][0], unit, left);
            sums[i][1] = _mm512_dpbf16_ps(sums[i][1], unit, right);
        }
    }
    UNROLLED
    for (int i = 0; i < ROWS; i++) {
        _mm512_storeu_ps(block.c + i * block.c_stride, sums[i][0]);
        _mm512_storeu_ps(block.c + i * block.c_stride + LANES, sums[i][1]);
    }
}

static void multiply_bf16(const uint32_t *a, int64_t a_stride, const uint32_t *panel, int64_t depth,
                          float *c, int64_t c_stride)
{
    multiply((block_product){a, a_stride, 1, panel, depth, c, c_stride}, false);
}

static void add_transposed_bf16(const uint32_t *a, int64_t a_stride, const uint32_t *panel,
                                int64_t depth, float *c, int64_t c_stride)
{
    multiply((block_product){a, 1, a_stride, panel, depth, c, c_stride}, true);
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

/* 2^x for x <= 125 within 3e-6 of it, a thousandth of bfloat16's precision; arguments below -125
 * count as -125; NaN stays. The polynomial approximates 2^f for |f| <= 1/2 with the least relative
 * error. */
static inline __m512 power_of_two(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-125.0f), x);
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, whole), p = _mm512_set1_ps(0.0095701017f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05591786f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24024745f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69312181f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.99999926f));
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

/* 16 values of bfloat16 as float32; 0 in inactive lanes. */
static inline __m512 widen(const uint16_t *x, __mmask16 lanes)
{
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

typedef struct row_range {
    __m512 low, high;
    __m512 taint; /* 0, or NaN where a value was not finite */
} row_range;

static inline void reach(row_range *range, __m512 x)
{
    range->low = _mm512_min_ps(x, range->low);
    range->high = _mm512_max_ps(x, range->high);
    range->taint = _mm512_fmadd_ps(x, _mm512_setzero_ps(), range->taint);
}

/* Two vectors at a time, so that a step does not wait for the previous one. */
static row_range range_of(const uint16_t *x, int64_t count)
{
    row_range even = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()}, odd = even;
    for (int64_t i = 0; i < count; i += 2 * LANES) {
        __mmask16 left = lanes_of(count - i), right = lanes_of(count - i - LANES);
        reach(&even, widen(x + i, left));
        reach(&odd, widen(x + i + LANES, right));
    }
    even.low = _mm512_min_ps(even.low, odd.low);
    even.high = _mm512_max_ps(even.high, odd.high);
    even.taint = _mm512_add_ps(even.taint, odd.taint);
    return even;
}

/* The same integers as quantize_row of the row kernels, except in rows within 1e-36 of zero. */
static void quantize_bf16(const uint16_t *x, int64_t count, uint8_t *q, float *step, int32_t *zero)
{
    row_range range = range_of(x, count);
    float low = _mm512_reduce_min_ps(range.low), span = _mm512_reduce_max_ps(range.high) - low;
    float inverse = span > 0 ? 255.0f / span : 0.0f, offset = rintf(-low * inverse);
    offset = offset > 0.0f ? offset : 0.0f; /* NaN or infinite if the row has such a value */
    offset = offset < 255.0f ? offset : 255.0f;
    *step = span / 255.0f + _mm512_reduce_add_ps(range.taint);
    *zero = (int32_t)offset;
    const __m512 factor = _mm512_set1_ps(inverse);
    const __m512i shift = _mm512_set1_epi32(*zero), least = _mm512_setzero_si512();
    for (int64_t i = 0; i < count; i += LANES) {
        __mmask16 lanes = lanes_of(count - i);
        __m512i value = _mm512_cvtps_epi32(_mm512_mul_ps(widen(x + i, lanes), factor));
        value = _mm512_max_epi32(_mm512_add_epi32(value, shift), least); /* NaN becomes 0 */
        _mm512_mask_cvtusepi32_storeu_epi8(q + i, lanes, value);
    }
}

/* x / (1 + exp(-1.702 x)), with exp limited to 2^125. */
static inline __m512 quick_gelu(__m512 x)
{
    __m512 exponent = _mm512_mul_ps(x, _mm512_set1_ps(-1.702f * 1.442695041f));
    exponent = _mm512_min_ps(_mm512_set1_ps(125.0f), exponent); /* NaN stays */
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), power_of_two(exponent)));
}

static inline __m512 restore(const aac_quantized_sums *sums, int64_t i, __mmask16 lanes)
{
    __m512i zeros = _mm512_mullo_epi32(_mm512_set1_epi32(sums->zero),
                                       _mm512_maskz_loadu_epi32(lanes, sums->channel_sums + i));
    __m512i apart = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(lanes, sums->values + i), zeros);
    __m512 step = _mm512_mul_ps(_mm512_set1_ps(sums->step),
                                _mm512_maskz_loadu_ps(lanes, sums->channel_steps + i));
    __m512 bias = sums->bias ? _mm512_maskz_loadu_ps(lanes, sums->bias + i) : _mm512_setzero_ps();
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(apart), step, bias);
}

static void restore_bf16(const aac_quantized_sums *sums, int64_t count, bool gelu, uint16_t *y)
{
    for (int64_t i = 0; i < count; i += 2 * LANES) {
        __mmask16 left = lanes_of(count - i), right = lanes_of(count - i - LANES);
        __m512 low = restore(sums, i, left), high = restore(sums, i + LANES, right);
        if (gelu) {
            low = quick_gelu(low);
            high = quick_gelu(high);
        }
        _mm512_mask_storeu_epi16(y + i, (__mmask32)left | (__mmask32)right << LANES,
                                 (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

/* p of one row, and its gradient. */
static inline __m512 gradient(const aac_softmax_pair *rows, int row, int64_t at, __m512 *p)
{
    __mmask16 lanes = row && !rows->both ? 0 : lanes_of(rows->count - at);
    const float *e = lanes ? rows->e[row] + at : NULL, *de = lanes ? rows->de[row] + at : NULL;
    *p = _mm512_mul_ps(_mm512_set1_ps(rows->inverse[row]), _mm512_maskz_loadu_ps(lanes, e));
    __m512 apart =
        _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, de), _mm512_set1_ps(rows->expected[row]));
    __m512 ds = _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(rows->scale), *p), apart);
    *p = _mm512_maskz_mov_ps(lanes, *p);
    return _mm512_maskz_mov_ps(lanes, ds);
}

static void softmax_backward(const aac_softmax_pair *rows)
{
    static const uint16_t order[2 * LANES] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                              21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                              11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i beside = _mm512_loadu_si512(order);
    for (int64_t i = 0; i < rows->whole; i += LANES) {
        __m512 p[2], low = gradient(rows, 0, i, &p[0]), high = gradient(rows, 1, i, &p[1]);
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh(p[1], p[0]);
        _mm512_storeu_si512(rows->p_pairs + i, _mm512_permutexvar_epi16(beside, both));
        both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        _mm512_storeu_si512(rows->ds_pairs + i, _mm512_permutexvar_epi16(beside, both));
        _mm256_storeu_si256((__m256i *)(rows->ds[0] + i), _mm512_castsi512_si256(both));
        _mm256_storeu_si256((__m256i *)(rows->ds[1] + i), _mm512_extracti64x4_epi64(both, 1));
    }
}

const aac_narrow_kernels aac_narrow_kernels_avx512 = {
    .multiply_bf16 = multiply_bf16,
    .add_transposed_bf16 = add_transposed_bf16,
    .softmax_backward_bf16 = softmax_backward,
    .softmax_bf16 = softmax,
    .quantize_bf16 = quantize_bf16,
    .restore_bf16 = restore_bf16,
};
