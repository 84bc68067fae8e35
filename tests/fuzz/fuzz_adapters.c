/* Any bytes as adapters of a tiny model: what opens must detect, unless its calibration is damaged,
 * and open again after saving. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "fuzz.h"
#include "scratch.h"
#include "tiny_model.h"

static void detect(const aaclip_adapters *adapters)
{
    static const float normal[TINY_EMBEDDING] = {1, 0, 0}, abnormal[TINY_EMBEDDING] = {0, .6f, .8f};
    aaclip_text_cache *cache = NULL;
    if (aaclip_text_cache_new(&cache, tiny_model(), adapters, NULL) ||
        aaclip_text_cache_add(cache, "class", normal, abnormal))
        abort();
    aaclip_calibration calibration = {.size = sizeof calibration};
    bool damaged = aaclip_adapters_get_calibration(adapters, &calibration) == AACLIP_ERROR_FORMAT;
    if ((tiny_detect(tiny_model(), adapters, cache, "class") == AACLIP_OK) == damaged)
        abort();
    aaclip_text_cache_close(&cache);
}

static void open_again(const aaclip_adapters *adapters)
{
    aaclip_adapters *again = NULL;
    char *path = aac_format("%s/saved.safetensors", fuzz_folder());
    const char *const paths[] = {path};
    if (aaclip_adapters_save(adapters, path) ||
        aaclip_adapters_open(&again, tiny_model(), paths, 1, NULL)) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        abort();
    }
    aaclip_adapters_close(&again);
    aac_free(path);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    char *path = fuzz_write("input", data, size);
    const char *const paths[] = {path};
    aaclip_adapters *adapters;
    aaclip_status status = aaclip_adapters_open(&adapters, tiny_model(), paths, 1, NULL);
    if ((status == AACLIP_OK) != (adapters != NULL) || (status && !*aaclip_last_error()))
        abort();
    if (adapters) {
        detect(adapters);
        if (aaclip_adapters_has_text(adapters) || aaclip_adapters_has_image(adapters))
            open_again(adapters);
    }
    aaclip_adapters_close(&adapters);
    aac_free(path);
}

size_t fuzz_prefix(const uint8_t *data, size_t size)
{
    (void)data, (void)size;
    return 0;
}
