#include "text/text_cache.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/cancel.h"
#include "core/config.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/names.h"
#include "core/options.h"
#include "core/platform.h"
#include "model/fingerprint.h"
#include "model/model.h"
#include "text/codepoints.h"
#include "text/prompt_list.h"
#include "text/prompts.h"
#include "text/text_encoder.h"
#include "text/tokenizer.h"

/* Rows of the encoder at once: bounds its memory, feeds the processor. */
#define GROUP_ROWS 2048
/* Prompts whose vectors are held at once; classes are built together up to here. */
#define MOST_PROMPTS 4096

typedef struct class_pair {
    char *name;
    float *vectors; // (2, embedding): normal, abnormal
} class_pair;

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
    aac_mutex *mutex; /* guards what follows */
    aac_tokenizer *tokenizer;
    const aac_text_tower *tower;
    class_pair *pairs;
    size_t count, capacity;
    aac_names names; /* numbers of pairs */
};

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
    status = cache->mutex ? configure(cache, &own) : aac_error_memory();
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

/* Leaves the first `count` pairs. */
static void drop_pairs(aaclip_text_cache *cache, size_t count)
{
    while (cache->count > count) {
        class_pair *pair = &cache->pairs[--cache->count];
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
    aac_free(cache->vocabulary);
    aaclip_adapters_close(&cache->adapters);
    aaclip_model_close(&cache->model);
    aac_free(cache);
}

void aac_text_cache_rest(const aaclip_text_cache *cache)
{
    aaclip_text_cache *own = (aaclip_text_cache *)cache;
    if (aac_mutex_is_orphan(own->mutex)) /* see aac_mutex_take */
        return;
    aac_mutex_lock(own->mutex);
    if (own->tower)
        aac_model_release_text(own->model);
    own->tower = NULL;
    aac_mutex_unlock(own->mutex);
}

/* The vocabulary that was named, or the one beside the model. */
static aaclip_status open_tokenizer(aaclip_text_cache *cache)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(cache->model);
    if (cache->vocabulary)
        return aac_tokenizer_open(&cache->tokenizer, cache->vocabulary, checkpoint->vocabulary);
    const char *path = aac_tensor_file_path(checkpoint->file), *name = aac_path_name(path);
    char *folder = name > path ? aac_format("%.*s", (int)(name - path), path) : aac_strdup("./");
    if (!folder)
        return aac_error_memory();
    aaclip_status status = aac_tokenizer_open(&cache->tokenizer, folder, checkpoint->vocabulary);
    aac_free(folder);
    return status;
}

static aaclip_status prepare(aaclip_text_cache *cache)
{
    aaclip_status status = AACLIP_OK;
    if (!cache->tower)
        status = aac_model_acquire_text(cache->model, &cache->tower);
    if (!status && !cache->tokenizer)
        status = open_tokenizer(cache);
    return status;
}

static aaclip_status tokenize(const aaclip_text_cache *cache, const char *prompt, int32_t *ids,
                              size_t *count)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(cache->model);
    return aac_tokenizer_encode(cache->tokenizer, prompt, cache->truncate, ids,
                                (size_t)checkpoint->context, count);
}

static aaclip_status report_progress(const aaclip_text_cache *cache, size_t done, size_t total)
{
    if (!cache->progress || cache->progress(done, total, cache->progress_user))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_CANCELLED, "building the text cache was cancelled");
}

/* Of one group, vectors to where the prompts were before they were sorted. */
static aaclip_status encode_group(const aaclip_text_cache *cache, const aac_token_batch *batch,
                                  const size_t *order, float *vectors)
{
    size_t size = (size_t)cache->embedding, count = (size_t)batch->prompts;
    float *sorted = aac_alloc_array(count * size, sizeof *sorted);
    if (!sorted)
        return aac_error_memory();
    aaclip_status status =
        aac_text_encode(cache->model, cache->tower, cache->adapters, &cache->config, batch, sorted);
    for (size_t i = 0; !status && i < count; i++)
        memcpy(vectors + order[i] * size, sorted + i * size, size * sizeof *vectors);
    aac_free(sorted);
    return status;
}

