/* What most tests start from: the random model, its adapters, two classes and a photograph. */
#ifndef TEST_API_FIXTURE_H
#define TEST_API_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

#include <aaclip/aaclip.h>

#define NANO         GOLDEN_DIR "/nano"
#define NANO_MODEL   NANO "/clip.pt"
#define PHOTO        GOLDEN_DIR "/images/chelsea.png"
#define TRAINING_SET GOLDEN_DIR "/train/manifest.jsonl"
#define IMAGE_SIZE   112

typedef struct fixture {
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_text_cache *cache; /* classes "cat" and "nut" */
    aaclip_image *image;
} fixture;

/* Fail the test with the library's error text. Only for the main thread. */
void must(aaclip_status status);
/* `status` must be the expected one, and the error text must contain `part`. */
void must_fail(aaclip_status status, aaclip_status expected, const char *part);

/* Backend NULL is the best one; 0 threads are all processors. */
aaclip_model *open_model(const char *backend, unsigned threads);
/* Both adapters of the nano model; `profile` is "document" or "published". */
aaclip_adapters *open_adapters(const aaclip_model *model, const char *profile);
/* Classes "wood" and "metal_nut". */
aaclip_dataset *open_training_set(void);

/* The same with the library's own statuses, for callers who want to see them. */
aaclip_status try_adapters(aaclip_adapters **adapters, const aaclip_model *model,
                           const char *profile);
aaclip_status build_classes(aaclip_text_cache *cache);
aaclip_status new_detector(aaclip_detector **detector, const fixture *all, bool keep_features);

void fixture_open(fixture *all, const char *backend, unsigned threads);
void fixture_close(fixture *all);

/* A trainer of stage 2; puts the classes of the data set into the cache. */
aaclip_trainer *make_trainer(const fixture *all, const aaclip_dataset *dataset);

/* A detector for IMAGE_SIZE. */
aaclip_detector *make_detector(const fixture *all, bool keep_features);
aaclip_result detect(aaclip_detector *detector, const aaclip_image_view *image, const char *name);

/* A result that outlives its detector. */
typedef struct kept_result {
    float score;
    float *map, *patch_features, *detection_feature;
    size_t map_count, patch_count, detection_count;
} kept_result;

kept_result keep_result(const aaclip_result *result);
void free_result(kept_result *kept);
bool same_bits(const kept_result *a, const kept_result *b);
/* Largest difference of maps over the largest value of `a`. */
double map_difference(const kept_result *a, const kept_result *b);

#endif
