/*
 * What the files of this backend share. Memory, weights and plans are plain C (cuda.c, linear.c,
 * blaslt.c); the kernels (*.cu) are reached through the functions below, one per operation.
 *
 * Everything runs asynchronously on the calling thread's own stream; memory.copy from or to the
 * host waits, as does memory.finish.
 */
#ifndef AAC_BACKEND_CUDA_CUDA_H
#define AAC_BACKEND_CUDA_CUDA_H

#include "backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AAC_CUDA_LARGEST_HEAD 256

/* Queues an operation; returns 0 or a cudaError_t. */
typedef int (*aac_cuda_launch)(const aac_op_desc *desc, const aac_op_args *args, void *scratch);

int aac_cuda_layer_norm(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_blend(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_normalize(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_convert(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_gather(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_gather_backward(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_activate(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_attention(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_patches(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_similarity(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_anomaly_map(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_layer_norm_backward(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_blend_backward(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_normalize_backward(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_activate_backward(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_similarity_backward(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_attention_backward(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_segmentation_loss(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_classification_loss(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_finite(const aac_op_desc *desc, const aac_op_args *args, void *scratch);
int aac_cuda_adam(const aac_op_desc *desc, const aac_op_args *args, void *scratch);

/* Bytes of scratch that these need; the others need none. */
size_t aac_cuda_segmentation_scratch(const aac_op_desc *desc);
size_t aac_cuda_attention_backward_scratch(const aac_op_desc *desc);

/* Whether an attention plan keeps_sums on the thread's device. */
bool aac_cuda_keeps_sums(const aac_op_desc *desc);

/* y = activation(sums + bias), sums (rows, outputs) float32; bias may be NULL. */
int aac_cuda_epilogue(const aac_op_desc *desc, const float *sums, const float *bias, void *y);
/* values (count) float32 to y in `type` */
int aac_cuda_narrow(const float *values, void *y, int64_t count, aac_dtype type);
/* y = activation(y) of a linear operation */
int aac_cuda_activate_outputs(const aac_op_desc *desc, void *y);

/* blaslt.c: cuBLASLt, looked up at run time. Products belong to the device that they were made on.
 */
typedef struct aac_cuda_product aac_cuda_product;
bool aac_cuda_blaslt_available(void);

/*
 * Row-major d (rows, outputs) float32 or `type` = a b^T with a (rows, inner), b (outputs, inner).
 * tensor_float: a and b, float32, are rounded to TF32. Operands marked transposed are stored
 * transposed: a (inner, rows), b (inner, outputs). accumulate: added to c, which may be d. bias: a
 * vector (outputs) of d's type is added, if cuBLASLt can.
 */
typedef struct aac_cuda_product_shape {
    int64_t rows, outputs, inner;
    aac_dtype type, d;
    bool transposed_a, transposed_b, accumulate, bias, tensor_float;
} aac_cuda_product_shape;

aaclip_status aac_cuda_product_new(aac_cuda_product **product, const aac_cuda_product_shape *shape);
void aac_cuda_product_free(aac_cuda_product *product);
size_t aac_cuda_product_workspace(const aac_cuda_product *product);
bool aac_cuda_product_adds_bias(const aac_cuda_product *product);
/* bias: ignored unless the product adds one; c: ignored unless it accumulates */
aaclip_status aac_cuda_product_run(const aac_cuda_product *product, const void *a, const void *b,
                                   const void *bias, const void *c, void *d, void *workspace);

/* linear.c */
aaclip_status aac_cuda_plan_linear(aac_plan **plan, const aac_op_desc *desc, int threads);
aaclip_status aac_cuda_plan_linear_gradient(aac_plan **plan, const aac_op_desc *desc, int threads);
void aac_cuda_free_linear(aac_plan *plan);
aaclip_status aac_cuda_pack(aac_weight **weight, const aac_tensor *parts,
                            const aac_tensor *bias_parts, int part_count, aac_dtype type,
                            int threads);
aaclip_status aac_cuda_repack(aac_weight *weight, const aac_tensor *parts,
                              const aac_tensor *bias_parts, int part_count, aac_dtype type);
void aac_cuda_weight_free(aac_weight *weight);

/* cuda.c: the calling thread's stream on its device. */
struct CUstream_st *aac_cuda_stream(void);
/* The thread's device: its number of multiprocessors, and whether group_*.cu are compiled for it
 * (compute capability 9.0). */
int aac_cuda_processors(void);
bool aac_cuda_has_groups(void);
aaclip_status aac_cuda_error(const char *what, int error); /* AACLIP_OK for 0 */
void aac_cuda_release(void *memory); /* may be NULL; waits for pending work that uses it */
aaclip_status aac_cuda_upload(void **memory, const void *from, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