/* vectors (prompts, embedding); `before` of `total` prompts are done already, for progress. */
static aaclip_status encode_list(const aaclip_text_cache *cache, aac_prompt_list *list,
                                 float *vectors, size_t before, size_t total)
{
    aaclip_status status = aac_prompt_list_sort(list);
    for (size_t done = 0; !status && done < list->count;) {
        const aac_token_batch batch = aac_prompt_list_group(list, done, GROUP_ROWS);
        status = report_progress(cache, before + done, total);
        if (!status)
            status = encode_group(cache, &batch, list->order + done, vectors);
        done += (size_t)batch.prompts;
    }
    return status;
}

static aaclip_status add_prompts(const aaclip_text_cache *cache, const char *const *prompts,
                                 size_t count, aac_prompt_list *list)
{
    size_t context = (size_t)aac_model_checkpoint(cache->model)->context;
    int32_t *ids = aac_alloc_array(context, sizeof *ids);
    aaclip_status status = ids ? AACLIP_OK : aac_error_memory();
    for (size_t i = 0; !status && i < count; i++) {
        size_t length = 0;
        status = aac_cancel_look();
        if (!status)
            status = tokenize(cache, prompts[i], ids, &length);
        if (!status)
            status = aac_prompt_list_add(list, ids, length);
    }
    aac_free(ids);
    return status;
}

static aaclip_status add_side(const aaclip_text_cache *cache, char *const *states,
                              size_t state_count, const char *phrase, aac_prompt_list *list)
{
    char **prompts = NULL;
    size_t count = 0;
    aaclip_status status =
        aac_prompts_fill(&prompts, &count, states, state_count, cache->prompts.templates,
                         cache->prompts.template_count, phrase);
    if (!status)
        status = add_prompts(cache, (const char *const *)prompts, count, list);
    aac_list_free(prompts, count);
    return status;
}

/* Prompts of one class: the normal ones, then the others. */
typedef struct class_prompts {
    size_t normal, abnormal;
} class_prompts;

static class_prompts count_prompts(const aaclip_text_cache *cache)
{
    const aac_prompt_set *set = &cache->prompts;
    return (class_prompts){set->normal_count * set->template_count,
                           set->abnormal_count * set->template_count};
}

/* Some of `total` classes, of which `before` are done; vectors (prompts of the classes, embedding).
 */
static aaclip_status build_some(const aaclip_text_cache *cache, const char *const *phrases,
                                size_t count, size_t before, size_t total, float *vectors,
                                float *pairs)
{
    const aac_prompt_set *set = &cache->prompts;
    const class_prompts prompts = count_prompts(cache);
    size_t size = (size_t)cache->embedding, both = prompts.normal + prompts.abnormal;
    bool unit = cache->config.normalize_class_vector;
    aac_prompt_list list = {0};
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < count; i++) {
        status = add_side(cache, set->normal, set->normal_count, phrases[i], &list);
        if (!status)
            status = add_side(cache, set->abnormal, set->abnormal_count, phrases[i], &list);
    }
    if (!status)
        status = encode_list(cache, &list, vectors, before * both, total * both);
    for (size_t i = 0; !status && i < count; i++) {
        const float *of_class = vectors + i * both * size;
        float *pair = pairs + 2 * i * size;
        aac_class_vector(of_class, prompts.normal, cache->embedding, unit, pair);
        aac_class_vector(of_class + prompts.normal * size, prompts.abnormal, cache->embedding, unit,
                         pair + size);
    }
    aac_prompt_list_clear(&list);
    return status;
}

