/* What the detector and bundles need of a text cache. */
#ifndef AAC_TEXT_TEXT_CACHE_H
#define AAC_TEXT_TEXT_CACHE_H

#include <aaclip/text_cache.h>

#include "model/save.h"

/* Counts one more owner; close gives it up. */
aaclip_text_cache *aac_text_cache_retain(const aaclip_text_cache *cache);
/* MISMATCH unless the cache's vectors fit this model and these adapters. */
aaclip_status aac_text_cache_check(const aaclip_text_cache *cache, const aaclip_model *model,
                                   const aaclip_adapters *adapters);
/* Adds all pairs and the cache's keys to a safetensors list. */
aaclip_status aac_text_cache_save_entries(const aaclip_text_cache *cache, aac_save_list *list);

#endif
