/*
 * Packed weights exported as bytes and adopted from a copy: the same product bit for bit; refused
 * if a byte of the description, a size or the alignment differs.
 */
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

static void fill(float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = random_value();
}

/* One layer, and a weight for it. */
typedef struct layer {
    const aac_backend *backend;
    aac_op_desc desc;
    float *matrix, *bias, *x; // (outputs, inputs), (outputs), (rows, inputs)
    uint16_t *narrow;         // x as bfloat16
    aac_weight *weight;
} layer;

static aac_dtype packed_type(const layer *own)
{
    return own->desc.linear.quantized ? AAC_I8 : own->desc.linear.x;
}

/* The matrix lies transposed, so that every backend makes a copy of it. */
static void open_layer(layer *own)
{
    int64_t inputs = own->desc.linear.inputs, outputs = own->desc.linear.outputs;
    int64_t values = own->desc.linear.rows * inputs;
    own->matrix = aac_alloc_array((size_t)(outputs * inputs), sizeof(float));
    own->bias = aac_alloc_array((size_t)outputs, sizeof(float));
    own->x = aac_alloc_array((size_t)values, sizeof(float));
    own->narrow = aac_alloc_array((size_t)values, sizeof(uint16_t));
    assert_true(own->matrix && own->bias && own->x && own->narrow);
    fill(own->matrix, outputs * inputs);
    fill(own->bias, outputs);
    fill(own->x, values);
    for (int64_t i = 0; i < values; i++)
        own->narrow[i] = aac_f32_to_bf16(own->x[i]);
    const aac_tensor matrix = {"w",          AAC_F32,     2,    {outputs, inputs},
                               {1, outputs}, own->matrix, false};
    const aac_tensor bias = {"b", AAC_F32, 1, {outputs}, {1}, own->bias, false};
    assert_int_equal(own->backend->pack(&own->weight, &matrix, own->desc.linear.bias ? &bias : NULL,
                                        1, packed_type(own), 2),
                     0);
}

static void close_layer(layer *own)
{
    aac_weight_free(&own->weight);
    aac_free(own->matrix);
    aac_free(own->bias);
    aac_free(own->x);
    aac_free(own->narrow);
}

static float *product(const layer *own, const aac_weight *weight)
{
    aac_plan *plan = NULL;
    bool narrow = own->desc.linear.x == AAC_BF16;
    assert_int_equal(own->backend->plan(&plan, &own->desc, 2), 0);
    float *y = aac_calloc((size_t)(own->desc.linear.rows * own->desc.linear.outputs), sizeof *y);
    void *scratch = aac_alloc(plan->scratch);
    assert_true(y && scratch);
    const aac_op_args args = {.x = narrow ? (void *)own->narrow : own->x, .y = y, .weight = weight};
    assert_int_equal(aac_run(plan, &args, scratch), 0);
    aac_free(scratch);
    aac_plan_free(&plan);
    return y;
}

static void must_refuse(const layer *own, const aac_weight_image *image)
{
    aac_weight *weight = own->weight;
    assert_int_equal(own->backend->adopt(&weight, &own->desc, image), AACLIP_OK);
    assert_null(weight);
}

static void check_refusals(const layer *own, const aac_weight_image *image)
{
    for (size_t i = 0; i < strlen(image->layout); i++) {
        aac_weight_image other = *image;
        other.layout[i] = '~';
        must_refuse(own, &other);
    }
    for (int i = 0; i < image->count; i++) {
        aac_weight_image other = *image;
        other.pieces[i].size--;
        must_refuse(own, &other);
        other.pieces[i].size += 1 + AAC_ALIGNMENT; /* padding is less */
        must_refuse(own, &other);
        other = *image;
        other.pieces[i].data = (const char *)other.pieces[i].data + 4;
        must_refuse(own, &other);
    }
    aac_weight_image other = *image;
    other.count--;
    must_refuse(own, &other);
    other = *image;
    other.layout[0] = '\0';
    must_refuse(own, &other);
    layer wider = *own;
    wider.desc.linear.outputs++;
    must_refuse(&wider, image);
    wider.desc.linear.bias = !wider.desc.linear.bias;
    must_refuse(&wider, image);
}

static void check_layer(layer *own)
{
    aac_weight_image image;
    void *copies[AAC_WEIGHT_PIECES] = {NULL};
    open_layer(own);
    assert_true(aac_weight_get_image(own->weight, &image));
    for (int i = 0; i < image.count; i++) {
        copies[i] = aac_alloc(image.pieces[i].size);
        assert_non_null(copies[i]);
        image.pieces[i].data = memcpy(copies[i], image.pieces[i].data, image.pieces[i].size);
    }
    check_refusals(own, &image);
    float *expected = product(own, own->weight);
    aac_weight_free(&own->weight);
    assert_int_equal(own->backend->adopt(&own->weight, &own->desc, &image), AACLIP_OK);
    assert_non_null(own->weight);
    float *found = product(own, own->weight);
    assert_memory_equal(expected, found,
                        (size_t)(own->desc.linear.rows * own->desc.linear.outputs) * sizeof *found);
    aac_free(expected);
    aac_free(found);
    close_layer(own);
    for (int i = 0; i < image.count; i++)
        aac_free(copies[i]);
}

static void check_shapes(const aac_backend *backend, aac_dtype type, bool quantized)
{
    const int64_t shapes[][2] = {{64, 48}, {37, 5}, {96, 256}, {33, 300}, {128, 512}};
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        layer own = {.backend = backend,
                     .desc = {.op = AAC_OP_LINEAR,
                              .linear = {.rows = 19,
                                         .inputs = shapes[i / 2][0],
                                         .outputs = shapes[i / 2][1],
                                         .x = type,
                                         .y = AAC_F32,
                                         .bias = i % 2,
                                         .quantized = quantized}}};
        if (!backend->supports(&own.desc)) {
            print_message("%s has no %s\n", backend->name, aac_dtype_name(type));
            return;
        }
        check_layer(&own);
    }
}

static void weights_live_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < aac_backend_count(); i++) {
        const aac_backend *backend = aac_backend_at(i);
        if (!backend->available() || !backend->adopt) {
            print_message("%s adopts no weights here\n", backend->name);
            continue;
        }
        check_shapes(backend, AAC_F32, false);
        check_shapes(backend, AAC_BF16, false);
        check_shapes(backend, AAC_F32, true);
    }
}

/* Sums that no integers have would overflow. */
static void impossible_sums_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < aac_backend_count(); i++) {
        layer own = {
            .backend = aac_backend_at(i),
            .desc = {.op = AAC_OP_LINEAR,
                     .linear = {.rows = 1, .inputs = 40, .outputs = 8, .quantized = true}}};
        aac_weight_image image;
        if (own.backend == &aac_backend_reference || !own.backend->available() ||
            !own.backend->adopt || !own.backend->supports(&own.desc))
            continue; /* the reference has no sums */
        open_layer(&own);
        assert_true(aac_weight_get_image(own.weight, &image));
        int32_t *sums = aac_alloc(image.pieces[2].size);
        assert_non_null(sums);
        for (int j = 0; j < 8; j++) {
            memcpy(sums, image.pieces[2].data, image.pieces[2].size);
            aac_weight_image other = image;
            other.pieces[2].data = sums;
            sums[j] = INT32_MIN;
            must_refuse(&own, &other);
            sums[j] = 40 * 126 + 1;
            must_refuse(&own, &other);
        }
        aac_free(sums);
        close_layer(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_live_on),
        cmocka_unit_test(impossible_sums_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
