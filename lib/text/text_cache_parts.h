/* The inside of a text cache, shared by what holds vectors, makes them and keeps them in files. */
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
    aac_mutex *making; /* held while prompts are computed, guards these; taken before the other */
    aac_tokenizer *tokenizer;
    const aac_text_tower *tower;
    aac_mutex *mutex; /* guards what follows; held for moments */
    aac_class_pair *pairs;
    size_t count, capacity;
    aac_names names; /* numbers of pairs */
    bool built;      /* some under its configuration; else they came as vectors */
};

/*
 * Adds or replaces the pairs of `names`, (count, 2, embedding), with their `fingerprints` (NULL: not known), or none
 * when memory runs out. The caller holds the mutex, or has made the cache and nobody else knows it
 * yet.
 */
aaclip_status aac_text_cache_store(aaclip_text_cache *cache, const char *const *names, size_t count,
                                   const float *pairs, const uint64_t *fingerprints);
/* The first field that makes other vectors under `config` than here; NULL when there is none. */
const char *aac_text_cache_config_difference(const aaclip_text_cache *cache,
                                             const aaclip_config *config);
aaclip_status aac_text_cache_was_built(const aaclip_text_cache *cache, bool *built);
/* INVALID_ARGUMENT for names that files could not keep, as they have them in JSON. */
aaclip_status aac_text_cache_check_names(const char *const *names, size_t count);

#endif
