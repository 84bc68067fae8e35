/* Internals of the text encoder, for its backward run. */
#ifndef AAC_TEXT_TEXT_ENCODER_PARTS_H
#define AAC_TEXT_TEXT_ENCODER_PARTS_H

#include "text/prefix_tree.h"
#include "text/text_encoder.h"

/* A planned batch of prompts. What it points to must outlive it. */
typedef struct aac_text_plan {
    const aac_dispatch *dispatch;
    const aac_checkpoint *checkpoint;
    const aac_text_tower *tower;
    const aac_adapter_tower *adapters; /* NULL for plain CLIP */
    const aac_token_batch *batch;
    aac_prefix_tree tree; /* its nodes are the rows */
    /* The tree's arrays, or copies in device memory that the host cannot access. */
    int32_t *parents, *ends;
    float *start; // (nodes, width): x before the blocks; NULL if the host writes it in place
    aac_dtype type;
    aac_block_plan block;
    aac_adapter_plan adapter;
    aac_block_plan tail;           /* of the last block, for the ends; not in training */
    aac_adapter_plan tail_adapter; /* if the last block has one; likewise */
    aac_plan *gather;              /* of the ends, in training */
    aac_plan *ln_final, *project, *normalize;
} aac_text_plan;

/* In device memory. */
typedef struct aac_text_memory {
    float *x;    // (nodes, width)
    float *ends; // (prompts, width): rows of the end tokens
    aac_block_memory block;
} aac_text_memory;

/* What a run leaves for its backward run, in device memory. */
typedef struct aac_text_tape {
    const aac_block_tape *blocks;     // (blocks + 1): `x` of the last is the tower's output
    const aac_adapter_tape *adapters; // (adapted blocks)
    float *ends;                      // (prompts, width): before ln_final
    void *normed;                     // (prompts, width), type: after ln_final
    float *projected;                 // (prompts, embedding): before the L2 norm
} aac_text_tape;

/* Which of the tree's rows attend to each other. */
aac_sequences aac_text_sequences(const aac_text_plan *plan);

/* With `training`, runs can write a tape. Clear the plan even on failure. */
aaclip_status aac_text_plan_make(aac_text_plan *plan, const aaclip_model *model,
                                 const aac_text_tower *tower, const aaclip_adapters *adapters,
                                 const aaclip_config *config, const aac_token_batch *batch,
                                 bool training);
void aac_text_plan_clear(aac_text_plan *plan);
aac_text_memory aac_text_lay_out(const aac_text_plan *plan, aac_workspace *workspace,
                                 size_t more_scratch);
/* vectors (prompts, embedding) in device memory, rows L2-normalised; `tape` may be NULL. */
aaclip_status aac_text_run(const aac_text_plan *plan, const aac_text_memory *memory, float *vectors,
                           const aac_text_tape *tape);

#endif
