/* Short keys of weights: equal for equal weights in any file layout. */
#ifndef AAC_MODEL_FINGERPRINT_H
#define AAC_MODEL_FINGERPRINT_H

#include "core/tensor.h"

/*
 * Values that are sampled of a tensor. They are part of the file formats: changing one makes every
 * saved key invalid, so files no longer fit the weights that they were made with.
 */
#define AAC_FINGERPRINT_BLOCK_SAMPLES   32   /* of a tensor of a tower's block */
#define AAC_FINGERPRINT_TOWER_SAMPLES   256  /* of one of a tower outside its blocks */
#define AAC_FINGERPRINT_ADAPTER_SAMPLES 4096 /* of a matrix of adapters */

typedef struct aac_fingerprint {
    uint64_t value;
} aac_fingerprint;

aac_fingerprint aac_fingerprint_start(void);
void aac_fingerprint_bytes(aac_fingerprint *fingerprint, const void *bytes, size_t size);
/*
 * Adds shape and up to `samples` evenly spaced values. Values of frozen weights are rounded to
 * float16 first, so that a checkpoint and its 16-bit copy agree; trained ones are taken exactly.
 */
void aac_fingerprint_tensor(aac_fingerprint *fingerprint, const aac_tensor *tensor, int64_t samples,
                            bool exact);

#endif
