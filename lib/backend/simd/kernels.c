/* Compiled several times: AAC_KERNELS names the table; meson.build sets the instruction set. */
#include "backend/simd/kernels.h"

#include <math.h>
#include <string.h>

extern const aac_kernels AAC_KERNELS;

static inline float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint16_t round_to_bf16(float value)
{
    uint32_t bits = to_bits(value);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)(value != value ? bits >> 16 | 0x40 : rounded);
}

/*
 * exp for x in [-87, 88]: 2^n * e^r with |r| <= ln(2) / 2; the Taylor polynomial of degree 7 stays
 * within 1 unit in the last place there. Smaller arguments give exp(-87), about 1e-38.
 */
static inline float exponential(float x)
{
    const float round_to_integer = 0x1.8p23f;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 0x1.715476p0f + round_to_integer;
    float n = shifted - round_to_integer;
    float r = x - n * 0x1.62e4p-1f;
    r = r - n * 0x1.7f7d1cp-20f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * from_bits((to_bits(shifted) + 127) << 23);
}

static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

/* Explicit lanes: without them Clang does not vectorise a maximum of floats. */
static inline float maximum(const float *row, int64_t count)
{
    enum { LANES = 32 };
    float lanes[LANES], largest = row[0];
    int64_t i = 0;
    for (int lane = 0; lane < LANES; lane++)
        lanes[lane] = row[0];
    for (; i + LANES <= count; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] = larger(row[i + lane], lanes[lane]);
    for (; i < count; i++)
        largest = larger(row[i], largest);
    for (int lane = 0; lane < LANES; lane++)
        largest = larger(lanes[lane], largest);
    return largest;
}

/*
 * 2^x for x <= 126: 2^n * 2^f with |f| <= 1/2; the polynomial fits the relative error of 2^f, which
 * stays below 1e-7 in float32. Smaller arguments give 2^-125.
 */
static inline float power_of_two(float x)
{
    const float round_to_integer = 0x1.8p23f + 127; /* leaves n + 127, an exponent's bits */
    x = x < -125.0f ? -125.0f : x;
    float shifted = x + round_to_integer, f = x - (shifted - round_to_integer);
    float p = 0.00015345811f;
    p = p * f + 0.0013399931f;
    p = p * f + 0.009618489f;
    p = p * f + 0.055503286f;
    p = p * f + 0.24022646f;
    p = p * f + 0.6931472f;
    p = p * f + 1.0f;
    return p * from_bits(to_bits(shifted) << 23); /* NaN stays NaN, whatever its bits */
}

/* 1 / (1 + exp(-1.702 x)) */
static inline float quick_sigmoid(float x)
{
    float exponent = -2.45546696f * x;
    exponent = exponent > 126.0f ? 126.0f : exponent;
    return 1.0f / (1.0f + power_of_two(exponent));
}

static float softmax_f32(float *row, int64_t count, float scale)
{
    float factor = scale * 1.442695041f, offset = factor * maximum(row, count), sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) {
        float e = power_of_two(factor * row[i] - offset);
        row[i] = e;
        sum += e;
    }
    return 1.0f / sum;
}

static float softmax_bf16(const float *row, int64_t count, float scale, uint16_t *out)
{
    float factor = scale * 1.442695041f, offset = factor * maximum(row, count), sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) {
        uint16_t e = round_to_bf16(power_of_two(factor * row[i] - offset));
        out[i] = e;
        sum += from_bits((uint32_t)e << 16);
    }
    return 1.0f / sum;
}

static void scale_f32(const float *x, int64_t count, float factor, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = factor * x[i];
}

static void scale_bf16(const float *x, int64_t count, float factor, uint16_t *y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = round_to_bf16(factor * x[i]);
}

static void widen_bf16(const uint16_t *x, int64_t count, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = from_bits((uint32_t)x[i] << 16);
}

/*
 * The exponent moves by multiplying with 2^112, which also handles subnormals; infinities and NaN
 * need their exponent restored.
 */
