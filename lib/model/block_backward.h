/*
 * Gradients through a frozen block to its input, and through the adapter that follows it. Nothing
 * is computed for CLIP's own weights.
 */
#ifndef AAC_MODEL_BLOCK_BACKWARD_H
#define AAC_MODEL_BLOCK_BACKWARD_H

#include "model/adapters.h"

typedef struct aac_block_backward_plan {
    aac_block_shape shape;
    aac_plan *convert; /* of the gradient to `type`; NULL for float32 */
    aac_plan *proj, *activate, *fc, *norm, *out, *attention, *qkv;
} aac_block_backward_plan;

aaclip_status aac_block_backward_plan_make(aac_block_backward_plan *plan,
                                           const aac_block_shape *shape,
                                           const aac_dispatch *dispatch);
void aac_block_backward_plan_clear(aac_block_backward_plan *plan);
size_t aac_block_backward_scratch(const aac_block_backward_plan *plan);

/* Of the residual stream. */
typedef struct aac_stream_gradient {
    float *values; // (rows, width)
    bool rounded;  /* memory->narrow has them in the type of the matrix products */
} aac_stream_gradient;

/*
 * gradient: in: of the block's output; out: of its input. The tape must be complete; `memory` is
 * scratch, apart from the gradient if it is `rounded`.
 */
aaclip_status aac_block_backward_run(const aac_block_backward_plan *plan, const aac_block *block,
                                     const aac_block_tape *tape, aac_stream_gradient *gradient,
                                     const aac_sequences *sequences,
                                     const aac_block_memory *memory);

/* An adapter in training, and the sums of the gradients of its matrices. */
typedef struct aac_trained_layer {
    const aac_layer_adapter *adapter;
    float *first_gradient, *second_gradient; // shaped like the matrices
} aac_trained_layer;

typedef struct aac_adapter_backward_plan {
    aac_plan *convert;  /* rows of `width`; NULL for float32 */
    aac_plan *activate; /* of the activation after the first matrix */
    aac_plan *blend, *second, *second_gradient, *first, *first_gradient;
} aac_adapter_backward_plan;

aaclip_status aac_adapter_backward_plan_make(aac_adapter_backward_plan *plan,
                                             const aaclip_config *config,
                                             const aac_block_shape *shape, float weight,
                                             const aac_dispatch *dispatch);
void aac_adapter_backward_plan_clear(aac_adapter_backward_plan *plan);
size_t aac_adapter_backward_scratch(const aac_adapter_backward_plan *plan);

/*
 * gradient: in: of the adapter step's result; out: of its input, except with `last`, which leaves
 * it undefined. Adds to the gradients of the matrices.
 */
aaclip_status aac_adapter_backward_run(const aac_adapter_backward_plan *plan,
                                       const aac_trained_layer *layer, const aac_adapter_tape *tape,
                                       aac_stream_gradient *gradient, bool last,
                                       const aac_block_memory *memory);

#endif