static aaclip_status build_pairs(const aaclip_text_cache *cache, const char *const *phrases,
                                 size_t count, float *pairs)
{
    const class_prompts prompts = count_prompts(cache);
    size_t size = (size_t)cache->embedding, both = prompts.normal + prompts.abnormal;
    size_t together = both < MOST_PROMPTS ? MOST_PROMPTS / both : 1;
    together = together < count ? together : count;
    float *vectors = aac_alloc_array(together * both * size, sizeof *vectors);
    aaclip_status status = vectors ? AACLIP_OK : aac_error_memory();
    for (size_t done = 0, some; !status && done < count; done += some) {
        some = count - done < together ? count - done : together;
        status =
            build_some(cache, phrases + done, some, done, count, vectors, pairs + 2 * done * size);
    }
    if (!status)
        status = report_progress(cache, count * both, count * both);
    aac_free(vectors);
    return status;
}

/* vectors (count, embedding) */
static aaclip_status encode_prompts(const aaclip_text_cache *cache, const char *const *prompts,
                                    size_t count, float *vectors)
{
    aac_prompt_list list = {0};
    aaclip_status status = add_prompts(cache, prompts, count, &list);
    if (!status)
        status = encode_list(cache, &list, vectors, 0, count);
    aac_prompt_list_clear(&list);
    return status;
}

/* Appends the ids of one side's prompts; `filled` prompts are there already. */
static aaclip_status append_side(aaclip_text_cache *cache, char *const *states, size_t state_count,
                                 const char *phrase, aac_class_tokens *tokens, size_t filled)
{
    char **prompts = NULL;
    size_t count = 0;
    aaclip_status status =
        aac_prompts_fill(&prompts, &count, states, state_count, cache->prompts.templates,
                         cache->prompts.template_count, phrase);
    for (size_t i = 0; !status && i < count; i++) {
        int32_t *offset = &tokens->offsets[filled + i];
        size_t length = 0;
        status = aac_cancel_look();
        if (!status)
            status = tokenize(cache, prompts[i], tokens->ids + *offset, &length);
        offset[1] = *offset + (int32_t)length;
    }
    aac_list_free(prompts, count);
    return status;
}

static aaclip_status tokenize_class(aaclip_text_cache *cache, const char *phrase,
                                    aac_class_tokens *tokens)
{
    const aac_prompt_set *set = &cache->prompts;
    size_t context = (size_t)aac_model_checkpoint(cache->model)->context;
    const class_prompts counts = count_prompts(cache);
    tokens->normal = counts.normal;
    tokens->abnormal = counts.abnormal;
    size_t prompts = tokens->normal + tokens->abnormal;
    if (context && prompts > INT32_MAX / context)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "prompts: expected at most %d tokens of a class, found %zu prompts of up "
                         "to %zu",
                         INT32_MAX, prompts, context);
    tokens->ids = aac_alloc_array(prompts * context, sizeof *tokens->ids);
    tokens->offsets = aac_calloc(prompts + 1, sizeof *tokens->offsets);
    if (!tokens->ids || !tokens->offsets)
        return aac_error_memory();
    aaclip_status status = append_side(cache, set->normal, set->normal_count, phrase, tokens, 0);
    return status ? status
                  : append_side(cache, set->abnormal, set->abnormal_count, phrase, tokens,
                                tokens->normal);
}

aaclip_status aac_text_cache_tokens(aaclip_text_cache *cache, const char *phrase,
                                    aac_class_tokens *tokens, const aac_text_tower **tower)
{
    *tokens = (aac_class_tokens){0};
    aaclip_status status = aac_mutex_take(cache->mutex);
    if (status)
        return status;
    status = prepare(cache);
    if (!status)
        status = tokenize_class(cache, phrase, tokens);
    *tower = cache->tower;
    aac_mutex_unlock(cache->mutex);
    if (status)
        aac_class_tokens_clear(tokens);
    return status;
}

void aac_class_tokens_clear(aac_class_tokens *tokens)
{
    aac_free(tokens->ids);
    aac_free(tokens->offsets);
    *tokens = (aac_class_tokens){0};
}

static class_pair *find_pair(const aaclip_text_cache *cache, const char *name)
{
    size_t number = aac_names_find(&cache->names, name);
    return number != AAC_NO_NAME ? &cache->pairs[number] : NULL;
}

