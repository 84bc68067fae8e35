/* The shortest useful program: the score of one image. See aaclip.h. */
#include <stdio.h>

#include <aaclip/aaclip.h>

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: hello MODEL TEXT_ADAPTER IMAGE_ADAPTER PHRASE IMAGE\n");
        return 2;
    }
    const char *adapter_files[] = {argv[2], argv[3]}, *name[] = {"object"}, *phrase[] = {argv[4]};
    aaclip_model *model = NULL;
    aaclip_adapters *adapters = NULL;
    aaclip_text_cache *cache = NULL;
    aaclip_detector *detector = NULL;
    aaclip_image *image = NULL;
    aaclip_result result = {.size = sizeof result};

    aaclip_status status = aaclip_model_open(&model, argv[1], NULL);
    if (!status)
        status = aaclip_adapters_open(&adapters, model, adapter_files, 2, NULL);
    if (!status)
        status = aaclip_text_cache_new(&cache, model, adapters, NULL);
    if (!status)
        status = aaclip_text_cache_build(cache, name, phrase, 1);
    if (!status)
        status = aaclip_detector_new(&detector, model, adapters, cache, NULL);
    if (!status)
        status = aaclip_image_open(&image, argv[5]);
    if (!status) {
        aaclip_image_view view = aaclip_image_get_view(image);
        status = aaclip_detector_detect(detector, &view, "object", &result);
    }
    if (status)
        fprintf(stderr, "%s\n", aaclip_last_error());
    else
        printf("score %f, anomaly map %u x %u\n", (double)result.score, result.map_width,
               result.map_height);

    aaclip_image_close(&image);
    aaclip_detector_close(&detector);
    aaclip_text_cache_close(&cache);
    aaclip_adapters_close(&adapters);
    aaclip_model_close(&model);
    return status != AACLIP_OK;
}
