/* Packs a checkpoint's towers for a backend. */
#ifndef AAC_MODEL_TOWER_H
#define AAC_MODEL_TOWER_H

#include "model/model.h"

/* On failure everything is freed and *tower is NULL. `block_type` is that of the blocks' weights.
 */
aaclip_status aac_vision_tower_new(aac_vision_tower **tower, const aac_checkpoint *checkpoint,
                                   const aac_dispatch *dispatch, aac_dtype type,
                                   aac_dtype block_type);
void aac_vision_tower_free(aac_vision_tower **tower, const aac_checkpoint *checkpoint);

aaclip_status aac_text_tower_new(aac_text_tower **tower, const aac_checkpoint *checkpoint,
                                 const aac_dispatch *dispatch, aac_dtype type);
void aac_text_tower_free(aac_text_tower **tower, const aac_checkpoint *checkpoint);

#endif
