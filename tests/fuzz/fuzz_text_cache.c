/* Any bytes as the text cache of a tiny model: what opens must detect, and survive saving
 * unchanged. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "fuzz.h"
#include "scratch.h"
#include "tiny_model.h"

static aaclip_status open_cache(aaclip_text_cache **cache, const char *path)
{
    return aaclip_text_cache_open(cache, tiny_model(), NULL, path, NULL);
}

static void compare(const aaclip_text_cache *cache, const aaclip_text_cache *again)
{
    float pairs[2][2][TINY_EMBEDDING];
    if (aaclip_text_cache_count(cache) != aaclip_text_cache_count(again))
        abort();
    for (size_t i = 0; i < aaclip_text_cache_count(cache); i++) {
        const char *name = aaclip_text_cache_name(cache, i);
        if (aaclip_text_cache_get(cache, name, pairs[0][0], pairs[0][1]) ||
            aaclip_text_cache_get(again, name, pairs[1][0], pairs[1][1]) ||
            memcmp(pairs[0], pairs[1], sizeof pairs[0]) != 0)
            abort();
    }
}

static void open_again(const aaclip_text_cache *cache)
{
    aaclip_text_cache *again = NULL;
    char *path = aac_format("%s/saved.safetensors", fuzz_folder());
    if (aaclip_text_cache_save(cache, path) || open_cache(&again, path))
        abort();
    compare(cache, again);
    aaclip_text_cache_close(&again);
    aac_free(path);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    char *path = fuzz_write("input", data, size);
    aaclip_text_cache *cache;
    aaclip_status status = open_cache(&cache, path);
    if ((status == AACLIP_OK) != (cache != NULL) || (status && !*aaclip_last_error()))
        abort();
    if (cache && aaclip_text_cache_count(cache) &&
        tiny_detect(tiny_model(), NULL, cache, aaclip_text_cache_name(cache, 0)))
        abort();
    if (cache)
        open_again(cache);
    aaclip_text_cache_close(&cache);
    aac_free(path);
}

size_t fuzz_prefix(const uint8_t *data, size_t size)
{
    (void)data, (void)size;
    return 0;
}
