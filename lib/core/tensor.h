/* A read-only view of numbers somewhere in memory, as files describe them. */
#ifndef AAC_CORE_TENSOR_H
#define AAC_CORE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AAC_MAX_RANK 8

typedef enum aac_dtype {
    AAC_F32,
    AAC_F16,
    AAC_BF16,
    AAC_F64,
    AAC_BOOL,
    AAC_U8,
    AAC_I8,
    AAC_I16,
    AAC_I32,
    AAC_I64
} aac_dtype;

size_t aac_dtype_size(aac_dtype dtype);
const char *aac_dtype_name(aac_dtype dtype); /* "float32", "bfloat16", ... */
bool aac_dtype_is_floating(aac_dtype dtype);

typedef struct aac_tensor {
    const char *name; /* owned by the file that the tensor comes from */
    aac_dtype dtype;
    int rank;
    int64_t shape[AAC_MAX_RANK];
    int64_t stride[AAC_MAX_RANK]; /* in elements; may be 0 or in any order */
    const void *data;             /* element [0, 0, ...]; may be unaligned */
    bool mapped;                  /* part of a mapped file, so that its pages may be released */
} aac_tensor;

int64_t aac_tensor_elements(const aac_tensor *tensor);
/* Whether the elements lie in row-major order without gaps. */
bool aac_tensor_is_contiguous(const aac_tensor *tensor);
/* The same matrix with its two dimensions swapped. */
aac_tensor aac_tensor_transposed(const aac_tensor *matrix);
/* "768x1024"; "scalar" for rank 0. `text` holds at least AAC_SHAPE_TEXT bytes. */
#define AAC_SHAPE_TEXT 128
const char *aac_shape_text(char *text, const int64_t *shape, int rank);

/* Row-major float32 copy of all elements, whatever the type and strides. */
void aac_tensor_to_f32(const aac_tensor *tensor, float *out);
/* The same for rows [first, first + count) of dimension 0. */
void aac_tensor_rows_to_f32(const aac_tensor *tensor, int64_t first, int64_t count, float *out);

float aac_f16_to_f32(uint16_t bits);
float aac_bf16_to_f32(uint16_t bits);
uint16_t aac_f32_to_bf16(float value); /* round to nearest even; NaN stays NaN */
uint16_t aac_f32_to_f16(float value);  /* round to nearest even */

#endif
