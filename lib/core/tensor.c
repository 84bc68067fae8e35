#include "core/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [AAC_F32] = {"float32", 4}, [AAC_F16] = {"float16", 2}, [AAC_BF16] = {"bfloat16", 2},
    [AAC_F64] = {"float64", 8}, [AAC_BOOL] = {"bool", 1},   [AAC_U8] = {"uint8", 1},
    [AAC_I8] = {"int8", 1},     [AAC_I16] = {"int16", 2},   [AAC_I32] = {"int32", 4},
    [AAC_I64] = {"int64", 8},
};

size_t aac_dtype_size(aac_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *aac_dtype_name(aac_dtype dtype)
{
    return dtypes[dtype].name;
}

bool aac_dtype_is_floating(aac_dtype dtype)
{
    return dtype == AAC_F32 || dtype == AAC_F16 || dtype == AAC_BF16 || dtype == AAC_F64;
}

int64_t aac_tensor_elements(const aac_tensor *tensor)
{
    int64_t elements = 1;
    for (int i = 0; i < tensor->rank; i++)
        elements *= tensor->shape[i];
    return elements;
}

bool aac_tensor_is_contiguous(const aac_tensor *tensor)
{
    int64_t expected = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->stride[i] != expected)
            return false;
        expected *= tensor->shape[i];
    }
    return true;
}

aac_tensor aac_tensor_transposed(const aac_tensor *matrix)
{
    aac_tensor transposed = *matrix;
    transposed.shape[0] = matrix->shape[1];
    transposed.shape[1] = matrix->shape[0];
    transposed.stride[0] = matrix->stride[1];
    transposed.stride[1] = matrix->stride[0];
    return transposed;
}

const char *aac_shape_text(char *text, const int64_t *shape, int rank)
{
    size_t used = 0;
    snprintf(text, AAC_SHAPE_TEXT, "scalar");
    for (int i = 0; i < rank && used < AAC_SHAPE_TEXT; i++)
        used += (size_t)snprintf(text + used, AAC_SHAPE_TEXT - used, i ? "x%lld" : "%lld",
                                 (long long)shape[i]);
    return text;
}

static float bits_to_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t f32_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float aac_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    if (exponent == 31)
        return bits_to_f32(sign | 0x7f800000 | mantissa << 13);
    if (exponent)
        return bits_to_f32(sign | (exponent + 112) << 23 | mantissa << 13);
    float magnitude = (float)mantissa * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

float aac_bf16_to_f32(uint16_t bits)
{
    return bits_to_f32((uint32_t)bits << 16);
}

uint16_t aac_f32_to_bf16(float value)
{
    uint32_t bits = f32_to_bits(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t aac_f32_to_f16(float value)
{
    uint32_t bits = f32_to_bits(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* below 2^-14: the addition rounds to a multiple of 2^-24 */
        float rounded = bits_to_f32(magnitude) + 0.5f;
        return (uint16_t)(sign | (f32_to_bits(rounded) - 0x3f000000));
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

static float element_to_f32(const unsigned char *at, aac_dtype dtype)
{
    union {
        float f32;
        double f64;
        uint16_t u16;
        int16_t i16;
        int32_t i32;
        int64_t i64;
    } value;
    switch (dtype) {
    case AAC_F32:
        memcpy(&value.f32, at, 4);
        return value.f32;
    case AAC_F16:
        memcpy(&value.u16, at, 2);
        return aac_f16_to_f32(value.u16);
    case AAC_BF16:
        memcpy(&value.u16, at, 2);
        return aac_bf16_to_f32(value.u16);
    case AAC_F64:
        memcpy(&value.f64, at, 8);
        return (float)value.f64;
    case AAC_BOOL:
    case AAC_U8:
        return (float)*at;
    case AAC_I8:
        return (float)(signed char)*at;
    case AAC_I16:
        memcpy(&value.i16, at, 2);
        return (float)value.i16;
    case AAC_I32:
        memcpy(&value.i32, at, 4);
        return (float)value.i32;
    case AAC_I64:
        memcpy(&value.i64, at, 8);
        return (float)value.i64;
    }
    return 0;
}

static void copy_dimension(const aac_tensor *tensor, int dimension, const unsigned char *at,
                           float **out)
{
    if (dimension == tensor->rank) {
        *(*out)++ = element_to_f32(at, tensor->dtype);
        return;
    }
    int64_t step = tensor->stride[dimension] * (int64_t)aac_dtype_size(tensor->dtype);
    for (int64_t i = 0; i < tensor->shape[dimension]; i++)
        copy_dimension(tensor, dimension + 1, at + i * step, out);
}

void aac_tensor_to_f32(const aac_tensor *tensor, float *out)
{
    if (tensor->dtype == AAC_F32 && aac_tensor_is_contiguous(tensor))
        memcpy(out, tensor->data, (size_t)aac_tensor_elements(tensor) * sizeof *out);
    else if (aac_tensor_elements(tensor)) /* else the other dimensions may have any size */
        copy_dimension(tensor, 0, tensor->data, &out);
}

void aac_tensor_rows_to_f32(const aac_tensor *tensor, int64_t first, int64_t count, float *out)
{
    aac_tensor rows = *tensor;
    rows.shape[0] = count;
    rows.data = (const char *)tensor->data +
                first * tensor->stride[0] * (int64_t)aac_dtype_size(tensor->dtype);
    aac_tensor_to_f32(&rows, out);
}
