/* What the files of this backend share. */
#ifndef AAC_BACKEND_SIMD_SIMD_H
#define AAC_BACKEND_SIMD_SIMD_H

#include "backend/simd/kernels.h"
#include "core/threads.h"

typedef struct aac_simd_plan {
    aac_plan base;
    const aac_kernels *kernels;
    const aac_block_kernels *blocks;
    const aac_narrow_kernels *narrow; /* NULL if the processor has none */
    size_t thread_scratch;            /* bytes of scratch per thread */
} aac_simd_plan;

/* The calling thread's part of the scratch memory. */
static inline float *aac_simd_buffer(const aac_simd_plan *plan, void *scratch)
{
    return (float *)((char *)scratch + (size_t)aac_threads_index() * plan->thread_scratch);
}

/*
 * run(context, group, index) for `count` tasks of each of `groups`, in parallel. A thread begins
 * with its own share of the groups, the same in every operation, so that the rows of the previous
 * operation are still in its caches; then it helps with the others' shares.
 */
typedef void aac_simd_task(const void *context, int64_t group, int64_t index);
void aac_simd_share_out(int threads, int64_t groups, int64_t count, aac_simd_task *run,
                        const void *context);

aaclip_status aac_simd_layer_norm(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_attention(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_blend(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_normalize(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_convert(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_gather(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_patches(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_similarity(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_anomaly_map(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_activate(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_activate_backward(const aac_plan *base, const aac_op_args *args,
                                         void *scratch);
aaclip_status aac_simd_layer_norm_backward(const aac_plan *base, const aac_op_args *args,
                                           void *scratch);
aaclip_status aac_simd_attention_backward(const aac_plan *base, const aac_op_args *args,
                                          void *scratch);
aaclip_status aac_simd_blend_backward(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_normalize_backward(const aac_plan *base, const aac_op_args *args,
                                          void *scratch);
aaclip_status aac_simd_gather_backward(const aac_plan *base, const aac_op_args *args,
                                       void *scratch);
aaclip_status aac_simd_similarity_backward(const aac_plan *base, const aac_op_args *args,
                                           void *scratch);
aaclip_status aac_simd_segmentation_loss(const aac_plan *base, const aac_op_args *args,
                                         void *scratch);
aaclip_status aac_simd_adam(const aac_plan *base, const aac_op_args *args, void *scratch);

/* Attention with AAC_ATTENTION_TREE. */
void aac_simd_tree_attention(const aac_simd_plan *plan, const aac_op_args *args, void *scratch);
void aac_simd_tree_attention_backward(const aac_simd_plan *plan, const aac_op_args *args,
                                      void *scratch);

/* Floats of scratch: per thread; shared by all. */
int64_t aac_simd_attention_floats(const aac_op_desc *desc);
int64_t aac_simd_tree_attention_floats(const aac_op_desc *desc);
int64_t aac_simd_attention_backward_floats(const aac_op_desc *desc);
int64_t aac_simd_segmentation_loss_floats(const aac_op_desc *desc);

#endif