static aaclip_status reserve(aaclip_text_cache *cache, size_t more)
{
    if (!aac_names_reserve(&cache->names, more))
        return aac_error_memory();
    if (cache->pairs && cache->count + more <= cache->capacity)
        return AACLIP_OK;
    size_t capacity = 2 * cache->capacity + more;
    class_pair *moved = aac_realloc(cache->pairs, capacity * sizeof *moved);
    if (!moved)
        return aac_error_memory();
    cache->pairs = moved;
    cache->capacity = capacity;
    return AACLIP_OK;
}

static aaclip_status new_pair(class_pair *pair, const char *name, int64_t embedding)
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
    class_pair *pair = &cache->pairs[cache->count];
    aaclip_status status = new_pair(pair, name, cache->embedding);
    if (!status)
        aac_names_add(&cache->names, pair->name, cache->count++);
    return status;
}

/* Adds or replaces all pairs, or none when memory runs out. */
static aaclip_status store_pairs(aaclip_text_cache *cache, const char *const *names, size_t count,
                                 const float *pairs)
{
    size_t before = cache->count, size = 2 * (size_t)cache->embedding;
    aaclip_status status = reserve(cache, count);
    for (size_t i = 0; !status && i < count; i++)
        if (!find_pair(cache, names[i]))
            status = add_pair(cache, names[i]);
    if (status) {
        drop_pairs(cache, before);
        return status;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(cache->pairs[aac_names_find(&cache->names, names[i])].vectors, pairs + i * size,
               size * sizeof *pairs);
    return AACLIP_OK;
}

/* Files keep names as JSON. */
static aaclip_status check_names(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!aac_utf8_is_valid(names[i]))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "class name %zu of %zu: expected UTF-8",
                             i + 1, count);
    return AACLIP_OK;
}

static aaclip_status check_strings(const char *const *strings, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        if (!strings || !strings[i] || !*strings[i])
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s %zu of %zu is NULL or empty", what,
                             i + 1, count);
    return AACLIP_OK;
}

aaclip_status aaclip_text_cache_build(aaclip_text_cache *cache, const char *const *names,
                                      const char *const *phrases, size_t count)
{
    if (!cache)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_build: NULL cache");
    aaclip_status status = check_strings(names, count, "class name");
    if (!status)
        status = check_names(names, count);
    if (!status)
        status = check_strings(phrases, count, "phrase");
    if (status)
        return status;
    float *pairs = aac_alloc_array(count, 2 * (size_t)cache->embedding * sizeof(float));
    if (!pairs)
        return aac_error_memory();
    status = aac_mutex_take(cache->mutex);
    if (!status) {
        status = prepare(cache);
        if (!status)
            status = build_pairs(cache, phrases, count, pairs);
        if (!status)
            status = store_pairs(cache, names, count, pairs);
        aac_mutex_unlock(cache->mutex);
    }
    aac_free(pairs);
    return status;
}

