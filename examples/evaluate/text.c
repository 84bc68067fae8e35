/* Text vectors of the classes, and the keys of results that depend on them. */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool build_progress(size_t done, size_t total, void *user)
{
    progress_update(user, done, total);
    return true;
}

static bool build_missing(session *state, size_t *built)
{
    string_list missing = {0};
    bool good = true;
    for (size_t i = 0; good && i < aaclip_dataset_class_count(state->dataset); i++) {
        const char *name = aaclip_dataset_class_name(state->dataset, i);
        if (aaclip_text_cache_get(state->cache, name, NULL, NULL) != AACLIP_OK)
            good = list_add(&missing, name) || !complain(PROGRAM, "out of memory");
    }
    good = good && !failed(build_classes(state->cache, state->arguments->dataset,
                                         state->arguments->phrase, &missing));
    *built = missing.count;
    list_clear(&missing);
    return good;
}

/* Vectors of --phrase are not kept: they would be confused with those of the class. */
static bool check_phrase(const session *state, bool has_text)
{
    const size_t classes = aaclip_dataset_class_count(state->dataset);
    if (!has_text)
        return !complain(PROGRAM, "--phrase: %s is a bundle, which has its own vectors",
                         state->arguments->model);
    return classes == 1 ||
           !complain(PROGRAM, "--phrase goes with one class, found %zu; choose it with --class",
                     classes);
}

bool open_cache(session *state, const aaclip_adapters *adapters)
{
    const command_line *arguments = state->arguments;
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.vocabulary = arguments->vocabulary;
    options.prompts = arguments->prompts;
    options.config = &state->config;
    options.progress = build_progress;
    options.progress_user = &state->bar;
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(state->model, &info);
    if (arguments->phrase && !check_phrase(state, info.has_text))
        return false;
    char *kept = !arguments->out || arguments->phrase
                     ? NULL
                     : format_text("%s/text-%s.safetensors", arguments->out,
                                   arguments->dataset ? arguments->dataset : "any");
    const char *stored = info.has_text ? kept : arguments->model;
    struct stat file;
    aaclip_status status = AACLIP_ERROR_NOT_FOUND;
    if (stored && stat(stored, &file) == 0)
        status = aaclip_text_cache_open(&state->cache, state->model, adapters, stored, &options);
    if (status && info.has_text) /* none, or of other weights: rebuild */
        status = aaclip_text_cache_new(&state->cache, state->model, adapters, &options);
    size_t built = 0;
    progress_start(&state->bar, "text");
    bool good = !failed(status) && build_missing(state, &built);
    progress_end(&state->bar);
    if (good && kept && built)
        good = !failed(aaclip_text_cache_save(state->cache, kept));
    free(kept);
    return good;
}

static bool hash_file(uint64_t *hash, const char *path)
{
    uint8_t bytes[65536];
    FILE *file = fopen(path, "rb");
    if (!file)
        return !complain(PROGRAM, "%s: %s", path, strerror(errno));
    for (size_t count; (count = fread(bytes, 1, sizeof bytes, file)) > 0;)
        *hash = hash_bytes(*hash, bytes, count);
    bool whole = !ferror(file);
    fclose(file);
    return whole || !complain(PROGRAM, "%s: cannot read", path);
}

/* Everything but image and class that affects an image's result. */
static bool checkpoint_key(const session *state, const evaluation *result, uint64_t *key)
{
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(state->model, &info);
    uint64_t hash = hash_text(HASH_START, aaclip_version_string());
    hash = hash_text(hash, info.fingerprint);
    hash = hash_text(hash, info.backend);
    hash = hash_text(hash, aaclip_precision_name(info.precision));
    hash = hash_text(hash, aaclip_domain_name(state->domain));
    hash = hash_bytes(hash, &state->image_size, sizeof state->image_size);
    hash = hash_bytes(hash, &state->arguments->tile, sizeof state->arguments->tile);
    hash = hash_bytes(hash, &state->tile_overlap, sizeof state->tile_overlap);
    hash = hash_bytes(hash, &state->arguments->window, sizeof state->arguments->window);
    hash = hash_text(hash, state->arguments->has_profile || !result->files.count
                               ? aaclip_profile_name(state->config.profile)
                               : "");
    bool good = true;
    for (size_t i = 0; good && i < result->files.count; i++)
        good = hash_file(&hash, result->files.items[i]);
    *key = hash;
    return good;
}

/* The text vectors stand for prompts, phrases and text adapters. */
uint64_t *class_keys(const session *state, const evaluation *result)
{
    const size_t count = aaclip_dataset_class_count(state->dataset);
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(state->model, &info);
    uint64_t *keys = malloc(count * sizeof *keys), start = 0;
    float *pair = malloc(2 * sizeof *pair * info.embedding);
    bool good = keys && pair && checkpoint_key(state, result, &start);
    for (size_t i = 0; good && i < count; i++) {
        const char *name = aaclip_dataset_class_name(state->dataset, i);
        good = !failed(aaclip_text_cache_get(state->cache, name, pair, pair + info.embedding));
        keys[i] = hash_bytes(hash_text(start, name), pair, 2 * sizeof *pair * info.embedding);
    }
    free(pair);
    if (!good) {
        free(keys);
        return NULL;
    }
    return keys;
}
