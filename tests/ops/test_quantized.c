/*
 * What test_backends cannot check about 8-bit integer products, as its weights are rounded alike by
 * every backend: the deviation from the float product for arbitrary weights, sums at the limits of
 * the instructions, non-finite rows, parts of any layout.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "core/memory.h"

static uint32_t random_state = 1;

static float random_value(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / (float)(1 << 23) - 1.0f;
}

static float *made(int64_t count, float (*value)(void))
{
    float *values = aac_alloc_array((size_t)count, sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++)
        values[i] = value();
    return values;
}

static float one(void)
{
    return 1;
}

/* Of about normal distribution: weights and activations have tails. */
static float random_normal(void)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += random_value();
    return sum / 2;
}

static bool multiplies(const aac_backend *backend, const aac_op_desc *desc)
{
    return backend->available() && backend->supports(desc);
}

/* x as bfloat16, which keeps the upper half of its bits, in x, too; for aac_free. */
static uint16_t *narrowed(float *x, int64_t count)
{
    uint16_t *values = aac_alloc_array((size_t)count, sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0xFFFF0000u;
        values[i] = (uint16_t)(bits >> 16);
        memcpy(&x[i], &bits, sizeof bits);
    }
    return values;
}

/* y, in float32, of the layer that `desc` describes; for aac_free. */
static float *product(const aac_backend *backend, const aac_op_desc *desc, const void *x,
                      const aac_tensor *matrix)
{
    aac_plan *plan = NULL;
    aac_weight *weight = NULL;
    aac_dtype type = desc->linear.quantized ? AAC_I8 : AAC_F32;
    assert_int_equal(backend->plan(&plan, desc, 2), 0);
    assert_int_equal(backend->pack(&weight, matrix, NULL, 1, type, 2), 0);
    assert_int_equal(weight->quantized, desc->linear.quantized);
    float *y = made(desc->linear.rows * desc->linear.outputs, one);
    void *scratch = aac_alloc(plan->scratch);
    assert_non_null(scratch);
    const aac_op_args args = {.x = x, .y = y, .weight = weight};
    assert_int_equal(aac_run(plan, &args, scratch), 0);
    aac_free(scratch);
    aac_weight_free(&weight);
    aac_plan_free(&plan);
    return y;
}

static aac_op_desc layer(int64_t rows, int64_t inputs, int64_t outputs)
{
    return (aac_op_desc){
        .op = AAC_OP_LINEAR,
        .linear = {.rows = rows, .inputs = inputs, .outputs = outputs, .quantized = true}};
}

static aac_tensor matrix_of(const float *values, int64_t outputs, int64_t inputs)
{
    return (aac_tensor){"w", AAC_F32, 2, {outputs, inputs}, {inputs, 1}, values, false};
}

/*
 * Rounding x to 255 steps and w to 126 on each side leaves errors of step / sqrt(12); for normal
 * values the root mean square of the product is about 1 % off, with 63 steps 1.5 %.
 */
static void strays_little(void **state)
{
    (void)state;
    const aac_op_desc desc = layer(70, 512, 300);
    aac_op_desc exact = desc;
    exact.linear.quantized = false;
    float *x = made(70 * 512, random_normal), *w = made(300 * 512, random_normal);
    const aac_tensor matrix = matrix_of(w, 300, 512);
    float *expected = product(&aac_backend_reference, &exact, x, &matrix);
    for (size_t i = 0; i < aac_backend_count(); i++) {
        const aac_backend *backend = aac_backend_at(i);
        if (!multiplies(backend, &desc))
            continue;
        float *y = product(backend, &desc, x, &matrix);
        double errors = 0, squares = 0;
        for (int64_t j = 0; j < 70 * 300; j++) {
            errors += pow((double)(y[j] - expected[j]), 2);
            squares += pow((double)expected[j], 2);
        }
        print_message("%s: off by %.2f %%\n", backend->name, 100 * sqrt(errors / squares));
        assert_true(sqrt(errors / squares) < 0.02);
        assert_true(sqrt(errors / squares) > 1e-3); /* it was computed with integers */
        aac_free(y);
    }
    aac_free(x);
    aac_free(w);
    aac_free(expected);
}