static void widen_f16(const uint16_t *x, int64_t count, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = x[i], sign = (bits & 0x8000) << 16, rest = bits & 0x7fff;
        uint32_t scaled = to_bits(from_bits(rest << 13) * 0x1p112f);
        y[i] = from_bits(sign | (rest >= 0x7c00 ? scaled | 0x7f800000 : scaled));
    }
}

static void add(const float *x, int64_t count, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

static void add_scaled(const float *x, int64_t count, float factor, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] += factor * x[i];
}

static float dot(const float *x, const float *y, int64_t count)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

/*
 * x * Phi(x) = max(x, 0) - |x| * erfc(z) / 2 with z = |x| / sqrt(2): nothing cancels in the tail.
 * erfc(z) = e^(-z^2) * t * q(t), t = 1 / (1 + 0.38 z); q is a least-squares fit of the relative
 * error over z in [0, 9.4], which stays below 2.4e-8.
 */
static inline float gelu(float x)
{
    float magnitude = fabsf(x), z = magnitude * 0.70710678f;
    float t = 1.0f / (1.0f + 0.38f * z);
    float q = 0.05965707f;
    q = q * t - 0.26561034f;
    q = q * t + 0.37067521f;
    q = q * t - 0.16916504f;
    q = q * t + 0.23527595f;
    q = q * t + 0.13644919f;
    q = q * t + 0.20445911f;
    q = q * t + 0.21384356f;
    q = q * t + 0.2144153f;
    return larger(x, 0.0f) - 0.5f * magnitude * exponential(-z * z) * t * q;
}

static void activate(float *x, int64_t count, aac_activation activation, float slope)
{
    switch (activation) {
    case AAC_ACTIVATION_NONE:
        break;
    case AAC_ACTIVATION_QUICK_GELU:
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            x[i] = x[i] * quick_sigmoid(x[i]);
        break;
    case AAC_ACTIVATION_GELU:
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            x[i] = gelu(x[i]);
        break;
    case AAC_ACTIVATION_LEAKY_RELU:
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            x[i] = x[i] < 0 ? slope * x[i] : x[i];
        break;
    }
}

static void layer_norm(const float *x, int64_t count, float epsilon, const float *gain,
                       const float *bias, float *y)
{
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += x[i];
    float mean = sum / (float)count;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < count; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    float factor = 1.0f / sqrtf(squares / (float)count + epsilon);
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = (x[i] - mean) * factor * gain[i] + bias[i];
}

static void blend(const float *x, const float *a, int64_t count, float weight, float *y)
{
    float aa = dot(a, a, count), xx = dot(x, x, count);
    float factor = aa > 0 ? weight * sqrtf(xx) / sqrtf(aa) : 0.0f;
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = factor * a[i] + (1.0f - weight) * x[i];
}

/* The derivative of x * Phi(x) is Phi(x) + x * phi(x). */
static inline float gelu_slope(float x)
{
    float magnitude = fabsf(x), z = magnitude * 0.70710678f;
    float normal = 0.39894228f * exponential(-z * z);
    float share = magnitude > 1e-6f ? gelu(magnitude) / magnitude : 0.5f; /* Phi(|x|) */
    return (x < 0 ? 1.0f - share : share) + x * normal;
}

static void activate_backward(const float *x, const float *dy, int64_t count,
                              aac_activation activation, float slope, float *y)
{
    switch (activation) {
    case AAC_ACTIVATION_NONE:
        if (y != dy)
            memcpy(y, dy, (size_t)count * sizeof *y);
        break;
    case AAC_ACTIVATION_QUICK_GELU:
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            float sigmoid = quick_sigmoid(x[i]);
            y[i] = dy[i] * (sigmoid + 1.702f * x[i] * sigmoid * (1.0f - sigmoid));
        }
        break;
    case AAC_ACTIVATION_GELU:
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            y[i] = dy[i] * gelu_slope(x[i]);
        break;
    case AAC_ACTIVATION_LEAKY_RELU:
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            y[i] = x[i] > 0 ? dy[i] : slope * dy[i]; /* at 0 as in PyTorch */
        break;
    }
}

