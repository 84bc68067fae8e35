/* Internals of a text cache, shared by the code that holds, builds and stores vectors. */
#ifndef AAC_TEXT_TEXT_CACHE_PARTS_H
#define AAC_TEXT_TEXT_CACHE_PARTS_H

#include <stdatomic.h>

#include "core/names.h"
#include "core/platform.h"
#include "model/adapters.h"
#include "text/prompts.h"
#include "text/text_cache.h"
#include "text/tokenizer.h"

typedef struct aac_class_pair {
    char *name;
    float *vectors;       // (2, embedding): normal, abnormal
    uint64_t fingerprint; /* key of what the vectors were made from; 0: not known */
} aac_class_pair;

struct aaclip_text_cache {
    atomic_int references;
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_config config;
    char *vocabulary;
    bool truncate;
    aaclip_progress progress;
    void *progress_user;
    aac_prompt_set prompts;
    uint64_t prompt_fingerprint;
    int64_t embedding;
    aac_mutex *making; /* held while prompts are computed; guards these; locked before `mutex` */
    aac_tokenizer *tokenizer;
    const aac_text_tower *tower;
    aac_mutex *mutex; /* guards what follows; held only briefly */
    aac_class_pair *pairs;
    size_t count, capacity;
    aac_names names; /* indices of pairs */
    bool built;      /* some pairs under its configuration; else all came as vectors */
};

/*
 * Adds or replaces the pairs of `names`, (count, 2, embedding), with their `fingerprints` (NULL:
 * not known), or none when out of memory. The caller holds the mutex, or is still the only user of
 * the cache.
 */
aaclip_status aac_text_cache_store(aaclip_text_cache *cache, const char *const *names, size_t count,
                                   const float *pairs, const uint64_t *fingerprints);
/* The first field by which `config` would give different vectors; NULL if there is none. */
const char *aac_text_cache_config_difference(const aaclip_text_cache *cache,
                                             const aaclip_config *config);
aaclip_status aac_text_cache_was_built(const aaclip_text_cache *cache, bool *built);
/*
 * Whether both vectors of a pair have a plausible length, else `status`, naming the class. A cosine
 * of a vector of zeros is one of nothing. `made`: by the library, as unit vectors or means of such.
 */
aaclip_status aac_text_cache_check_pair(const aaclip_text_cache *cache, const char *name,
                                        const float *pair, bool made, aaclip_status status);
/* INVALID_ARGUMENT for names that cannot be stored as JSON in files. */
aaclip_status aac_text_cache_check_names(const char *const *names, size_t count);

#endif
