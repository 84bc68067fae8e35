/* Compiled several times, like kernels.c: AAC_QUANTIZED_KERNELS names the table. */
#include "backend/simd/kernels_shape.h"

#include <math.h>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

extern const aac_quantized_kernels AAC_QUANTIZED_KERNELS;

/* Least and largest value, including zero; explicit lanes as in kernels.c. */
static inline void range_of(const float *x, int64_t count, float *low, float *high)
{
    enum { PARTS = 32 };
    float least[PARTS] = {0}, most[PARTS] = {0};
    int64_t i = 0;
    for (; i + PARTS <= count; i += PARTS)
        for (int lane = 0; lane < PARTS; lane++) {
            least[lane] = x[i + lane] < least[lane] ? x[i + lane] : least[lane];
            most[lane] = x[i + lane] > most[lane] ? x[i + lane] : most[lane];
        }
    for (; i < count; i++) {
        least[0] = x[i] < least[0] ? x[i] : least[0];
        most[0] = x[i] > most[0] ? x[i] : most[0];
    }
    *low = *high = 0;
    for (int lane = 0; lane < PARTS; lane++) {
        *low = least[lane] < *low ? least[lane] : *low;
        *high = most[lane] > *high ? most[lane] : *high;
    }
}

/* 0 if all values are finite, else NaN: comparisons would miss NaN. */
static inline float taint_of(const float *x, int64_t count)
{
    float taint = 0;
#pragma omp simd reduction(+ : taint)
    for (int64_t i = 0; i < count; i++)
        taint += x[i] * 0.0f;
    return taint;
}

/* One multiplication and one rounding, so that all instruction sets give the same integers. */
static inline float rounded(float x, float inverse)
{
    return rintf(x * inverse);
}

static void quantize_row(const float *x, int64_t count, uint8_t *q, float *step, int32_t *zero)
{
    float low, high;
    range_of(x, count, &low, &high);
    float span = high - low, inverse = span > 0 ? 255.0f / span : 0.0f;
    float offset =
        rounded(-low, inverse); /* NaN or infinite if the row has such a value, or only denormals */
    offset = offset > 0.0f ? offset : 0.0f;
    offset = offset < 255.0f ? offset : 255.0f;
    *step = span / 255.0f + taint_of(x, count);
    *zero = (int32_t)offset;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float value = rounded(x[i], inverse) + offset;
        value = value > 0.0f ? value : 0.0f; /* NaN becomes 0: its conversion is undefined */
        value = value < 255.0f ? value : 255.0f;
        q[i] = (uint8_t)(int32_t)value;
    }
}

static void quantize_channel(const float *w, int64_t count, int32_t limit, int8_t *q, float *step,
                             int32_t *sum)
{
    float low, high;
    range_of(w, count, &low, &high);
    float largest = high > -low ? high : -low, range = (float)limit;
    float inverse = largest > 0 ? range / largest : 0.0f;
    int32_t total = 0;
    *step = largest / range + taint_of(w, count);
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < count; i++) {
        float value = rounded(w[i], inverse);
        value = value > -range ? value : -range;
        value = value < range ? value : range;
        q[i] = (int8_t)(int32_t)value;
        total += (int32_t)value;
    }
    *sum = total;
}

static inline float restored(const aac_quantized_sums *sums, int64_t i)
{
    return (float)(sums->values[i] - sums->zero * sums->channel_sums[i]) *
           (sums->step * sums->channel_steps[i]);
}

static void restore_sums(const aac_quantized_sums *sums, int64_t count, bool add, float *y)
{
    if (add && sums->bias) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            y[i] += restored(sums, i) + sums->bias[i];
    } else if (add) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            y[i] += restored(sums, i);
    } else if (sums->bias) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            y[i] = restored(sums, i) + sums->bias[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            y[i] = restored(sums, i);
    }
}

typedef int32_t vector __attribute__((vector_size(BYTES)));
typedef int32_t unaligned_vector __attribute__((vector_size(BYTES), aligned(1), may_alias));
static inline vector load(const void *from)
{
    return *(const unaligned_vector *)from;
}

static inline void store(vector value, int32_t *to)
{
    *(unaligned_vector *)to = value;
}

#if defined(__AVX512VNNI__)
/* Four bytes in each lane. */
typedef vector quads;

static inline quads unsigned_quads(vector bytes)
{
    return bytes;
}

static inline quads signed_quads(vector bytes)
{
    return bytes;
}

static inline vector add_products(vector sums, quads a, quads b)
{
    return (vector)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)a, (__m512i)b);
}
#else
typedef int16_t halves __attribute__((vector_size(BYTES)));

/* Bytes 0 and 2 of a unit of four, then 1 and 3, as halves. */
typedef struct quads {
    halves even, odd;
} quads;

static inline quads unsigned_quads(vector bytes)
{
    return (quads){(halves)(bytes & 0x00FF00FF), (halves)((bytes >> 8) & 0x00FF00FF)};
}

static inline quads signed_quads(vector bytes)
{
    return (quads){((halves)bytes << 8) >> 8, (halves)bytes >> 8};
}

/* In each lane the sum of the products of its two halves. */
static inline vector multiply_halves(halves a, halves b)
{
#if defined(__AVX512BW__)
    return (vector)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (vector)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (vector)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
    int32x4_t low = vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
    return (vector)vpaddq_s32(low, vmull_high_s16((int16x8_t)a, (int16x8_t)b));
#else
    vector low = (((vector)a << 16) >> 16) * (((vector)b << 16) >> 16);
    return low + ((vector)a >> 16) * ((vector)b >> 16);
#endif
}

static inline vector add_products(vector sums, quads a, quads b)
{
    return sums + multiply_halves(a.even, b.even) + multiply_halves(a.odd, b.odd);
}
#endif

static void multiply_int8(const uint32_t *a, int64_t a_stride, const uint32_t *panel, int64_t depth,
                          int32_t *c, int64_t c_stride, const void *next, int64_t step)
{
    vector sums[ROWS][2] = {0};
    for (int64_t k = 0; k < depth; k++, panel += 2 * LANES) {
        __builtin_prefetch((const char *)next + k * step, 0, 2);
        const quads left = signed_quads(load(panel)), right = signed_quads(load(panel + LANES));
        UNROLLED
        for (int i = 0; i < ROWS; i++) {
            const quads unit = unsigned_quads((vector){0} + (int32_t)a[i * a_stride + k]);
            sums[i][0] = add_products(sums[i][0], unit, left);
            sums[i][1] = add_products(sums[i][1], unit, right);
        }
    }
    UNROLLED
    for (int i = 0; i < ROWS; i++) {
        store(sums[i][0], c + i * c_stride);
        store(sums[i][1], c + i * c_stride + LANES);
    }
}

const aac_quantized_kernels AAC_QUANTIZED_KERNELS = {
    .quantize_row = quantize_row,
    .quantize_channel = quantize_channel,
    .restore_sums = restore_sums,
    .multiply = multiply_int8,
};