static void layer_norm_backward(const float *x, const float *dy, int64_t count, float epsilon,
                                const float *gain, float *y)
{
    float total = 0, squares = 0, sum = 0, product = 0, columns = (float)count;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < count; i++)
        total += x[i];
    float mean = total / columns;
#pragma omp simd reduction(+ : squares, sum, product)
    for (int64_t i = 0; i < count; i++) {
        float centred = x[i] - mean, g = gain[i] * dy[i];
        squares += centred * centred;
        sum += g;
        product += g * centred;
    }
    float factor = 1.0f / sqrtf(squares / columns + epsilon);
    float offset = sum / columns, correction = product / columns * factor * factor;
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] += factor * (gain[i] * dy[i] - offset - (x[i] - mean) * correction);
}

static void blend_backward(const float *x, const float *a, const float *dy, int64_t count,
                           float weight, float *y, float *da)
{
    float x_norm = sqrtf(dot(x, x, count)), aa = dot(a, a, count), product = dot(a, dy, count);
    float a_norm = sqrtf(aa);
    bool directed = aa > 0;
    float ratio = directed ? weight * x_norm / a_norm : 0.0f;
    float turn = directed ? product / aa : 0.0f;
    float pull = directed && x_norm > 0 ? weight * product / a_norm / x_norm : 0.0f;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float gradient = dy[i];
        da[i] = ratio * (gradient - turn * a[i]);
        y[i] = (1.0f - weight) * gradient + pull * x[i];
    }
}

static void normalize_backward(const float *x, const float *dy, int64_t count, float factor,
                               float *y)
{
    float norm = sqrtf(dot(x, x, count)), along = dot(x, dy, count);
    float turn = norm > 1e-12f ? along / norm / norm : 0.0f;
    factor = factor / (norm > 1e-12f ? norm : 1e-12f);
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = factor * (dy[i] - turn * x[i]);
}

static void softmax_backward(float *e, const float *dp, int64_t count, float inverse, float scale,
                             float expected, float *out)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float p = inverse * e[i];
        e[i] = p;
        out[i] = scale * p * (dp[i] - expected);
    }
}

static void adam(float *y, const float *gradient, int64_t count, const aac_adam_step *step)
{
    double first_share = 1 - pow(step->beta1, (double)step->step);
    double second_share = 1 - pow(step->beta2, (double)step->step);
    float beta1 = (float)step->beta1, beta2 = (float)step->beta2, epsilon = (float)step->epsilon;
    float rest1 = (float)(1 - step->beta1), rest2 = (float)(1 - step->beta2);
    float rate = (float)(step->rate / first_share), root = (float)sqrt(second_share);
    float *first = step->first_moment, *second = step->second_moment;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float m = beta1 * first[i] + rest1 * gradient[i];
        float v = beta2 * second[i] + rest2 * gradient[i] * gradient[i];
        first[i] = m;
        second[i] = v;
        y[i] -= rate * m / (sqrtf(v) / root + epsilon);
    }
}

const aac_kernels AAC_KERNELS = {
    .softmax_f32 = softmax_f32,
    .softmax_bf16 = softmax_bf16,
    .scale_f32 = scale_f32,
    .scale_bf16 = scale_bf16,
    .widen_bf16 = widen_bf16,
    .widen_f16 = widen_f16,
    .add = add,
    .add_scaled = add_scaled,
    .dot = dot,
    .activate = activate,
    .layer_norm = layer_norm,
    .blend = blend,
    .activate_backward = activate_backward,
    .layer_norm_backward = layer_norm_backward,
    .blend_backward = blend_backward,
    .normalize_backward = normalize_backward,
    .softmax_backward = softmax_backward,
    .adam = adam,
};
