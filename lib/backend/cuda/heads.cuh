/* Where the heads of an attention operation lie in its rows. */
#ifndef AAC_BACKEND_CUDA_HEADS_CUH
#define AAC_BACKEND_CUDA_HEADS_CUH

#include "backend/cuda/kernels.cuh"

typedef struct head_shape {
    int heads, size;
    int stride;   /* of a row of x, in elements */
    int k, v;     /* where they begin in a row of x */
    int64_t rows; /* of all sequences, or of the tree */
    bool causal;
    float scale;
} head_shape;

static inline head_shape shape_of(const aac_op_desc *desc)
{
    int heads = (int)desc->attention.heads, size = (int)desc->attention.head_size;
    int width = heads * size;
    bool value = desc->attention.kind == AAC_ATTENTION_VALUE; /* x holds v alone */
    head_shape shape = {heads,
                        size,
                        value ? width : 3 * width,
                        value ? 0 : width,
                        value ? 0 : 2 * width,
                        desc->attention.rows,
                        desc->attention.kind == AAC_ATTENTION_CAUSAL,
                        1.0f / sqrtf((float)size)};
    return shape;
}

#define LOG2_E 1.44269504088896341f

/* State of a query and head for the gradients, (heads, rows): log-sum-exp (to base 2, except in
 * attention.cu) and dy . out. */
typedef struct row_state {
    float log_sum, along;
} row_state;

/* Sequences with heads of 64: bfloat16 (forward also float16) in flash_attention.cu and
 * flash_attention_backward.cu, float32 in flash_attention_f32.cu and
 * flash_attention_f32_backward.cu. */
int aac_cuda_flash_attention(const aac_op_desc *desc, const aac_op_args *args);
int aac_cuda_flash_attention_f32(const aac_op_desc *desc, const aac_op_args *args);
int aac_cuda_flash_attention_backward(const aac_op_desc *desc, const aac_op_args *args,
                                      row_state *states);
int aac_cuda_flash_attention_f32_backward(const aac_op_desc *desc, const aac_op_args *args,
                                          row_state *states);

/* The same on Hopper (aac_cuda_has_groups()) if neither float32 nor causal: group_attention.cu and
 * group_attention_backward.cu; the latter needs args->sums. */
int aac_cuda_group_attention(const aac_op_desc *desc, const aac_op_args *args);
int aac_cuda_group_attention_backward(const aac_op_desc *desc, const aac_op_args *args,
                                      row_state *states);

#endif
