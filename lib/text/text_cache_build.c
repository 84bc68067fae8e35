/* Runs prompts, of classes or the caller's, through tokenizer and text tower. */
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/utf8.h"
#include "model/fingerprint.h"
#include "text/prompt_list.h"
#include "text/text_cache_parts.h"
#include "text/text_encoder.h"

/* Rows per encoder run: bounds its memory, enough to keep the processor busy. */
#define GROUP_ROWS 2048
/* Prompts whose vectors are held at once; classes are built together up to this number. */
#define MOST_PROMPTS 4096

/* The vocabulary that was named, or the one beside the model. */
static aaclip_status open_tokenizer(aaclip_text_cache *cache)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(cache->model);
    if (cache->vocabulary)
        return aac_tokenizer_open(&cache->tokenizer, cache->vocabulary, checkpoint->vocabulary);
    const char *path = aac_tensor_file_path(checkpoint->file), *name = aac_path_name(path);
    if (aac_tensor_file_in_memory(checkpoint->file))
        return aac_error(AACLIP_ERROR_NOT_FOUND,
                         "%s: a model in memory has no vocabulary beside it; set "
                         "aaclip_text_cache_options.vocabulary",
                         path);
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

/* Without the tower: tokens are also needed by themselves. */
static aaclip_status prepare_tokenizer(aaclip_text_cache *cache)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(cache->model);
    if (!checkpoint->has_text)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: a deployment bundle has no text tower",
                         aac_tensor_file_path(checkpoint->file));
    return cache->tokenizer ? AACLIP_OK : open_tokenizer(cache);
}

/* Ids up to the first end token, whose row is the prompt's vector: a phrase may contain it. */
static aaclip_status tokenize(const aaclip_text_cache *cache, const char *prompt, int32_t *ids,
                              size_t *count)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(cache->model);
    aaclip_status status = aac_tokenizer_encode(cache->tokenizer, prompt, cache->truncate, ids,
                                                (size_t)checkpoint->context, count);
    for (size_t i = 0; !status && i < *count; i++)
        if (ids[i] == ids[*count - 1])
            *count = i + 1;
    return status;
}

static aaclip_status report_progress(const aaclip_text_cache *cache, size_t done, size_t total)
{
    if (!cache->progress || cache->progress(done, total, cache->progress_user))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_CANCELLED, "building the text cache was cancelled");
}

/* Encodes one group; puts the vectors in the order of the prompts before sorting. */
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

/* Prompts of one class: the normal ones, then the abnormal ones. */
typedef struct class_prompts {
    size_t normal, abnormal;
} class_prompts;

static class_prompts count_prompts(const aaclip_text_cache *cache)
{
    const aac_prompt_set *set = &cache->prompts;
    return (class_prompts){set->normal_count * set->template_count,
                           set->abnormal_count * set->template_count};
}

/* Builds some of `total` classes, after `before`; vectors (prompts of the classes, embedding). */
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

/* Appends the ids of one side's prompts; `filled` prompts are already present. */
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
        return aac_error(
            AACLIP_ERROR_UNSUPPORTED,
            "prompts: expected at most %d tokens per class, found %zu prompts of up to %zu",
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
    aaclip_status status = aac_mutex_take(cache->making);
    if (status)
        return status;
    status = prepare(cache);
    if (!status)
        status = tokenize_class(cache, phrase, tokens);
    *tower = cache->tower;
    aac_mutex_unlock(cache->making);
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

static aaclip_status check_strings(const char *const *strings, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        if (!strings || !strings[i] || !*strings[i])
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s %zu of %zu is NULL or empty", what,
                             i + 1, count);
    return AACLIP_OK;
}

static aaclip_status check_phrases(const char *const *phrases, const char *const *names,
                                   size_t count)
{
    aaclip_status status = check_strings(phrases, count, "phrase");
    for (size_t i = 0; !status && i < count; i++)
        if (!aac_utf8_is_valid(phrases[i]))
            status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                               "phrase of the class \"%s\": expected UTF-8, found \"%s\"", names[i],
                               phrases[i]);
    return status;
}

static uint64_t fingerprint_class(const aaclip_text_cache *cache, const char *phrase)
{
    const uint64_t keys[] = {aac_model_text_fingerprint(cache->model),
                             aac_adapters_text_fingerprint(cache->adapters),
                             cache->prompt_fingerprint};
    aac_fingerprint fingerprint = aac_fingerprint_start();
    aac_fingerprint_bytes(&fingerprint, keys, sizeof keys);
    aac_fingerprint_bytes(&fingerprint, phrase, strlen(phrase) + 1);
    return fingerprint.value;
}

static aaclip_status store_built(aaclip_text_cache *cache, const char *const *names,
                                 const char *const *phrases, size_t count, const float *pairs)
{
    uint64_t *fingerprints = aac_alloc_array(count, sizeof *fingerprints);
    if (!fingerprints)
        return aac_error_memory();
    for (size_t i = 0; i < count; i++)
        fingerprints[i] = fingerprint_class(cache, phrases[i]);
    aaclip_status status = aac_mutex_take(cache->mutex);
    if (!status) {
        status = aac_text_cache_store(cache, names, count, pairs, fingerprints);
        cache->built = cache->built || !status;
        aac_mutex_unlock(cache->mutex);
    }
    aac_free(fingerprints);
    return status;
}

aaclip_status aaclip_text_cache_build(aaclip_text_cache *cache, const char *const *names,
                                      const char *const *phrases, size_t count)
{
    if (!cache)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_build: NULL cache");
    aaclip_status status = check_strings(names, count, "class name");
    if (!status)
        status = aac_text_cache_check_names(names, count);
    if (!status)
        status = check_phrases(phrases, names, count);
    if (status || !count)
        return status;
    float *pairs = aac_alloc_array(count, 2 * (size_t)cache->embedding * sizeof(float));
    if (!pairs)
        return aac_error_memory();
    status = aac_mutex_take(cache->making);
    if (!status) {
        status = prepare(cache);
        if (!status)
            status = build_pairs(cache, phrases, count, pairs);
        if (!status)
            status = store_built(cache, names, phrases, count, pairs);
        aac_mutex_unlock(cache->making);
    }
    aac_free(pairs);
    return status;
}

aaclip_status aaclip_text_cache_encode(aaclip_text_cache *cache, const char *const *prompts,
                                       size_t count, float *vectors)
{
    if (!cache || (count && !vectors))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_text_cache_encode: NULL argument");
    aaclip_status status = check_strings(prompts, count, "prompt");
    if (status || !count)
        return status;
    status = aac_mutex_take(cache->making);
    if (status)
        return status;
    status = prepare(cache);
    if (!status)
        status = encode_prompts(cache, prompts, count, vectors);
    aac_mutex_unlock(cache->making);
    return status;
}

aaclip_status aaclip_text_cache_tokenize(aaclip_text_cache *cache, const char *prompt, int32_t *ids,
                                         size_t capacity, size_t *count)
{
    if (!cache || !prompt || !ids || !count)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_text_cache_tokenize: NULL argument");
    aaclip_status status = aac_mutex_take(cache->making);
    if (status)
        return status;
    status = prepare_tokenizer(cache);
    if (!status)
        status =
            aac_tokenizer_encode(cache->tokenizer, prompt, cache->truncate, ids, capacity, count);
    aac_mutex_unlock(cache->making);
    return status;
}
