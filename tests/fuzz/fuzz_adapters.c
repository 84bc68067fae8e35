/* Any bytes as adapters and as text cache of a tiny model: what opens must detect, too. */
#include <stdlib.h>

#include <aaclip/aaclip.h>

#include "../unit/files/tensor_list.h"
#include "../unit/text/scratch_folder.h"
#include "core/memory.h"
#include "fuzz.h"

#define EMBEDDING 3
#define SIDE      4 /* pixels and patches */

/* The corpus holds files for exactly this model. */
static const clip_sizes tiny = {
    .width = 4,
    .layers = 2,
    .mlp = 2,
    .patch = 1,
    .grid = SIDE,
    .embedding = EMBEDDING,
    .text_width = 2,
    .text_layers = 2,
    .text_mlp = 2,
    .context = 4,
    .vocabulary = 8,
};

static void *folder;
static aaclip_model *model;

static void close_all(void)
{
    aaclip_model_close(&model);
    scratch_folder_remove(&folder);
}

static void open_model(void)
{
    if (model)
        return;
    tensor_list clip = {.value = 0.5f};
    aaclip_model_options options;
    tensor_list_openai(&clip, "", &tiny);
    if (scratch_folder_make(&folder))
        exit(1);
    char *path = tensor_list_write(&clip, folder, "clip.safetensors", NULL, 0);
    aaclip_model_options_init(&options);
    options.backend = "reference";
    options.threads = 1;
    if (aaclip_model_open(&model, path, &options))
        abort();
    aac_free(path);
    atexit(close_all);
}

static void detect(const aaclip_adapters *adapters)
{
    static const uint8_t pixels[SIDE * SIDE * 3] = {0, 10, 200, 30, 40, 250};
    static const float normal[EMBEDDING] = {1, 0, 0}, abnormal[EMBEDDING] = {0, 0.6f, 0.8f};
    const aaclip_image_view view = {pixels, SIDE, SIDE, 0, AACLIP_PIXEL_RGB8};
    aaclip_text_cache *cache = NULL;
    aaclip_detector *detector = NULL;
    aaclip_result result = {.size = sizeof result};
    if (aaclip_text_cache_new(&cache, model, adapters, NULL) ||
        aaclip_text_cache_add(cache, "class", normal, abnormal) ||
        aaclip_detector_new(&detector, model, adapters, cache, NULL) ||
        aaclip_detector_detect(detector, &view, "class", &result))
        abort();
    aaclip_detector_close(&detector);
    aaclip_text_cache_close(&cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_model();
    char *path = scratch_file(folder, "input", data, size);
    const char *const paths[] = {path};
    aaclip_adapters *adapters;
    aaclip_text_cache *cache;
    aaclip_status status = aaclip_adapters_open(&adapters, model, paths, 1, NULL);
    if ((status == AACLIP_OK) != (adapters != NULL) || (status && !*aaclip_last_error()))
        abort();
    if (adapters)
        detect(adapters);
    aaclip_adapters_close(&adapters);
    status = aaclip_text_cache_open(&cache, path, model, NULL, NULL);
    if ((status == AACLIP_OK) != (cache != NULL))
        abort();
    aaclip_text_cache_close(&cache);
    aac_free(path);
    return 0;
}
