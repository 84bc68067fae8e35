/* Matrices of 8-bit integers for the backends that multiply them. */
#ifndef AAC_BACKEND_SIMD_QUANTIZED_H
#define AAC_BACKEND_SIMD_QUANTIZED_H

#include "backend/simd/kernels.h"

/* With up to this many inputs, sums of products fit in 32 bits. */
#define AAC_QUANTIZED_INPUTS 65536

/* Largest magnitude of a weight's integer. Where two products are summed in 16 bits, 2 * 255 * 63
 * still fits. It is half the other, so that weights on the coarse grid are also on the fine one. */
#define AAC_QUANTIZED_LIMIT        126
#define AAC_QUANTIZED_COARSE_LIMIT 63

/* What accompanies the integers of a matrix (outputs, inputs). */
typedef struct aac_quantized_channels {
    float *step;  // (outputs)
    int32_t *sum; // (outputs): of the output's integers
    float *bias;  // (outputs) or NULL
} aac_quantized_channels;

/* `parts` and `bias_parts` as for packing; *values (outputs, inputs) is for aac_free. On failure
 * there is nothing to free. Uses all threads. */
aaclip_status aac_quantize_matrix(aac_quantized_channels *channels, int8_t **values,
                                  const aac_tensor *parts, const aac_tensor *bias_parts,
                                  int part_count, int32_t limit);
void aac_quantized_channels_clear(aac_quantized_channels *channels);

/* Rows of x as integers. */
typedef struct aac_quantized_rows {
    uint8_t *values; // (rows, stride)
    int64_t stride;  /* at least the inputs; zeros beyond them */
    float *steps;    // (rows)
    int32_t *zeros;  // (rows)
} aac_quantized_rows;

/* x (rows, inputs) of the operation's type; `buffers` has `inputs` floats per thread,
 * `thread_bytes` apart. Uses all threads. */
void aac_quantize_rows(const aac_op_desc *desc, const void *x, const aac_quantized_rows *rows,
                       char *buffers, size_t thread_bytes);

/* Turns a row's integer products with channels [output, output + count) into floats with bias and
 * activation: y, which is added to if the operation accumulates. `sums` holds the products and the
 * row's step and zero; the rest is filled in here. `buffer` (count). */
void aac_quantized_finish(const aac_op_desc *desc, const aac_quantized_channels *channels,
                          int64_t output, int64_t count, aac_quantized_sums *sums, void *y,
                          float *buffer);

/* Step, sum and bias as the image's pieces from `first` on; returns their number. */
int aac_quantized_image(const aac_quantized_channels *channels, const aac_weight *weight, int first,
                        aac_weight_image *image);
/* The reverse, for pieces of the right sizes: false if a sum is impossible for so many integers. */
bool aac_quantized_channels_adopt(aac_quantized_channels *channels, const aac_weight *weight,
                                  int first, const aac_weight_image *image);
/* The base of a quantized weight: with its own memory; with the caller's. */
aac_weight aac_quantized_packed(const aac_backend *backend, const aac_tensor *parts,
                                const aac_tensor *bias_parts, int part_count);
aac_weight aac_quantized_adopted(const aac_backend *backend, const aac_op_desc *desc);

#endif
