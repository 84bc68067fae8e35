/* Packs a checkpoint's towers for a backend, or takes them from a packed file. */
#ifndef AAC_MODEL_TOWER_H
#define AAC_MODEL_TOWER_H

#include "model/model.h"

/* All but the blocks. On failure everything is freed and *tower is NULL. */
aaclip_status aac_vision_tower_new(aac_vision_tower **tower, const aac_checkpoint *checkpoint,
                                   const aac_dispatch *dispatch, aac_dtype type);
/* Does nothing if they are already packed; on failure there are none. `type` is that of the blocks'
 * weights. */
aaclip_status aac_vision_tower_pack_blocks(aac_vision_tower *tower,
                                           const aac_checkpoint *checkpoint, aac_packer *packer,
                                           aac_dtype type);
void aac_vision_tower_free_blocks(aac_vision_tower *tower, const aac_checkpoint *checkpoint,
                                  const aac_dispatch *dispatch);
void aac_vision_tower_free(aac_vision_tower **tower, const aac_checkpoint *checkpoint,
                           const aac_dispatch *dispatch);

/* On failure everything is freed and *tower is NULL. */
aaclip_status aac_text_tower_new(aac_text_tower **tower, const aac_checkpoint *checkpoint,
                                 aac_packer *packer, aac_dtype type);
void aac_text_tower_free(aac_text_tower **tower, const aac_checkpoint *checkpoint,
                         const aac_dispatch *dispatch);

#endif
