#include "fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

void must(aaclip_status status)
{
    if (status)
        fail_msg("%s: %s", aaclip_status_string(status), aaclip_last_error());
}

void must_fail(aaclip_status status, aaclip_status expected, const char *part)
{
    if (status != expected)
        fail_msg("expected \"%s\", found \"%s\" (%s)", aaclip_status_string(expected),
                 aaclip_status_string(status), aaclip_last_error());
    if (!strstr(aaclip_last_error(), part))
        fail_msg("expected \"%s\" in \"%s\"", part, aaclip_last_error());
}

aaclip_model *open_model(const char *backend, unsigned threads)
{
    aaclip_model *model = NULL;
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.backend = backend;
    options.threads = threads;
    must(aaclip_model_open(&model, NANO_MODEL, &options));
    return model;
}

aaclip_status try_adapters(aaclip_adapters **adapters, const aaclip_model *model,
                           const char *profile)
{
    char text[512], image[512];
    snprintf(text, sizeof text, NANO "/adapters-%s/text_adapter.pth", profile);
    snprintf(image, sizeof image, NANO "/adapters-%s/image_adapter_20.pth", profile);
    return aaclip_adapters_open(adapters, model, (const char *[]){text, image}, 2, NULL);
}

aaclip_adapters *open_adapters(const aaclip_model *model, const char *profile)
{
    aaclip_adapters *adapters = NULL;
    must(try_adapters(&adapters, model, profile));
    return adapters;
}

aaclip_dataset *open_training_set(void)
{
    aaclip_dataset *dataset = NULL;
    must(aaclip_dataset_open(&dataset, TRAINING_SET, NULL));
    return dataset;
}

aaclip_status build_classes(aaclip_text_cache *cache)
{
    const char *const names[] = {"cat", "nut"}, *const phrases[] = {"cat", "metal nut"};
    return aaclip_text_cache_build(cache, names, phrases, 2);
}

void fixture_open(fixture *all, const char *backend, unsigned threads)
{
    *all = (fixture){.model = open_model(backend, threads)};
    all->adapters = open_adapters(all->model, "published"); /* a seventh of the prompts */
    must(aaclip_text_cache_new(&all->cache, all->model, all->adapters, NULL));
    must(build_classes(all->cache));
    must(aaclip_image_open(&all->image, PHOTO));
}

void fixture_close(fixture *all)
{
    aaclip_image_close(&all->image);
    aaclip_text_cache_close(&all->cache);
    aaclip_adapters_close(&all->adapters);
    aaclip_model_close(&all->model);
}

aaclip_status new_detector(aaclip_detector **detector, const fixture *all, bool keep_features)
{
    aaclip_detector_options options;
    aaclip_detector_options_init(&options);
    options.image_size = IMAGE_SIZE;
    options.keep_features = keep_features;
    return aaclip_detector_new(detector, all->model, all->adapters, all->cache, &options);
}

aaclip_detector *make_detector(const fixture *all, bool keep_features)
{
    aaclip_detector *detector = NULL;
    must(new_detector(&detector, all, keep_features));
    return detector;
}

aaclip_trainer *make_trainer(const fixture *all, const aaclip_dataset *dataset)
{
    aaclip_trainer *trainer = NULL;
    aaclip_trainer_options options;
    must(aaclip_trainer_options_init(&options, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_PUBLISHED));
    options.image_size = 56;
    options.initial = all->adapters;
    for (size_t i = 0; i < aaclip_dataset_class_count(dataset); i++) {
        const char *name = aaclip_dataset_class_name(dataset, i);
        must(aaclip_text_cache_build(all->cache, &name, &name, 1));
    }
    must(aaclip_trainer_new(&trainer, all->model, dataset, all->cache, &options));
    return trainer;
}

aaclip_result detect(aaclip_detector *detector, const aaclip_image_view *image, const char *name)
{
    aaclip_result result = {.size = sizeof result};
    must(aaclip_detector_detect(detector, image, name, &result));
    return result;
}

static float *copy(const float *values, size_t count)
{
    if (!values)
        return NULL;
    float *kept = malloc(count * sizeof *kept);
    return kept ? memcpy(kept, values, count * sizeof *kept) : NULL;
}

kept_result keep_result(const aaclip_result *result)
{
    kept_result kept = {.score = result->score, .detection_count = result->embedding};
    kept.map_count = (size_t)result->map_width * result->map_height;
    kept.patch_count = (size_t)result->level_count * result->patch_rows * result->patch_columns *
                       result->embedding;
    kept.map = copy(result->map, kept.map_count);
    kept.patch_features = copy(result->patch_features, kept.patch_count);
    kept.detection_feature = copy(result->detection_feature, kept.detection_count);
    return kept;
}

void free_result(kept_result *kept)
{
    free(kept->map);
    free(kept->patch_features);
    free(kept->detection_feature);
    *kept = (kept_result){0};
}

static bool same_floats(const float *a, const float *b, size_t count)
{
    if (!a || !b)
        return a == b;
    return memcmp(a, b, count * sizeof *a) == 0;
}

bool same_bits(const kept_result *a, const kept_result *b)
{
    return memcmp(&a->score, &b->score, sizeof a->score) == 0 && a->map_count == b->map_count &&
           a->patch_count == b->patch_count && a->detection_count == b->detection_count &&
           same_floats(a->map, b->map, a->map_count) &&
           same_floats(a->patch_features, b->patch_features, a->patch_count) &&
           same_floats(a->detection_feature, b->detection_feature, a->detection_count);
}

double map_difference(const kept_result *a, const kept_result *b)
{
    double largest = 0, worst = 0;
    assert_int_equal(a->map_count, b->map_count);
    for (size_t i = 0; i < a->map_count; i++) {
        double apart = fabs((double)a->map[i] - (double)b->map[i]);
        if (isnan(apart))
            return INFINITY; /* fmax would pass over it */
        largest = fmax(largest, fabs((double)a->map[i]));
        worst = fmax(worst, apart);
    }
    return worst / largest;
}
