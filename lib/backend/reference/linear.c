/* Linear layers, one dot product after the other. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "backend/reference/reference.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

typedef struct reference_weight {
    aac_weight base;
    const float *matrix; // (outputs, inputs): the file's own memory, or `copy`
    float *copy;
    float *bias; // (outputs)
    float *step; // (outputs) of a quantized weight, whose matrix holds integers; else NULL
    aac_dtype type;
} reference_weight;

void aac_reference_weight_free(aac_weight *base)
{
    reference_weight *weight = (reference_weight *)base;
    if (!base->adopted) {
        aac_free(weight->copy);
        aac_free(weight->bias);
        aac_free(weight->step);
    }
    aac_free(weight);
}

/* A matrix read in place from its file is not saved again. */
void aac_reference_weight_image(const aac_weight *base, aac_weight_image *image)
{
    const reference_weight *weight = (const reference_weight *)base;
    if (base->in_place)
        return;
    size_t outputs = (size_t)base->outputs * sizeof(float);
    snprintf(image->layout, sizeof image->layout, "reference %s %lldx%lld",
             aac_dtype_name(weight->type), (long long)base->outputs, (long long)base->inputs);
    image->pieces[image->count].data = weight->matrix;
    image->pieces[image->count++].size = outputs * (size_t)base->inputs;
    if (base->bias) {
        image->pieces[image->count].data = weight->bias;
        image->pieces[image->count++].size = outputs;
    }
    if (base->quantized) {
        image->pieces[image->count].data = weight->step;
        image->pieces[image->count++].size = outputs;
    }
}

aaclip_status aac_reference_adopt(aac_weight **out, const aac_op_desc *desc,
                                  const aac_weight_image *image)
{
    *out = NULL;
    reference_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    aac_weight_image own = {0};
    weight->type = desc->linear.quantized ? AAC_I8 : desc->linear.x;
    weight->base = (aac_weight){.backend = &aac_backend_reference,
                                .inputs = desc->linear.inputs,
                                .outputs = desc->linear.outputs,
                                .bias = desc->linear.bias,
                                .quantized = desc->linear.quantized,
                                .adopted = true};
    aac_reference_weight_image(&weight->base, &own);
    if (!aac_weight_image_fits(&own, image)) {
        aac_reference_weight_free(&weight->base);
        return AACLIP_OK;
    }
    weight->matrix = image->pieces[0].data;
    weight->bias = desc->linear.bias ? (float *)image->pieces[1].data : NULL;
    weight->step = desc->linear.quantized ? (float *)image->pieces[image->count - 1].data : NULL;
    *out = &weight->base;
    return AACLIP_OK;
}

static float *stack(const aac_tensor *parts, int part_count)
{
    int64_t elements = 0;
    for (int i = 0; i < part_count; i++)
        elements += aac_tensor_elements(&parts[i]);
    float *values = aac_alloc_array((size_t)elements, sizeof *values), *end = values;
    for (int i = 0; values && i < part_count; i++) {
        aac_tensor_to_f32(&parts[i], end);
        end += aac_tensor_elements(&parts[i]);
    }
    return values;
}

/* As described in backend.h; in the same float arithmetic as the fast backends, so that the
 * integers are the same. */
static aaclip_status quantize_matrix(reference_weight *weight)
{
    const float limit = 126;
    int64_t inputs = weight->base.inputs;
    weight->base.quantized = true;
    weight->step = aac_alloc_array((size_t)weight->base.outputs, sizeof *weight->step);
    if (!weight->step)
        return aac_error_memory();
    for (int64_t i = 0; i < weight->base.outputs; i++) {
        float *row = weight->copy + i * inputs, largest = 0;
        for (int64_t j = 0; j < inputs; j++)
            largest = fabsf(row[j]) > largest ? fabsf(row[j]) : largest;
        float inverse = largest > 0 ? fminf(limit / largest, FLT_MAX) : 0;
        weight->step[i] = largest / limit;
        for (int64_t j = 0; j < inputs; j++)
            row[j] = isfinite(row[j]) ? rintf(row[j] * inverse) : NAN;
    }
    return AACLIP_OK;
}

/* The rounded row without its step: q - zero. A row that is not all finite has a step of NaN. */
static double quantize_row(const aac_op_desc *desc, const void *x, int64_t row, double *out)
{
    int64_t inputs = desc->linear.inputs;
    float low = 0, high = 0, taint = 0;
    for (int64_t i = 0; i < inputs; i++) {
        float value = (float)aac_reference_get(x, desc->linear.x, row * inputs + i);
        low = value < low ? value : low;
        high = value > high ? value : high;
        taint = isfinite(value) ? taint : NAN;
    }
    float span = high - low, inverse = span > 0 ? fminf(255.0f / span, FLT_MAX) : 0;
    float zero = rintf(-low * inverse);
    for (int64_t i = 0; i < inputs; i++) {
        float value = (float)aac_reference_get(x, desc->linear.x, row * inputs + i);
        float q = rintf(value * inverse) + zero;
        out[i] = (double)(fminf(fmaxf(q, 0), 255) - zero);
    }
    return (double)(span / 255.0f + taint);
}

