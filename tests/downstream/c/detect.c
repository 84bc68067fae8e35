/* detect MODEL TEXT_ADAPTER IMAGE_ADAPTER PHOTO JPEG: prints the score and the library's version
 * information, for run.sh to compare with aaclip.pc. */
#include <stdio.h>
#include <string.h>

#include <aaclip/aaclip.h>

static aaclip_status score(char **files, float *value)
{
    const char *adapter_files[] = {files[1], files[2]}, *name = "object", *phrase = "metal nut";
    aaclip_model *model = NULL;
    aaclip_adapters *adapters = NULL;
    aaclip_text_cache *cache = NULL;
    aaclip_detector *detector = NULL;
    aaclip_image *image = NULL;
    aaclip_result result = {.size = sizeof result};

    aaclip_status status = aaclip_model_open(&model, files[0], NULL);
    if (!status)
        status = aaclip_adapters_open(&adapters, model, adapter_files, 2, NULL);
    if (!status)
        status = aaclip_text_cache_new(&cache, model, adapters, NULL);
    if (!status)
        status = aaclip_text_cache_build(cache, &name, &phrase, 1);
    if (!status)
        status = aaclip_detector_new(&detector, model, adapters, cache, NULL);
    if (!status)
        status = aaclip_image_open(&image, files[3]);
    if (!status) {
        const aaclip_image_view view = aaclip_image_get_view(image);
        status = aaclip_detector_detect(detector, &view, name, &result);
    }
    *value = result.score;
    aaclip_image_close(&image);
    aaclip_detector_close(&detector);
    aaclip_text_cache_close(&cache);
    aaclip_adapters_close(&adapters);
    aaclip_model_close(&model);
    return status;
}

static int has_backend(const char *name)
{
    for (size_t i = 0; aaclip_backend_name(i); i++)
        if (strcmp(aaclip_backend_name(i), name) == 0)
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    float value = 0;
    aaclip_image *jpeg = NULL;
    if (argc != 6)
        return fprintf(stderr, "usage: detect MODEL TEXT IMAGE PHOTO JPEG\n"), 2;
    if (score(argv + 1, &value))
        return fprintf(stderr, "%s\n", aaclip_last_error()), 1;
    const aaclip_status jpeg_status = aaclip_image_open(&jpeg, argv[5]);
    if (jpeg_status && jpeg_status != AACLIP_ERROR_UNSUPPORTED)
        return fprintf(stderr, "%s\n", aaclip_last_error()), 1;
    aaclip_image_close(&jpeg);
    printf("score %.9g\n", (double)value);
    printf("version %s\n", aaclip_version_string());
    printf("header %s\n", AACLIP_VERSION_STRING);
    printf("has_onednn %d\n", has_backend("onednn"));
    printf("has_openblas %d\n", has_backend("blas"));
    printf("has_cuda %d\n", has_backend("cuda"));
    printf("has_jpeg %d\n", jpeg_status == AACLIP_OK);
    return 0;
}
