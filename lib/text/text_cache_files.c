/* Saves and loads a text cache. */
#include <string.h>

#include "core/cancel.h"
#include "core/config.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "text/text_cache_parts.h"

/* The metadata key of a class; NULL when out of memory. */
static char *fingerprint_name(const char *class_name)
{
    return aac_format("aaclip.class_fingerprint.%s", class_name);
}

static aaclip_status save_class_fingerprint(const aac_class_pair *pair, aac_save_list *list)
{
    char *name = pair->fingerprint ? fingerprint_name(pair->name) : NULL;
    if (!name)
        return pair->fingerprint ? aac_error_memory() : AACLIP_OK;
    aaclip_status status = aac_save_key(list, name, pair->fingerprint);
    aac_free(name);
    return status;
}

static aaclip_status save_pairs(const aaclip_text_cache *cache, aac_save_list *list)
{
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < cache->count; i++) {
        char *name = aac_format("text_cache.%s", cache->pairs[i].name);
        status = name ? aac_save_floats(list, name, cache->pairs[i].vectors, 2, cache->embedding)
                      : aac_error_memory();
        aac_free(name);
        if (!status)
            status = save_class_fingerprint(&cache->pairs[i], list);
    }
    return status;
}

aaclip_status aac_text_cache_save_entries(const aaclip_text_cache *cache, aac_save_list *list)
{
    aaclip_status status =
        aac_save_key(list, "aaclip.text_fingerprint", aac_model_text_fingerprint(cache->model));
    if (!status)
        status = aac_save_key(list, "aaclip.text_cache_adapter_fingerprint",
                              aac_adapters_text_fingerprint(cache->adapters));
    if (!status)
        status = aac_save_key(list, "aaclip.prompt_fingerprint", cache->prompt_fingerprint);
    if (!status)
        status = aac_mutex_take(cache->mutex);
    if (status)
        return status;
    status = save_pairs(cache, list);
    aac_mutex_unlock(cache->mutex);
    return status;
}

aaclip_status aaclip_text_cache_save(const aaclip_text_cache *cache, const char *path)
{
    if (!cache || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_save: NULL argument");
    bool built = false;
    aac_save_list list = {0};
    aaclip_status status = aac_text_cache_was_built(cache, &built);
    if (!status && built)
        status = aac_save_config(&list, &cache->config);
    if (!status)
        status = aac_text_cache_save_entries(cache, &list);
    if (!status)
        status = aac_save_write(&list, path);
    aac_save_clear(&list);
    return status;
}

static aaclip_status check_key(const aac_tensor_file *file, const char *key, uint64_t expected,
                               const char *what)
{
    const char *path = aac_tensor_file_path(file);
    uint64_t found;
    if (!aac_load_key(file, key, &found))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: expected a text cache with metadata %s", path,
                         key);
    if (found == expected)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_MISMATCH,
                     "%s: made with different %s: expected %s %016llx, found %016llx", path, what,
                     key, (unsigned long long)expected, (unsigned long long)found);
}

/* `config`: under which the file's vectors were built; NULL if unknown. */
static aaclip_status check_file(const aaclip_text_cache *cache, const aac_tensor_file *file,
                                const aaclip_config *config)
{
    const char *field = config ? aac_text_cache_config_difference(cache, config) : NULL;
    aaclip_status status = check_key(file, "aaclip.text_fingerprint",
                                     aac_model_text_fingerprint(cache->model), "weights");
    if (!status)
        status = check_key(file, "aaclip.text_cache_adapter_fingerprint",
                           aac_adapters_text_fingerprint(cache->adapters), "text adapters");
    if (!status && aac_model_checkpoint(cache->model)->has_text)
        status = check_key(file, "aaclip.prompt_fingerprint", cache->prompt_fingerprint, "prompts");
    if (!status && field)
        return aac_error(
            AACLIP_ERROR_MISMATCH,
            "%s: metadata aaclip.config: %s differs from the given configuration, profile %s",
            aac_tensor_file_path(file), field, aaclip_profile_name(cache->config.profile));
    return status;
}

