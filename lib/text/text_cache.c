/* A text cache: two vectors per class, found by its name, and the settings for making them. */
#include "core/utf8.h"
#include "text/text_cache_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/cancel.h"
#include "core/config.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "model/fingerprint.h"

/* Lengths of vectors from elsewhere; those that the library made are at most 1. */
#define SHORTEST  0.001
#define LONGEST   100.0
#define TOLERANCE 0.01

aaclip_status aaclip_text_cache_options_init_sized(aaclip_text_cache_options *options,
                                                   size_t struct_size)
{
    const aaclip_text_cache_options own = {.size = sizeof own};
    return aac_options_write(options, struct_size, &own, sizeof own, "aaclip_text_cache_options");
}

static uint64_t fingerprint_prompts(const aac_prompt_set *set, bool normalize)
{
    aac_fingerprint fingerprint = aac_fingerprint_start();
    char *const *const lists[] = {set->normal, set->abnormal, set->templates};
    const size_t counts[] = {set->normal_count, set->abnormal_count, set->template_count};
    for (size_t list = 0; list < 3; list++)
        for (size_t i = 0; i <= counts[list]; i++) {
            const char *text = i < counts[list] ? lists[list][i] : "";
            aac_fingerprint_bytes(&fingerprint, text, strlen(text) + 1);
        }
    aac_fingerprint_bytes(&fingerprint, normalize ? "1" : "0", 1);
    return fingerprint.value;
}

static aaclip_status read_prompts(aaclip_text_cache *cache, const char *path)
{
    bool published = cache->config.profile == AACLIP_PROFILE_PUBLISHED;
    aaclip_status status =
        path ? aac_prompt_set_read(&cache->prompts, path)
             : aac_prompt_set_profile(&cache->prompts,
                                      published ? AAC_PROMPTS_PUBLISHED : AAC_PROMPTS_DOCUMENT);
    if (!status)
        cache->prompt_fingerprint =
            fingerprint_prompts(&cache->prompts, cache->config.normalize_class_vector);
    return status;
}

static aaclip_status configure(aaclip_text_cache *cache, const aaclip_text_cache_options *options)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(cache->model);
    aaclip_status status = AACLIP_OK;
    if (cache->adapters)
        cache->config = *aac_adapters_config(cache->adapters);
    else
        status = aac_config_read(&cache->config, options->config);
    if (!status)
        status =
            aac_config_resolve(&cache->config, checkpoint->vision.layers, checkpoint->text.layers);
    if (!status && options->vocabulary && !(cache->vocabulary = aac_strdup(options->vocabulary)))
        status = aac_error_memory();
    return status ? status : read_prompts(cache, options->prompts);
}

aaclip_status aaclip_text_cache_new(aaclip_text_cache **out, const aaclip_model *model,
                                    const aaclip_adapters *adapters,
                                    const aaclip_text_cache_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !model)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_new: NULL argument");
    aaclip_text_cache_options own = {.size = sizeof own};
    aaclip_status status = aac_options_read(&own, sizeof own, options, "aaclip_text_cache_options");
    if (!status)
        status = aac_adapters_check_model(adapters, model);
    if (status)
        return status;
    aaclip_text_cache *cache = aac_calloc(1, sizeof *cache);
    if (!cache)
        return aac_error_memory();
    atomic_init(&cache->references, 1);
    cache->model = aac_model_retain(model);
    cache->adapters = aac_adapters_retain(adapters);
    cache->truncate = own.truncate;
    cache->progress = own.progress;
    cache->progress_user = own.progress_user;
    cache->embedding = aac_model_checkpoint(model)->embedding;
    cache->mutex = aac_mutex_new();
    cache->making = aac_mutex_new();
    status = cache->mutex && cache->making ? configure(cache, &own) : aac_error_memory();
    if (status)
        aaclip_text_cache_close(&cache);
    *out = cache;
    return status;
}

aaclip_text_cache *aac_text_cache_retain(const aaclip_text_cache *cache)
{
    aaclip_text_cache *own = (aaclip_text_cache *)cache;
    atomic_fetch_add(&own->references, 1);
    return own;
}

/* Keeps only the first `count` pairs. */
static void drop_pairs(aaclip_text_cache *cache, size_t count)
{
    while (cache->count > count) {
        aac_class_pair *pair = &cache->pairs[--cache->count];
        aac_free(pair->name);
        aac_free(pair->vectors);
    }
    aac_names_empty(&cache->names);
    for (size_t i = 0; i < cache->count; i++)
        aac_names_add(&cache->names, cache->pairs[i].name, i);
}

void aaclip_text_cache_close(aaclip_text_cache **handle)
{
    if (!handle || !*handle)
        return;
    aaclip_text_cache *cache = *handle;
    *handle = NULL;
    if (atomic_fetch_sub(&cache->references, 1) != 1)
        return;
    drop_pairs(cache, 0);
    aac_names_clear(&cache->names);
    aac_free(cache->pairs);
    aac_prompt_set_clear(&cache->prompts);
    aac_tokenizer_close(&cache->tokenizer);
    if (cache->tower)
        aac_model_release_text(cache->model);
    aac_mutex_free(cache->mutex);
    aac_mutex_free(cache->making);
    aac_free(cache->vocabulary);
    aaclip_adapters_close(&cache->adapters);
    aaclip_model_close(&cache->model);
    aac_free(cache);
}

