/* The process's limits (aaclip/limits.h), for wherever they are enforced. Any thread. */
#ifndef AAC_CORE_LIMITS_H
#define AAC_CORE_LIMITS_H

#include <stdint.h>

typedef enum aac_limit_kind {
    AAC_LIMIT_IMAGE_PIXELS,
    AAC_LIMIT_CHECKPOINT_BYTES,
    AAC_LIMIT_TENSORS,
    AAC_LIMIT_PROMPT_BYTES,
    AAC_LIMIT_PROMPTS,
    AAC_LIMIT_MEMORY_BYTES,
    AAC_LIMIT_COUNT
} aac_limit_kind;

/* Ends the error text of an exceeded limit. */
#define AAC_LIMIT_HINT "; raise the limit with aaclip_limits_set"

uint64_t aac_limit(aac_limit_kind kind);

#endif
