#include "backend/simd/quantized.h"

#include <string.h>

#include "backend/simd/stack.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

#define ROWS ((int64_t)256)

void aac_quantized_channels_clear(aac_quantized_channels *channels)
{
    aac_free(channels->step);
    aac_free(channels->sum);
    aac_free(channels->bias);
    *channels = (aac_quantized_channels){0};
}

/* Rows [first, first + count) of a part. */
static aac_tensor slice(const aac_tensor *part, int64_t first, int64_t count)
{
    aac_tensor rows = *part;
    rows.shape[0] = count;
    rows.data =
        (const char *)part->data + first * part->stride[0] * (int64_t)aac_dtype_size(part->dtype);
    return rows;
}

/* A few rows at a time, so that the matrix never exists as floats. */
static void quantize_part(const aac_quantized_channels *channels, int8_t *values,
                          const aac_tensor *part, int64_t output, int32_t limit, float *floats)
{
    const aac_quantized_kernels *kernels = aac_quantized_kernels_get();
    int64_t inputs = part->shape[1];
    for (int64_t first = 0; first < part->shape[0]; first += ROWS) {
        int64_t count = part->shape[0] - first < ROWS ? part->shape[0] - first : ROWS;
        const aac_tensor rows = slice(part, first, count);
        aac_stack_rows(&rows, 1, floats);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < count; i++) {
            int64_t at = output + first + i;
            kernels->quantize_channel(floats + i * inputs, inputs, limit, values + at * inputs,
                                      &channels->step[at], &channels->sum[at]);
        }
    }
}

aaclip_status aac_quantize_matrix(aac_quantized_channels *channels, int8_t **values,
                                  const aac_tensor *parts, const aac_tensor *bias_parts,
                                  int part_count, int32_t limit)
{
    int64_t outputs = 0, inputs = parts[0].shape[1];
    for (int i = 0; i < part_count; i++)
        outputs += parts[i].shape[0];
    size_t rows = (size_t)outputs, elements = (size_t)(outputs * inputs);
    float *floats = aac_alloc_array((size_t)(ROWS * inputs), sizeof *floats);
    *values = aac_alloc(elements);
    *channels = (aac_quantized_channels){
        .step = aac_alloc_array(rows, sizeof(float)),
        .sum = aac_alloc_array(rows, sizeof(int32_t)),
        .bias = bias_parts ? aac_alloc_array(rows, sizeof(float)) : NULL,
    };
    bool done =
        floats && *values && channels->step && channels->sum && (!bias_parts || channels->bias);
    if (done) {
        for (int64_t i = 0, output = 0; i < part_count; output += parts[i++].shape[0])
            quantize_part(channels, *values, &parts[i], output, limit, floats);
        if (bias_parts)
            aac_stack_rows(bias_parts, part_count, channels->bias);
    } else {
        aac_quantized_channels_clear(channels);
        aac_free(*values);
        *values = NULL;
    }
    aac_free(floats);
    return done ? AACLIP_OK : aac_error_memory();
}

void aac_quantize_rows(const aac_op_desc *desc, const void *x, const aac_quantized_rows *rows,
                       char *buffers, size_t thread_bytes)
{
    const aac_kernels *kernels = aac_kernels_get();
    const aac_quantized_kernels *quantized = aac_quantized_kernels_get();
    const aac_narrow_kernels *narrow = aac_narrow_kernels_get();
    int64_t inputs = desc->linear.inputs;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < desc->linear.rows; i++) {
        const float *row = (const float *)x + i * inputs;
        const uint16_t *narrow_row = (const uint16_t *)x + i * inputs;
        float *wide = (float *)(buffers + (size_t)aac_threads_index() * thread_bytes);
        uint8_t *values = rows->values + i * rows->stride;
        if (desc->linear.x == AAC_BF16 && narrow) {
            narrow->quantize_bf16(narrow_row, inputs, values, &rows->steps[i], &rows->zeros[i]);
        } else if (desc->linear.x == AAC_BF16) {
            kernels->widen_bf16(narrow_row, inputs, wide);
            quantized->quantize_row(wide, inputs, values, &rows->steps[i], &rows->zeros[i]);
        } else {
            quantized->quantize_row(row, inputs, values, &rows->steps[i], &rows->zeros[i]);
        }
        memset(values + inputs, 0, (size_t)(rows->stride - inputs));
    }
}

void aac_quantized_finish(const aac_op_desc *desc, const aac_quantized_channels *channels,
                          int64_t output, int64_t count, aac_quantized_sums *sums, void *y,
                          float *buffer)
{
    const aac_kernels *kernels = aac_kernels_get();
    const aac_narrow_kernels *narrow_kernels = aac_narrow_kernels_get();
    aac_activation activation = desc->linear.activation;
    bool narrow = desc->linear.y == AAC_BF16;
    float *values = narrow ? buffer : y;
    sums->channel_steps = channels->step + output;
    sums->channel_sums = channels->sum + output;
    sums->bias = desc->linear.bias ? channels->bias + output : NULL;
    if (narrow_kernels && narrow &&
        (activation == AAC_ACTIVATION_NONE || activation == AAC_ACTIVATION_QUICK_GELU)) {
        narrow_kernels->restore_bf16(sums, count, activation == AAC_ACTIVATION_QUICK_GELU, y);
        return;
    }
    aac_quantized_kernels_get()->restore_sums(sums, count, desc->linear.accumulate, values);
    kernels->activate(values, count, activation, desc->linear.slope);
    if (narrow)
        kernels->scale_bf16(values, count, 1.0f, y);
}

int aac_quantized_image(const aac_quantized_channels *channels, const aac_weight *weight, int first,
                        aac_weight_image *image)
{
    const void *const vectors[] = {channels->step, channels->sum, channels->bias};
    int count = weight->bias ? 3 : 2;
    for (int i = 0; i < count; i++) {
        image->pieces[first + i].data = vectors[i];
        image->pieces[first + i].size = (size_t)weight->outputs * sizeof(float);
    }
    return count;
}

/* A larger sum could overflow when multiplied by a row's zero point. */
static bool sums_are_possible(const int32_t *sums, int64_t outputs, int64_t inputs)
{
    int64_t most = inputs * AAC_QUANTIZED_LIMIT;
    bool possible = true;
    for (int64_t i = 0; possible && i < outputs; i++)
        possible = sums[i] >= -most && sums[i] <= most;
    return possible;
}

bool aac_quantized_channels_adopt(aac_quantized_channels *channels, const aac_weight *weight,
                                  int first, const aac_weight_image *image)
{
    *channels = (aac_quantized_channels){
        .step = (float *)image->pieces[first].data,
        .sum = (int32_t *)image->pieces[first + 1].data,
        .bias = weight->bias ? (float *)image->pieces[first + 2].data : NULL,
    };
    return sums_are_possible(channels->sum, weight->outputs, weight->inputs);
}

aac_weight aac_quantized_packed(const aac_backend *backend, const aac_tensor *parts,
                                const aac_tensor *bias_parts, int part_count)
{
    aac_weight weight = {.backend = backend,
                         .inputs = parts[0].shape[1],
                         .bias = bias_parts != NULL,
                         .quantized = true};
    for (int i = 0; i < part_count; i++)
        weight.outputs += parts[i].shape[0];
    return weight;
}

aac_weight aac_quantized_adopted(const aac_backend *backend, const aac_op_desc *desc)
{
    return (aac_weight){.backend = backend,
                        .inputs = desc->linear.inputs,
                        .outputs = desc->linear.outputs,
                        .bias = desc->linear.bias,
                        .quantized = true,
                        .adopted = true};
}
