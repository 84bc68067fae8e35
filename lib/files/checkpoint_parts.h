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

/* The patch convolution, the one tensor of rank 4; fills width and patch size as well. */
void aac_take_patches(aac_taker *taker, aac_checkpoint *checkpoint, const char *name);

/* One more than the largest N of the names "<prefix><stem>N.*", at most 1000. Gaps are found when
 * the layers' tensors are taken. */
int64_t aac_count_layers(const aac_tensor_file *file, const char *prefix, const char *stem);

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
