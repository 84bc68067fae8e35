/* What the detector and bundles need of a text cache. */
#ifndef AAC_TEXT_TEXT_CACHE_H
#define AAC_TEXT_TEXT_CACHE_H

#include <aaclip/text_cache.h>

#include "model/model.h"
#include "model/save.h"

/* Adds a reference; close drops it. */
aaclip_text_cache *aac_text_cache_retain(const aaclip_text_cache *cache);
/* MISMATCH unless the cache's vectors were made with this model's text tower. */
aaclip_status aac_text_cache_check_model(const aaclip_text_cache *cache, const aaclip_model *model);
/* The configuration under which it builds classes. */
const aaclip_config *aac_text_cache_config(const aaclip_text_cache *cache);
/* MISMATCH if the cache has built vectors that this configuration would make differently. */
aaclip_status aac_text_cache_check_config(const aaclip_text_cache *cache,
                                          const aaclip_config *config);
/* MISMATCH unless the cache's vectors fit this model and these adapters. */
aaclip_status aac_text_cache_check(const aaclip_text_cache *cache, const aaclip_model *model,
                                   const aaclip_adapters *adapters);
/* Key of the text adapters that the vectors were made with; 0 without any. */
uint64_t aac_text_cache_adapter_fingerprint(const aaclip_text_cache *cache);
/* Key of the prompts that describe the classes. */
uint64_t aac_text_cache_prompt_fingerprint(const aaclip_text_cache *cache);

/* Key of the prompts, phrase and text weights that a class's vectors were made from; 0: not known,
 * as they were added by the program or by an older file. Errors: NOT_FOUND. */
aaclip_status aac_text_cache_class_fingerprint(const aaclip_text_cache *cache,
                                               const char *class_name, uint64_t *fingerprint);

/* Token ids of a class's prompts, the normal ones first: prompt i begins at ids[offsets[i]]. */
typedef struct aac_class_tokens {
    int32_t *ids, *offsets;
    size_t normal, abnormal;
} aac_class_tokens;

/* Releases the text tower to free its memory; it is acquired again when a class is added. CANCELLED
 * while it waits for another thread that builds classes. */
aaclip_status aac_text_cache_rest(const aaclip_text_cache *cache);

/* Tokenizes a class's prompts for training; the tower is the cache's, valid until
 * aac_text_cache_rest. */
aaclip_status aac_text_cache_tokens(aaclip_text_cache *cache, const char *phrase,
                                    aac_class_tokens *tokens, const aac_text_tower **tower);
void aac_class_tokens_clear(aac_class_tokens *tokens);

/* Adds all pairs and the cache's keys to a safetensors list. */
aaclip_status aac_text_cache_save_entries(const aaclip_text_cache *cache, aac_save_list *list);

#endif