aaclip_status aaclip_text_cache_add(aaclip_text_cache *cache, const char *name, const float *normal,
                                    const float *abnormal)
{
    if (!cache || !name || !*name || !normal || !abnormal)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_add: NULL argument");
    aaclip_status status = check_names(&name, 1);
    if (status)
        return status;
    size_t size = (size_t)cache->embedding;
    float *pair = aac_alloc_array(2 * size, sizeof *pair);
    if (!pair)
        return aac_error_memory();
    memcpy(pair, normal, size * sizeof *pair);
    memcpy(pair + size, abnormal, size * sizeof *pair);
    status = aac_mutex_take(cache->mutex);
    if (!status) {
        status = store_pairs(cache, &name, 1, pair);
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
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what is counted is there */
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", cache->pairs[i].name);
    }
    return aac_error(AACLIP_ERROR_NOT_FOUND, "class '%s': not in the text cache, which has: %s",
                     name, cache->count ? known : "nothing");
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
    const class_pair *pair = find_pair(cache, name);
    status = pair ? AACLIP_OK : unknown_class(cache, name);
    if (pair && normal)
        memcpy(normal, pair->vectors, size * sizeof *normal);
    if (pair && abnormal)
        memcpy(abnormal, pair->vectors + size, size * sizeof *abnormal);
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

aaclip_status aaclip_text_cache_encode(aaclip_text_cache *cache, const char *const *prompts,
                                       size_t count, float *vectors)
{
    if (!cache || !vectors)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_encode: NULL argument");
    aaclip_status status = check_strings(prompts, count, "prompt");
    if (status)
        return status;
    status = aac_mutex_take(cache->mutex);
    if (status)
        return status;
    status = prepare(cache);
    if (!status)
        status = encode_prompts(cache, prompts, count, vectors);
    aac_mutex_unlock(cache->mutex);
    return status;
}

aaclip_status aaclip_text_cache_tokenize(aaclip_text_cache *cache, const char *prompt, int32_t *ids,
                                         size_t capacity, size_t *count)
{
    if (!cache || !prompt || !ids || !count)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_text_cache_tokenize: NULL argument");
    aaclip_status status = aac_mutex_take(cache->mutex);
    if (status)
        return status;
    status = cache->tokenizer ? AACLIP_OK : open_tokenizer(cache);
    if (!status)
        status =
            aac_tokenizer_encode(cache->tokenizer, prompt, cache->truncate, ids, capacity, count);
    aac_mutex_unlock(cache->mutex);
    return status;
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
                     "text cache: made with another text tower than the model's");
}

aaclip_status aac_text_cache_check(const aaclip_text_cache *cache, const aaclip_model *model,
                                   const aaclip_adapters *adapters)
{
    aaclip_status status = aac_text_cache_check_model(cache, model);
    if (status)
        return status;
    if (aac_adapters_text_fingerprint(cache->adapters) != aac_adapters_text_fingerprint(adapters))
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "text cache: made with other text adapters than the detector's");
    return AACLIP_OK;
}

static aaclip_status save_pairs(const aaclip_text_cache *cache, aac_save_list *list)
{
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < cache->count; i++) {
        char *name = aac_format("text_cache.%s", cache->pairs[i].name);
        status = name ? aac_save_floats(list, name, cache->pairs[i].vectors, 2, cache->embedding)
                      : aac_error_memory();
        aac_free(name);
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
    aac_save_list list = {0};
    aaclip_status status = aac_text_cache_save_entries(cache, &list);
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
                     "%s: made with other %s: expected %s %016llx, found %016llx", path, what, key,
                     (unsigned long long)expected, (unsigned long long)found);
}

static aaclip_status check_file(const aaclip_text_cache *cache, const aac_tensor_file *file)
{
    aaclip_status status = check_key(file, "aaclip.text_fingerprint",
                                     aac_model_text_fingerprint(cache->model), "weights");
    if (!status)
        status = check_key(file, "aaclip.text_cache_adapter_fingerprint",
                           aac_adapters_text_fingerprint(cache->adapters), "text adapters");
    if (!status && aac_model_checkpoint(cache->model)->has_text)
        status = check_key(file, "aaclip.prompt_fingerprint", cache->prompt_fingerprint, "prompts");
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
    aaclip_status status = store_pairs(cache, &name, 1, pair);
    aac_free(pair);
    return status;
}

aaclip_status aaclip_text_cache_open(aaclip_text_cache **out, const char *path,
                                     const aaclip_model *model, const aaclip_adapters *adapters,
                                     const aaclip_text_cache_options *options)
{
    if (out)
        *out = NULL;
    if (!path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_open: NULL path");
    aac_tensor_file *file = NULL;
    aaclip_status status = aaclip_text_cache_new(out, model, adapters, options);
    if (!status)
        status = aac_tensor_file_open(&file, path);
    if (!status)
        status = check_file(*out, file);
    for (size_t i = 0; !status && i < aac_tensor_file_count(file); i++) {
        const aac_tensor *tensor = aac_tensor_file_at(file, i);
        if (strncmp(tensor->name, "text_cache.", strlen("text_cache.")) == 0)
            status = load_pair(*out, file, tensor);
    }
    aac_tensor_file_close(&file);
    if (status && out)
        aaclip_text_cache_close(out);
    return status;
}