/* The largest integers on both sides: instructions that sum in 16 bits would saturate. */
static void sums_are_exact(void **state)
{
    (void)state;
    const aac_op_desc desc = layer(70, 4096, 300);
    float *x = made(70 * 4096, one), *w = made(300 * 4096, one);
    for (int64_t i = 0; i < 4096; i++)
        w[4096 + i] = -1; /* the second output */
    const aac_tensor matrix = matrix_of(w, 300, 4096);
    for (size_t i = 0; i < aac_backend_count(); i++) {
        if (!multiplies(aac_backend_at(i), &desc))
            continue;
        float *y = product(aac_backend_at(i), &desc, x, &matrix);
        for (int64_t j = 0; j < 70 * 300; j++)
            assert_float_equal(y[j], (j % 300 == 1 ? -4096.0f : 4096.0f), 0.01f);
        aac_free(y);
    }
    aac_free(x);
    aac_free(w);
}

/* A row or a channel that is not finite gives NaN, and no other does. */
static void not_finite_stays(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 6 * aac_backend_count(); i++) {
        const aac_backend *backend = aac_backend_at(i / 6);
        aac_op_desc desc = layer(5, 33, 9);
        desc.linear.x = i / 3 % 2 ? AAC_BF16 : AAC_F32;
        if (!multiplies(backend, &desc))
            continue;
        float *x = made(5 * 33, random_value), *w = made(9 * 33, random_value);
        x[2 * 33 + 32] = w[4 * 33] = bad[i % 3];
        uint16_t *narrow = narrowed(x, 5 * 33);
        const aac_tensor matrix = matrix_of(w, 9, 33);
        float *y = product(backend, &desc, desc.linear.x == AAC_BF16 ? (void *)narrow : x, &matrix);
        for (int64_t j = 0; j < 5 * 9; j++)
            assert_int_equal(isnan(y[j]) != 0, j / 9 == 2 || j % 9 == 4);
        aac_free(narrow);
        aac_free(x);
        aac_free(w);
        aac_free(y);
    }
}

/* Rows of bfloat16 become the integers that the same values in float32 become. */
static void types_are_alike(void **state)
{
    (void)state;
    const int64_t inputs[] = {1, 15, 33, 64, 1000};
    for (size_t i = 0; i < 5 * aac_backend_count(); i++) {
        const aac_backend *backend = aac_backend_at(i / 5);
        const aac_op_desc wide = layer(23, inputs[i % 5], 9);
        aac_op_desc desc = wide;
        desc.linear.x = AAC_BF16;
        if (!multiplies(backend, &wide) || !multiplies(backend, &desc))
            continue;
        int64_t count = 23 * inputs[i % 5];
        float *x = made(count, random_normal), *w = made(9 * inputs[i % 5], random_normal);
        for (int64_t j = 0; j < count; j++) /* rows of one sign, and one of zeros */
            x[j] = j / inputs[i % 5] == 3   ? fabsf(x[j])
                   : j / inputs[i % 5] == 4 ? -fabsf(x[j]) * 1e-30f
                   : j / inputs[i % 5] == 5 ? 0
                                            : x[j];
        uint16_t *narrow = narrowed(x, count);
        const aac_tensor matrix = matrix_of(w, 9, inputs[i % 5]);
        float *expected = product(backend, &wide, x, &matrix);
        float *y = product(backend, &desc, narrow, &matrix);
        assert_memory_equal(y, expected, 23 * 9 * sizeof *y);
        aac_free(narrow);
        aac_free(x);
        aac_free(w);
        aac_free(expected);
        aac_free(y);
    }
}

/* A transposed source of many rows is read like a plain one. */
static void any_layout(void **state)
{
    (void)state;
    const aac_op_desc desc = layer(3, 17, 600);
    float *x = made(3 * 17, random_value), *w = made(600 * 17, random_value);
    float *values = made(600 * 17, one);
    for (int64_t i = 0; i < 600 * 17; i++)
        values[i % 17 * 600 + i / 17] = w[i];
    const aac_tensor plain = matrix_of(w, 600, 17);
    const aac_tensor transposed = {"w", AAC_F32, 2, {600, 17}, {1, 600}, values, false};
    for (size_t i = 0; i < aac_backend_count(); i++) {
        if (!multiplies(aac_backend_at(i), &desc))
            continue;
        float *expected = product(aac_backend_at(i), &desc, x, &plain);
        float *y = product(aac_backend_at(i), &desc, x, &transposed);
        assert_memory_equal(y, expected, 3 * 600 * sizeof *y);
        aac_free(expected);
        aac_free(y);
    }
    aac_free(x);
    aac_free(w);
    aac_free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strays_little),    cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(not_finite_stays), cmocka_unit_test(types_are_alike),
        cmocka_unit_test(any_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