aaclip_status aac_text_cache_rest(const aaclip_text_cache *cache)
{
    aaclip_text_cache *own = (aaclip_text_cache *)cache;
    if (aac_mutex_is_orphan(own->making)) /* the tower stays; vectors are there all the same */
        return AACLIP_OK;
    aaclip_status status = aac_mutex_take(own->making);
    if (status)
        return status;
    if (own->tower)
        aac_model_release_text(own->model);
    own->tower = NULL;
    aac_mutex_unlock(own->making);
    return AACLIP_OK;
}

static aac_class_pair *find_pair(const aaclip_text_cache *cache, const char *name)
{
    size_t number = aac_names_find(&cache->names, name);
    return number != AAC_NO_NAME ? &cache->pairs[number] : NULL;
}

static aaclip_status reserve(aaclip_text_cache *cache, size_t more)
{
    if (!aac_names_reserve(&cache->names, more))
        return aac_error_memory();
    aac_class_pair *pairs =
        aac_grow(cache->pairs, &cache->capacity, cache->count + more, sizeof *pairs);
    if (!pairs)
        return aac_error_memory();
    cache->pairs = pairs;
    return AACLIP_OK;
}

static aaclip_status new_pair(aac_class_pair *pair, const char *name, int64_t embedding)
{
    pair->name = aac_strdup(name);
    pair->vectors = aac_alloc_array(2 * (size_t)embedding, sizeof(float));
    if (pair->name && pair->vectors)
        return AACLIP_OK;
    aac_free(pair->name);
    aac_free(pair->vectors);
    return aac_error_memory();
}

static aaclip_status add_pair(aaclip_text_cache *cache, const char *name)
{
    aac_class_pair *pair = &cache->pairs[cache->count];
    aaclip_status status = new_pair(pair, name, cache->embedding);
    if (!status)
        aac_names_add(&cache->names, pair->name, cache->count++);
    return status;
}

aaclip_status aac_text_cache_store(aaclip_text_cache *cache, const char *const *names, size_t count,
                                   const float *pairs, const uint64_t *fingerprints)
{
    size_t before = cache->count, size = 2 * (size_t)cache->embedding;
    aaclip_status status = count ? reserve(cache, count) : AACLIP_OK;
    for (size_t i = 0; !status && i < count; i++)
        if (aac_names_find(&cache->names, names[i]) == AAC_NO_NAME)
            status = add_pair(cache, names[i]);
    if (status) {
        drop_pairs(cache, before);
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        aac_class_pair *pair = &cache->pairs[aac_names_find(&cache->names, names[i])];
        memcpy(pair->vectors, pairs + i * size, size * sizeof *pairs);
        pair->fingerprint = fingerprints ? fingerprints[i] : 0;
    }
    return AACLIP_OK;
}

aaclip_status aac_text_cache_check_names(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!aac_utf8_is_valid(names[i]))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "class name %zu of %zu: expected UTF-8, found \"%s\"", i + 1, count,
                             names[i]);
    return AACLIP_OK;
}

static double length_of(const float *vector, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)vector[i] * (double)vector[i];
    return sqrt(sum);
}

aaclip_status aac_text_cache_check_pair(const aaclip_text_cache *cache, const char *name,
                                        const float *pair, bool made, aaclip_status status)
{
    const bool unit = made && cache->config.normalize_class_vector;
    const double least = unit ? 1 - TOLERANCE : SHORTEST, most = made ? 1 + TOLERANCE : LONGEST;
    for (int side = 0; side < 2; side++) {
        const double length = length_of(pair + side * cache->embedding, cache->embedding);
        if (!(length >= least && length <= most)) /* nor is NaN */
            return aac_error(status,
                             "class '%s': expected %s vector with a length of %g to %g, found %g",
                             name, side ? "an abnormal" : "a normal", least, most, length);
    }
    return AACLIP_OK;
}

aaclip_status aaclip_text_cache_add(aaclip_text_cache *cache, const char *name, const float *normal,
                                    const float *abnormal)
{
    if (!cache || !name || !*name || !normal || !abnormal)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_add: NULL argument");
    aaclip_status status = aac_text_cache_check_names(&name, 1);
    if (status)
        return status;
    size_t size = (size_t)cache->embedding;
    float *pair = aac_alloc_array(2 * size, sizeof *pair);
    if (!pair)
        return aac_error_memory();
    memcpy(pair, normal, size * sizeof *pair);
    memcpy(pair + size, abnormal, size * sizeof *pair);
    status = aac_text_cache_check_pair(cache, name, pair, false, AACLIP_ERROR_INVALID_ARGUMENT);
    if (!status)
        status = aac_mutex_take(cache->mutex);
    if (!status) {
        status = aac_text_cache_store(cache, &name, 1, pair, NULL);
        aac_mutex_unlock(cache->mutex);
    }
    aac_free(pair);
    return status;
}

