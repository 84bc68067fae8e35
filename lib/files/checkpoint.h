/* Maps the names and layouts of OpenAI, Hugging Face and open_clip checkpoints onto one CLIP. */
#ifndef AAC_FILES_CHECKPOINT_H
#define AAC_FILES_CHECKPOINT_H

#include "files/tensor_file.h"

/* Activation of the MLPs that the checkpoint was trained with. */
typedef enum aac_checkpoint_activation {
    AAC_CHECKPOINT_QUICK_GELU,
    AAC_CHECKPOINT_GELU
} aac_checkpoint_activation;

/*
 * A matrix (out, in) given as up to three row blocks in order: Hugging Face splits q, k and v. Each
 * part is rank 2 with its own strides (a transposed source has stride[0] == 1). A vector is the
 * same with rank 1 parts.
 */
typedef struct aac_parts {
    aac_tensor part[3];
    int count; /* 0: the checkpoint has none */
} aac_parts;

typedef struct aac_block_tensors {
    aac_tensor ln_1_weight, ln_1_bias; // (width)
    aac_parts qkv_weight, qkv_bias;    // (3 * width, width), (3 * width)
    aac_tensor out_weight, out_bias;   // (width, width), (width)
    aac_tensor ln_2_weight, ln_2_bias; // (width)
    aac_tensor fc_weight, fc_bias;     // (mlp, width), (mlp)
    aac_tensor proj_weight, proj_bias; // (width, mlp), (width)
} aac_block_tensors;

typedef struct aac_tower_shape {
    int64_t width, layers, heads, mlp;
    float layer_norm_eps;
} aac_tower_shape;

typedef struct aac_checkpoint {
    aac_tensor_file *file;
    const char *layout; /* "OpenAI TorchScript", "OpenAI state dict", "Hugging Face", "open_clip",
                           "libaaclip" */
    aac_checkpoint_activation activation;
    int64_t embedding; /* size of the joint space */

    aac_tower_shape vision;
    int64_t patch;                           /* side of a patch in pixels */
    int64_t grid;                            /* patches a side of the trained positional grid */
    aac_tensor patch_weight;                 // (width, 3, patch, patch)
    aac_tensor class_embedding;              // (width)
    aac_tensor vision_position;              // (1 + grid * grid, width)
    aac_tensor ln_pre_weight, ln_pre_bias;   // (width)
    aac_tensor ln_post_weight, ln_post_bias; // (width)
    aac_tensor vision_projection;     // (width, embedding), orientation of OpenAI's visual.proj
    aac_block_tensors *vision_blocks; /* vision.layers of them, owned */

    bool has_text; /* false for a deployment bundle */
    aac_tower_shape text;
    int64_t context, vocabulary;
    aac_tensor token_embedding;                // (vocabulary, width)
    aac_tensor text_position;                  // (context, width)
    aac_tensor ln_final_weight, ln_final_bias; // (width)
    aac_tensor text_projection;     // (width, embedding), orientation of OpenAI's text_projection
    aac_block_tensors *text_blocks; /* text.layers of them, owned */
} aac_checkpoint;

/*
 * `path`: a file of any layout, or a Hugging Face / open_clip folder. config.json,
 * open_clip_config.json beside the weights are read for heads, activation and epsilon. Every shape
 * is checked against the others, so that the result is consistent; a missing or wrong tensor is an
 * error naming file, tensor, expected and found. ResNet CLIPs: UNSUPPORTED.
 */
aaclip_status aac_checkpoint_open(aac_checkpoint **checkpoint, const char *path);
/* The same from a file in memory (aac_tensor_file_open_memory), beside which there is nothing. */
aaclip_status aac_checkpoint_open_memory(aac_checkpoint **checkpoint, const void *bytes,
                                         size_t size, const char *name);
void aac_checkpoint_close(aac_checkpoint **checkpoint);

#endif
