/* What the detector and bundles need of a text cache. */
#ifndef AAC_TEXT_TEXT_CACHE_H
#define AAC_TEXT_TEXT_CACHE_H

#include <aaclip/text_cache.h>

#include "model/model.h"
#include "model/save.h"

/* Counts one more owner; close gives it up. */
aaclip_text_cache *aac_text_cache_retain(const aaclip_text_cache *cache);
/* MISMATCH unless the cache's vectors were made with this model's text tower. */
aaclip_status aac_text_cache_check_model(const aaclip_text_cache *cache, const aaclip_model *model);
/* Under which it builds classes. */
const aaclip_config *aac_text_cache_config(const aaclip_text_cache *cache);
/* MISMATCH where the cache built vectors that this configuration would make otherwise. */
aaclip_status aac_text_cache_check_config(const aaclip_text_cache *cache,
                                          const aaclip_config *config);
/* MISMATCH unless the cache's vectors fit this model and these adapters. */
aaclip_status aac_text_cache_check(const aaclip_text_cache *cache, const aaclip_model *model,
                                   const aaclip_adapters *adapters);
/* Of the text adapters that the vectors were made with; 0 without any. */
uint64_t aac_text_cache_adapter_fingerprint(const aaclip_text_cache *cache);
/* Of the prompts that classes are described with. */
uint64_t aac_text_cache_prompt_fingerprint(const aaclip_text_cache *cache);

/* Key of the prompts, phrase and text weights that a class's vectors were made from; 0: not known,
 * as they were added by the program or by an older file. Errors: NOT_FOUND. */
aaclip_status aac_text_cache_class_fingerprint(const aaclip_text_cache *cache,
                                               const char *class_name, uint64_t *fingerprint);

/* Token ids of a class's prompts, first the normal ones: prompt i is ids[offsets[i]] ... */
typedef struct aac_class_tokens {
    int32_t *ids, *offsets;
    size_t normal, abnormal;
} aac_class_tokens;

/* Gives the text tower back, which comes again when a class is added: for who needs the memory. */
void aac_text_cache_rest(const aaclip_text_cache *cache);

/* Tokenizes a class's prompts for training; the tower is the cache's, which must not rest. */
aaclip_status aac_text_cache_tokens(aaclip_text_cache *cache, const char *phrase,
                                    aac_class_tokens *tokens, const aac_text_tower **tower);
void aac_class_tokens_clear(aac_class_tokens *tokens);

/* Adds all pairs and the cache's keys to a safetensors list. */
aaclip_status aac_text_cache_save_entries(const aaclip_text_cache *cache, aac_save_list *list);

#endif