static bool is_narrow(aac_dtype type)
{
    return type == AAC_BF16 || type == AAC_F16;
}

static bool usable_in_place(const aac_tensor *part, int part_count, aac_dtype type)
{
    return part_count == 1 && type == AAC_F32 && part->dtype == AAC_F32 &&
           aac_tensor_is_contiguous(part) && (uintptr_t)part->data % sizeof(float) == 0;
}

aaclip_status aac_reference_pack(aac_weight **out, const aac_tensor *parts,
                                 const aac_tensor *bias_parts, int part_count, aac_dtype type,
                                 int threads)
{
    (void)threads;
    *out = NULL;
    reference_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base = (aac_weight){.backend = &aac_backend_reference,
                                .inputs = parts[0].shape[1],
                                .bias = bias_parts != NULL,
                                .in_place = usable_in_place(parts, part_count, type)};
    weight->type = type;
    for (int i = 0; i < part_count; i++)
        weight->base.outputs += parts[i].shape[0];
    if (!weight->base.in_place)
        weight->copy = stack(parts, part_count);
    weight->matrix = weight->copy ? weight->copy : parts[0].data;
    weight->bias = bias_parts ? stack(bias_parts, part_count) : NULL;
    if ((!weight->copy && !weight->base.in_place) || (bias_parts && !weight->bias)) {
        aac_reference_weight_free(&weight->base);
        return aac_error_memory();
    }
    if (type == AAC_I8 && quantize_matrix(weight)) {
        aac_reference_weight_free(&weight->base);
        return aac_error_memory();
    }
    for (int64_t i = 0; is_narrow(type) && i < weight->base.outputs * weight->base.inputs; i++)
        weight->copy[i] = type == AAC_F16 ? aac_f16_to_f32(aac_f32_to_f16(weight->copy[i]))
                                          : aac_bf16_to_f32(aac_f32_to_bf16(weight->copy[i]));
    *out = &weight->base;
    return AACLIP_OK;
}

double aac_reference_activation(double x, aac_activation activation, double slope)
{
    switch (activation) {
    case AAC_ACTIVATION_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case AAC_ACTIVATION_GELU:
        return x * (1 + erf(x / sqrt(2.0))) / 2;
    case AAC_ACTIVATION_LEAKY_RELU:
        return x < 0 ? slope * x : x;
    case AAC_ACTIVATION_NONE:
        break;
    }
    return x;
}

static void finish(const aac_op_desc *desc, double sum, void *y, int64_t at)
{
    sum = aac_reference_activation(sum, desc->linear.activation, (double)desc->linear.slope);
    if (desc->linear.accumulate)
        sum += aac_reference_get(y, desc->linear.y, at);
    aac_reference_set(y, desc->linear.y, at, sum);
}

static void run_quantized_row(const aac_op_desc *desc, const aac_op_args *args, int64_t row,
                              double *integers)
{
    const reference_weight *weight = (const reference_weight *)args->weight;
    int64_t inputs = desc->linear.inputs, outputs = desc->linear.outputs;
    double step = quantize_row(desc, args->x, row, integers);
    for (int64_t column = 0; column < outputs; column++) {
        double sum = 0;
        for (int64_t i = 0; i < inputs; i++)
            sum += integers[i] * (double)weight->matrix[column * inputs + i];
        sum *= step * (double)weight->step[column];
        if (desc->linear.bias)
            sum += (double)weight->bias[column];
        finish(desc, sum, args->y, row * outputs + column);
    }
}

static void run_row(const aac_op_desc *desc, const aac_op_args *args, int64_t row, double *x)
{
    const reference_weight *weight = (const reference_weight *)args->weight;
    int64_t inputs = desc->linear.inputs, outputs = desc->linear.outputs;
    int64_t down = desc->linear.transposed ? 1 : inputs,
            across = desc->linear.transposed ? outputs : 1;
    for (int64_t i = 0; i < inputs; i++)
        x[i] = aac_reference_get(args->x, desc->linear.x, row * inputs + i);
    for (int64_t column = 0; column < outputs; column++) {
        const float *matrix = weight->matrix + column * down;
        double sum = desc->linear.bias ? (double)weight->bias[column] : 0;
        for (int64_t i = 0; i < inputs; i++)
            sum += x[i] * (double)matrix[i * across];
        finish(desc, sum, args->y, row * outputs + column);
    }
}

aaclip_status aac_reference_linear(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    const aac_op_desc *desc = &plan->desc;
#pragma omp parallel for
    for (int64_t row = 0; row < desc->linear.rows; row++) {
        double *x = (double *)scratch + aac_threads_index() * desc->linear.inputs;
        if (desc->linear.quantized)
            run_quantized_row(desc, args, row, x);
        else
            run_row(desc, args, row, x);
    }
    return AACLIP_OK;
}
