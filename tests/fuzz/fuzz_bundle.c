/* Any bytes as a deployment bundle: a detector that can be created must detect, and what opens must
 * open again after saving. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "fuzz.h"
#include "model/model.h"
#include "scratch.h"
#include "tiny_model.h"

#define MOST_WORK 4096 /* tokens times width; larger ones take too long */

typedef struct bundle {
    aaclip_model *model;
    aaclip_adapters *adapters; /* NULL: none */
    aaclip_text_cache *cache;
} bundle;

static void check_status(aaclip_status status, const void *handle)
{
    if ((status == AACLIP_OK) != (handle != NULL) || (status && !*aaclip_last_error()))
        abort();
}

static bool is_small(const aaclip_model *model)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(model);
    int64_t widest = checkpoint->vision.width + checkpoint->vision.mlp;
    return checkpoint->grid < 64 && checkpoint->grid * checkpoint->grid * widest < MOST_WORK &&
           checkpoint->patch < 64 && checkpoint->vision.layers < 64;
}

static bool open_bundle(bundle *opened, const char *path)
{
    const char *const paths[] = {path};
    aaclip_model_options options;
    aaclip_model_options_init(&options);
    options.backend = "reference";
    options.threads = 1;
    *opened = (bundle){0};
    aaclip_status status = aaclip_model_open(&opened->model, path, &options);
    check_status(status, opened->model);
    if (!opened->model || !is_small(opened->model))
        return false;
    status = aaclip_adapters_open(&opened->adapters, opened->model, paths, 1, NULL);
    check_status(status, opened->adapters);
    status = aaclip_text_cache_open(&opened->cache, opened->model, opened->adapters, path, NULL);
    check_status(status, opened->cache);
    return opened->cache && aaclip_text_cache_count(opened->cache);
}

static void close_bundle(bundle *opened)
{
    aaclip_text_cache_close(&opened->cache);
    aaclip_adapters_close(&opened->adapters);
    aaclip_model_close(&opened->model);
}

static void open_again(const bundle *opened, bool float16)
{
    bundle again;
    char *path = aac_format("%s/saved.safetensors", fuzz_folder());
    aaclip_status status =
        aaclip_bundle_save(opened->model, opened->adapters, opened->cache, path, float16);
    if (status || !open_bundle(&again, path) ||
        aaclip_text_cache_count(again.cache) != aaclip_text_cache_count(opened->cache)) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        abort();
    }
    close_bundle(&again);
    aac_free(path);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    char *path = fuzz_write("input", data, size);
    bundle opened;
    if (open_bundle(&opened, path)) {
        tiny_detect(opened.model, opened.adapters, opened.cache,
                    aaclip_text_cache_name(opened.cache, 0));
        open_again(&opened, size % 2);
    }
    close_bundle(&opened);
    aac_free(path);
}

size_t fuzz_prefix(const uint8_t *data, size_t size)
{
    (void)data, (void)size;
    return 0;
}