static aaclip_status load_class_fingerprint(const aac_tensor_file *file, const char *class_name,
                                            uint64_t *fingerprint)
{
    char *name = fingerprint_name(class_name);
    if (!name)
        return aac_error_memory();
    *fingerprint = 0;
    aaclip_status status = aac_load_optional_key(file, name, fingerprint);
    aac_free(name);
    return status;
}

static aaclip_status load_pair(aaclip_text_cache *cache, const aac_tensor_file *file,
                               const aac_tensor *tensor)
{
    const int64_t expected[] = {2, cache->embedding};
    char wanted[AAC_SHAPE_TEXT], found[AAC_SHAPE_TEXT];
    const char *name = tensor->name + strlen("text_cache.");
    if (tensor->dtype != AAC_F32 || tensor->rank != 2 || tensor->shape[0] != 2 ||
        tensor->shape[1] != cache->embedding || !*name)
        return aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected float32 %s, found %s %s",
                         aac_tensor_file_path(file), tensor->name,
                         aac_shape_text(wanted, expected, 2), aac_dtype_name(tensor->dtype),
                         aac_shape_text(found, tensor->shape, tensor->rank));
    float *pair = aac_alloc_array(2 * (size_t)cache->embedding, sizeof *pair);
    if (!pair)
        return aac_error_memory();
    aac_tensor_to_f32(tensor, pair);
    uint64_t fingerprint;
    aaclip_status status = load_class_fingerprint(file, name, &fingerprint);
    if (!status && aac_text_cache_check_pair(cache, name, pair, fingerprint != 0,
                                             AACLIP_ERROR_FORMAT) != AACLIP_OK)
        status = aac_error_prefix(AACLIP_ERROR_FORMAT, "%s", aac_tensor_file_path(file));
    if (!status)
        status = aac_text_cache_store(cache, &name, 1, pair, &fingerprint);
    aac_free(pair);
    return status;
}

static aaclip_status load_pairs(aaclip_text_cache *cache, const aac_tensor_file *file)
{
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < aac_tensor_file_count(file); i++) {
        const aac_tensor *tensor = aac_tensor_file_at(file, i);
        if (strncmp(tensor->name, "text_cache.", strlen("text_cache.")) == 0)
            status = load_pair(cache, file, tensor);
    }
    return status;
}

/* Without a configuration from the caller, the cache takes the file's. */
static aaclip_status load(aaclip_text_cache **out, const aac_tensor_file *file,
                          const aaclip_model *model, const aaclip_adapters *adapters,
                          const aaclip_text_cache_options *options)
{
    const char *json = aac_tensor_file_string(file, "aaclip.config");
    aaclip_config config = {.size = sizeof config};
    aaclip_text_cache_options own = {.size = sizeof own};
    aaclip_status status = aac_options_read(&own, sizeof own, options, "aaclip_text_cache_options");
    if (!status && json)
        status = aac_config_from_json(&config, json, aac_tensor_file_path(file));
    if (!own.config && json)
        own.config = &config;
    if (!status)
        status = aaclip_text_cache_new(out, model, adapters, &own);
    if (!status)
        status = check_file(*out, file, json ? &config : NULL);
    if (!status)
        status = load_pairs(*out, file);
    if (!status)
        (*out)->built = json != NULL;
    else
        aaclip_text_cache_close(out);
    return status;
}

aaclip_status aaclip_text_cache_open(aaclip_text_cache **out, const aaclip_model *model,
                                     const aaclip_adapters *adapters, const char *path,
                                     const aaclip_text_cache_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !model)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_open: NULL argument");
    aac_tensor_file *file = NULL;
    aaclip_status status = path ? aac_tensor_file_open(&file, path)
                                : aac_tensor_file_reopen(&file, aac_model_checkpoint(model)->file);
    if (!status)
        status = aac_tensor_file_verify(file);
    if (!status)
        status = load(out, file, model, adapters, options);
    aac_tensor_file_close(&file);
    return status;
}