static aaclip_status unknown_class(const aaclip_text_cache *cache, const char *name)
{
    char known[400] = "";
    for (size_t i = 0; i < cache->count; i++) {
        size_t used = strlen(known);
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): counted pairs exist */
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", cache->pairs[i].name);
    }
    return aac_error(AACLIP_ERROR_NOT_FOUND, "class '%s': not in the text cache, which %s%s", name,
                     cache->count ? "has: " : "is empty", known);
}

aaclip_status aaclip_text_cache_get(const aaclip_text_cache *cache, const char *name, float *normal,
                                    float *abnormal)
{
    if (!cache || !name)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_get: NULL argument");
    size_t size = (size_t)cache->embedding;
    aaclip_status status = aac_mutex_take(cache->mutex);
    if (status)
        return status;
    const aac_class_pair *pair = find_pair(cache, name);
    status = pair ? AACLIP_OK : unknown_class(cache, name);
    if (pair && normal)
        memcpy(normal, pair->vectors, size * sizeof *normal);
    if (pair && abnormal)
        memcpy(abnormal, pair->vectors + size, size * sizeof *abnormal);
    aac_mutex_unlock(cache->mutex);
    return status;
}

aaclip_status aac_text_cache_class_fingerprint(const aaclip_text_cache *cache,
                                               const char *class_name, uint64_t *fingerprint)
{
    aaclip_status status = aac_mutex_take(cache->mutex);
    if (status)
        return status;
    const aac_class_pair *pair = find_pair(cache, class_name);
    status = pair ? AACLIP_OK : unknown_class(cache, class_name);
    if (pair)
        *fingerprint = pair->fingerprint;
    aac_mutex_unlock(cache->mutex);
    return status;
}

size_t aaclip_text_cache_count(const aaclip_text_cache *cache)
{
    if (!cache || aac_mutex_is_orphan(cache->mutex))
        return 0;
    aac_mutex_lock(cache->mutex);
    size_t count = cache->count;
    aac_mutex_unlock(cache->mutex);
    return count;
}

const char *aaclip_text_cache_name(const aaclip_text_cache *cache, size_t index)
{
    if (!cache || aac_mutex_is_orphan(cache->mutex))
        return NULL;
    aac_mutex_lock(cache->mutex);
    const char *name = index < cache->count ? cache->pairs[index].name : NULL;
    aac_mutex_unlock(cache->mutex);
    return name;
}

uint64_t aac_text_cache_adapter_fingerprint(const aaclip_text_cache *cache)
{
    return aac_adapters_text_fingerprint(cache->adapters);
}

uint64_t aac_text_cache_prompt_fingerprint(const aaclip_text_cache *cache)
{
    return cache->prompt_fingerprint;
}

aaclip_status aac_text_cache_check_model(const aaclip_text_cache *cache, const aaclip_model *model)
{
    if (aac_model_text_fingerprint(cache->model) == aac_model_text_fingerprint(model))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_MISMATCH,
                     "text cache: made with a different text tower from the model's");
}

const aaclip_config *aac_text_cache_config(const aaclip_text_cache *cache)
{
    return &cache->config;
}

const char *aac_text_cache_config_difference(const aaclip_text_cache *cache,
                                             const aaclip_config *config)
{
    if (aac_model_activation(cache->model, cache->config.activation) !=
        aac_model_activation(cache->model, config->activation))
        return "activation";
    if (cache->config.normalize_class_vector != config->normalize_class_vector)
        return "normalize_class_vector";
    return NULL;
}

aaclip_status aac_text_cache_was_built(const aaclip_text_cache *cache, bool *built)
{
    aaclip_status status = aac_mutex_take(cache->mutex);
    if (status)
        return status;
    *built = cache->built;
    aac_mutex_unlock(cache->mutex);
    return AACLIP_OK;
}

aaclip_status aac_text_cache_check_config(const aaclip_text_cache *cache,
                                          const aaclip_config *config)
{
    const char *field = aac_text_cache_config_difference(cache, config);
    bool built = false;
    aaclip_status status = aac_text_cache_was_built(cache, &built);
    if (status || !field || !built)
        return status;
    return aac_error(AACLIP_ERROR_MISMATCH,
                     "text cache: %s of its configuration, profile %s, differs from the image "
                     "side's, profile %s; give the cache the same adapters or configuration",
                     field, aaclip_profile_name(cache->config.profile),
                     aaclip_profile_name(config->profile));
}

aaclip_status aac_text_cache_check(const aaclip_text_cache *cache, const aaclip_model *model,
                                   const aaclip_adapters *adapters)
{
    aaclip_status status = aac_text_cache_check_model(cache, model);
    if (status)
        return status;
    if (aac_adapters_text_fingerprint(cache->adapters) != aac_adapters_text_fingerprint(adapters))
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "text cache: made with different text adapters from the detector's");
    return AACLIP_OK;
}
