/* One pre-norm transformer block, and the adapter that may follow it. */
#ifndef AAC_MODEL_BLOCK_H
#define AAC_MODEL_BLOCK_H

#include "backend/device.h"
#include "core/workspace.h"
#include "files/checkpoint.h"
#include "model/packed.h"

/* Frozen weights of a block, packed for the backend: `type` is that of the operands, or AAC_I8. All
 * zeros: not packed yet. */
typedef struct aac_block {
    float *ln_1_gain, *ln_1_bias, *ln_2_gain, *ln_2_bias; // (width), device memory
    aac_weight *qkv, *out, *fc, *proj;
} aac_block;

/* Reuses the memory of another block of the same tower that is packed there. Pages of a mapped file
 * that the backend has copied may leave memory, so that a tower is never held twice. */
aaclip_status aac_block_pack(aac_block *block, const aac_block_tensors *tensors, aac_packer *packer,
                             aac_dtype type);
void aac_block_clear(aac_block *block, const aac_dispatch *dispatch);
/* Lets what the backend reads in place leave memory, too, until the block is run again. */
void aac_block_release(const aac_block *block, const aac_block_tensors *tensors);

/* The last third of the qkv matrix by itself, for a block that attends value to value. */
aaclip_status aac_block_pack_value(aac_weight **weight, const aac_block_tensors *tensors,
                                   const aac_dispatch *dispatch, aac_dtype type);

/* A vector of the checkpoint as float32 in host memory; NULL when out of memory. */
float *aac_vector_new(const aac_tensor *tensor);

/*
 * float32 rows as the operand of a product: themselves if `convert` is NULL, else rounded by it
 * into `buffer`.
 */
aaclip_status aac_to_operand(const aac_plan *convert, const float *rows, void *buffer,
                             const void **operand, void *scratch);

/* What all blocks of a tower share for a given number of rows. */
typedef struct aac_block_shape {
    int64_t rows;    /* of x */
    int64_t longest; /* rows of the longest sequence */
    bool uniform;    /* every sequence has that many */
    int64_t pairs;   /* of a tree: see backend.h */
    int64_t width, heads, mlp;
    float epsilon;
    aac_attention_kind attention;
    aac_activation activation;
    aac_dtype type; /* of the matrix products */
    bool quantized; /* the block's linear layers multiply integers; weights are packed as AAC_I8 */
    bool training;  /* the activation is a separate step, so that its input can be kept */
} aac_block_shape;

typedef struct aac_block_plan {
    const aac_dispatch *dispatch; /* outlives the plan */
    aac_block_shape shape;
    aac_plan *norm, *qkv, *attention, *out, *fc, *activate, *proj; /* activate: with training */
    aac_plan *gather_x, *gather_attended;                          /* of a last block's tail */
} aac_block_plan;

aaclip_status aac_block_plan_make(aac_block_plan *plan, const aac_block_shape *shape,
                                  const aac_dispatch *dispatch);
/*
 * What follows the attention of a last block, for `rows` of the rows of `shape`: all are attended
 * to, but only these are needed further.
 */
aaclip_status aac_block_tail_plan_make(aac_block_plan *tail, const aac_block_shape *shape,
                                       int64_t rows, const aac_dispatch *dispatch);
void aac_block_plan_clear(aac_block_plan *plan);
size_t aac_block_scratch(const aac_block_plan *plan);

/* Which rows of x attend to each other: sequences or, with AAC_ATTENTION_TREE, a tree. The arrays
 * are in device memory. */
typedef struct aac_sequences {
    const int32_t *offsets; // (count + 1): sequence i is rows offsets[i] .. offsets[i + 1] - 1
    int64_t count;
    const int32_t *parents; // (rows): of a tree, see backend.h
} aac_sequences;

/* Buffers that a tower's blocks and adapters share, in device memory. */
typedef struct aac_block_memory {
    void *narrow;   // (rows, width), type
    void *wide;     // (rows, max(3 * width, mlp)), type
    float *adapted; // (rows, width)
    void *scratch;
} aac_block_memory;

/* What a run leaves in device memory for its backward run. Any member may be NULL: not wanted. */
typedef struct aac_block_tape {
    float *x;       // (rows, width): the input, as passed to the run
    void *qkv;      // (rows, 3 * width), type
    void *attended; // (rows, width), type
    float *middle;  // (rows, width): between attention and MLP
    void *hidden;   // (rows, mlp), type: the activation's input
    float *sums;    // (heads, rows): of attention that keeps them
} aac_block_tape;

/* From x to y (rows, width), float32 in device memory; y may be x. `tape`, which may be NULL,
 * receives all but x. */
aaclip_status aac_block_run(const aac_block_plan *plan, const aac_block *block, const float *x,
                            float *y, const aac_sequences *sequences,
                            const aac_block_memory *memory, const aac_block_tape *tape);
/*
 * The same for a last block and only the rows `index` (rows of the tail): the result is in `some`
 * (rows of the tail, width). The buffers have room for the rows of both plans.
 */
aaclip_status aac_block_run_last(const aac_block_plan *plan, const aac_block_plan *tail,
                                 const aac_block *block, const float *x,
                                 const aac_sequences *sequences, const int32_t *index, float *some,
                                 const aac_block_memory *memory);

#endif
