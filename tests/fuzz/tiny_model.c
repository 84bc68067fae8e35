#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/files/tensor_list.h"
#include "core/memory.h"
#include "model/model.h"
#include "scratch.h"

static const clip_sizes tiny = {
    .width = 4,
    .layers = 2,
    .mlp = 2,
    .patch = 1,
    .grid = TINY_SIDE,
    .embedding = TINY_EMBEDDING,
    .text_width = 2,
    .text_layers = 2,
    .text_mlp = 2,
    .context = 4,
    .vocabulary = 8,
};

static aaclip_model *model;

static void close_model(void)
{
    aaclip_model_close(&model);
}

char *tiny_model_write(void)
{
    tensor_list clip = {.value = 0.5f};
    tensor_list_openai(&clip, "", &tiny);
    return tensor_list_write(&clip, fuzz_folder(), "clip.safetensors", NULL, 0);
}

const aaclip_model *tiny_model(void)
{
    if (model)
        return model;
    char *path = tiny_model_write();
    aaclip_model_options options;
    aaclip_model_options_init(&options);
    options.backend = "reference";
    options.threads = 1;
    const aac_vision_tower *tower; /* packed here, not during the first input */
    if (aaclip_model_open(&model, path, &options) || aac_model_acquire_vision(model, true, &tower))
        abort();
    aac_model_release_vision(model, true);
    aac_free(path);
    atexit(close_model);
    return model;
}

aaclip_status tiny_detect(const aaclip_model *with, const aaclip_adapters *adapters,
                          const aaclip_text_cache *cache, const char *class_name)
{
    static const uint8_t pixels[TINY_SIDE * TINY_SIDE * 3] = {0, 10, 200, 30, 40, 250};
    const aaclip_image_view view = {pixels, TINY_SIDE, TINY_SIDE, 0, AACLIP_PIXEL_RGB8};
    aaclip_detector *detector = NULL;
    aaclip_result result = {.size = sizeof result};
    aaclip_status status = aaclip_detector_new(&detector, with, adapters, cache, NULL);
    if ((status == AACLIP_OK) != (detector != NULL) || (status && !*aaclip_last_error()))
        abort();
    if (detector && aaclip_detector_detect(detector, &view, class_name, &result) &&
        !strstr(aaclip_last_error(), "map or score is not finite") &&
        !strstr(aaclip_last_error(), "found NaN") && !strstr(aaclip_last_error(), "found zeros")) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        abort();
    }
    aaclip_detector_close(&detector);
    return status;
}
