/* What the readers of the checkpoint layouts share. */
#ifndef AAC_FILES_CHECKPOINT_PARTS_H
#define AAC_FILES_CHECKPOINT_PARTS_H

#include "files/checkpoint.h"

/* Takes tensors by name; after the first failure, which is kept, calls do nothing. */
typedef struct aac_taker {
    const aac_tensor_file *file;
    const char *prefix; /* before every name */
    aaclip_status status;
} aac_taker;

/*
 * The tensor prefix + name. `rows` and `columns` are the expected shape (columns 0: a vector); -1
 * accepts any size from 1 on. Must be floating point.
 */
void aac_take_tensor(aac_taker *taker, aac_tensor *tensor, const char *name, int64_t rows,
                     int64_t columns);

/* Fails where neither tensor is there: the text tower is missing as a whole. */
void aac_expect_text(aac_taker *taker, const char *norm, const char *embedding);

/* The patch convolution, the one tensor of rank 4; fills width and patch size as well. */
void aac_take_patches(aac_taker *taker, aac_checkpoint *checkpoint, const char *name);

/* What a layout calls the parts of a block. */
typedef struct aac_block_names {
    const char *ln_1, *out, *ln_2, *fc, *proj; /* modules: each has a weight and a bias */
    const char *qkv_weight[3], *qkv_bias[3];   /* tensors: one for all three, or three */
} aac_block_names;

/* The blocks "<stem>N.", of which there must be at least one, and in the shape their number and
 * mlp; NULL when that fails. The shape's width is known. */
aac_block_tensors *aac_take_blocks(aac_taker *taker, const aac_block_names *names, const char *stem,
                                   aac_tower_shape *shape);

/* Choices that the weights do not show; zero or negative values mean "unknown". */
typedef struct aac_checkpoint_config {
    bool found;
    bool has_activation;
    aac_checkpoint_activation activation;
    int64_t vision_heads, text_heads, vision_head_width;
    double layer_norm_eps;
} aac_checkpoint_config;

aaclip_status aac_read_openai(aac_checkpoint *checkpoint, const char *prefix);
aaclip_status aac_read_huggingface(aac_checkpoint *checkpoint, const char *prefix);

/* config.json or open_clip_config.json in the folder of `path`, or a safetensors file's metadata.
 */
aaclip_status aac_read_checkpoint_config(aac_checkpoint_config *config, const aac_tensor_file *file,
                                         bool huggingface);

#endif
