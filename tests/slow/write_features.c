/*
 * A client of the public API that writes what aaclip-detect does not: the text vectors, the patch
 * and detection features and the ids of prompts. Each FOLDER receives the arrays of one image;
 * prompts come from stdin, one per line, and their ids go to stdout.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/aaclip.h>

#define CLASS            "object"
#define EXIT_UNSUPPORTED 3 /* the backend lacks the precision */

typedef struct client {
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_text_cache *cache;
    aaclip_detector *detector;
    aaclip_config config;
} client;

static aaclip_status open_model(client *c, const char *path, const char *precision,
                                const char *backend)
{
    aaclip_model_options options;
    aaclip_model_options_init(&options);
    options.backend = backend;
    options.precision =
        strcmp(precision, "bf16") == 0 ? AACLIP_PRECISION_BF16 : AACLIP_PRECISION_F32;
    return aaclip_model_open(&c->model, path, &options);
}

static aaclip_status open_rest(client *c, const char *const *adapters, const char *vocabulary,
                               const char *phrase, const char *domain)
{
    const char *const name = CLASS;
    aaclip_text_cache_options text;
    aaclip_detector_options detector;
    aaclip_text_cache_options_init(&text);
    aaclip_detector_options_init(&detector);
    text.vocabulary = vocabulary;
    detector.keep_features = true;
    if (strcmp(domain, aaclip_domain_name(AACLIP_DOMAIN_MEDICAL)) == 0)
        detector.domain = AACLIP_DOMAIN_MEDICAL;
    aaclip_status status = aaclip_adapters_open(&c->adapters, c->model, adapters, 2, NULL);
    if (!status)
        status = aaclip_adapters_get_config(c->adapters, &c->config);
    if (!status)
        status = aaclip_text_cache_new(&c->cache, c->model, c->adapters, &text);
    if (!status)
        status = aaclip_text_cache_build(c->cache, &name, &phrase, 1);
    if (!status)
        status = aaclip_detector_new(&c->detector, c->model, c->adapters, c->cache, &detector);
    return status;
}

static aaclip_status write_array(const char *folder, const char *name, const float *values,
                                 size_t rows, size_t columns)
{
    char path[4096];
    const size_t shape[] = {rows, columns};
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    return aaclip_write_npy(path, values, shape, 2);
}

static aaclip_status write_pair(const client *c, const char *folder, size_t embedding)
{
    float *pair = malloc(2 * embedding * sizeof *pair);
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (pair)
        status = aaclip_text_cache_get(c->cache, CLASS, pair, pair + embedding);
    if (!status)
        status = write_array(folder, "text.pair", pair, 2, embedding);
    free(pair);
    return status;
}

static aaclip_status write_result(const client *c, const aaclip_result *result, const char *folder)
{
    size_t patches = (size_t)result->patch_rows * result->patch_columns;
    aaclip_status status = write_pair(c, folder, result->embedding);
    for (uint32_t level = 0; !status && level < result->level_count; level++) {
        char name[32];
        snprintf(name, sizeof name, "seg_tokens.%u", c->config.levels[level]);
        status =
            write_array(folder, name, result->patch_features + level * patches * result->embedding,
                        patches, result->embedding);
    }
    if (!status)
        status = write_array(folder, "det_token", result->detection_feature, 1, result->embedding);
    if (!status)
        status = write_array(folder, "map", result->map, result->map_height, result->map_width);
    if (!status)
        status = write_array(folder, "score", &result->score, 1, 1);
    return status;
}

static aaclip_status detect(const client *c, const char *path, const char *folder)
{
    aaclip_image *image;
    aaclip_result result = {.size = sizeof result};
    aaclip_status status = aaclip_image_open(&image, path);
    if (!status) {
        const aaclip_image_view view = aaclip_image_get_view(image);
        status = aaclip_detector_detect(c->detector, &view, CLASS, &result);
    }
    if (!status)
        status = write_result(c, &result, folder);
    aaclip_image_close(&image);
    return status;
}

static aaclip_status print_ids(const client *c)
{
    char prompt[1024];
    int32_t ids[512];
    size_t count;
    aaclip_status status = AACLIP_OK;
    while (!status && fgets(prompt, sizeof prompt, stdin)) {
        prompt[strcspn(prompt, "\n")] = '\0';
        status =
            aaclip_text_cache_tokenize(c->cache, prompt, ids, sizeof ids / sizeof *ids, &count);
        for (size_t i = 0; !status && i < count; i++)
            printf("%d%c", ids[i], i + 1 < count ? ' ' : '\n');
    }
    return status;
}

static void close_client(client *c)
{
    aaclip_detector_close(&c->detector);
    aaclip_text_cache_close(&c->cache);
    aaclip_adapters_close(&c->adapters);
    aaclip_model_close(&c->model);
}

int main(int argc, char **argv)
{
    if (argc < 11 || argc % 2 == 0) {
        fprintf(stderr,
                "usage: %s MODEL PRECISION BACKEND TEXT_ADAPTER IMAGE_ADAPTER VOCABULARY PHRASE "
                "DOMAIN [IMAGE FOLDER]... < prompts > ids\n",
                argv[0]);
        return 2;
    }
    const char *const adapters[] = {argv[4], argv[5]};
    client c = {.config.size = sizeof c.config};
    aaclip_status status = open_model(&c, argv[1], argv[2], argv[3]);
    bool unsupported = status == AACLIP_ERROR_UNSUPPORTED;
    if (!status)
        status = open_rest(&c, adapters, argv[6], argv[7], argv[8]);
    for (int i = 9; !status && i < argc; i += 2)
        status = detect(&c, argv[i], argv[i + 1]);
    if (!status)
        status = print_ids(&c);
    if (status)
        fprintf(stderr, "%s\n", aaclip_last_error());
    close_client(&c);
    return unsupported ? EXIT_UNSUPPORTED : status != AACLIP_OK;
}
