/* The frozen CLIP model inside the library: checkpoint, and both towers packed for the backend. */
#ifndef AAC_MODEL_MODEL_H
#define AAC_MODEL_MODEL_H

#include <aaclip/model.h>

#include "core/platform.h"
#include "model/block.h"

typedef struct aac_vision_tower {
    aac_block *blocks;                  /* not for users that acquired the tower without them */
    aac_weight *patch;                  // (width, 3 * patch * patch)
    float *ln_pre_gain, *ln_pre_bias;   // (width), device memory
    float *ln_post_gain, *ln_post_bias; // (width), device memory
    aac_weight *projection;             // (embedding, width)
    aac_tensor_file *packed;            /* file that holds the blocks; NULL: memory of their own */
} aac_vision_tower;

typedef struct aac_text_tower {
    aac_block *blocks;
    float *position;                      // (context, width), host memory
    float *ln_final_gain, *ln_final_bias; // (width), device memory
    aac_weight *projection;               // (embedding, width)
    aac_tensor_file *packed;              /* file that holds all weights; NULL as above */
} aac_text_tower;

aaclip_model *aac_model_retain(const aaclip_model *model);
const aac_checkpoint *aac_model_checkpoint(const aaclip_model *model);
const aac_dispatch *aac_model_dispatch(const aaclip_model *model);
aac_dtype aac_model_type(const aaclip_model *model); /* of the matrix products */
/* The same for the linear layers of the image tower's blocks: AAC_I8 in int8. */
aac_dtype aac_model_block_type(const aaclip_model *model);

/* Keys of the frozen weights. The text key of a bundle is that of the tower it was made with. */
uint64_t aac_model_vision_fingerprint(const aaclip_model *model);
uint64_t aac_model_text_fingerprint(const aaclip_model *model);

/* For tensors of `source`, packed as `type` and cached as `part` if the options name a folder. */
aaclip_status aac_model_open_packer(const aaclip_model *model, aac_packer *packer,
                                    const aac_tensor_file *source, const char *part, aac_dtype type,
                                    uint64_t fingerprint);

/*
 * Packs the image tower at the first call; it is kept after its last user has released it. Callers
 * that bring their own blocks acquire it without: unused blocks are then freed.
 */
aaclip_status aac_model_acquire_vision(const aaclip_model *model, bool blocks,
                                       const aac_vision_tower **tower);
void aac_model_release_vision(const aaclip_model *model, bool blocks);

/* Packs the text tower for the first user; it is freed when the last one releases it. */
aaclip_status aac_model_acquire_text(const aaclip_model *model, const aac_text_tower **tower);
void aac_model_release_text(const aaclip_model *model);

/* The activation that a configuration means for this checkpoint. */
aac_activation aac_model_activation(const aaclip_model *model, aaclip_activation activation);

/* The published 518 for a checkpoint trained at 336, else the size it was trained at. */
int64_t aac_model_default_size(const aaclip_model *model);
/*
 * Side of the input in pixels: as requested, or the default for 0. INVALID_ARGUMENT names
 * `what`.image_size.
 */
aaclip_status aac_model_image_size(const aaclip_model *model, uint32_t asked, const char *what,
                                   int64_t *size);

/* Safetensors entries (names, metadata) of a tower, for saving; arrays grow through `list`. */
struct aac_save_list;
aaclip_status aac_model_save_entries(const aaclip_model *model, struct aac_save_list *list,
                                     bool with_text, bool float16);

#endif
