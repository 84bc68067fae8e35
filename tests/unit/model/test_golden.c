/*
 * The whole path against PyTorch: every case of tests/golden/model (made in double precision by
 * tests/reference/make_model_goldens.py) on every backend, precision and number of threads.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include <aaclip/aaclip.h>

#include "backend/backend.h"
#include "core/config.h"
#include "core/memory.h"
#include "files/tensor_file.h"
#include "model/position.h"
#include "model/vision_encoder.h"
#include "text/text_encoder.h"

/* Largest difference over the largest value. PyTorch's own float32 is within 1e-6 of these. */
#define F32_BOUND 2e-5

/*
 * bfloat16 keeps 8 bits: 2^-9 per rounding, growing through the blocks; float16 and TF32 keep 11.
 * int8 has 255 steps from the smallest to the largest value of a token, and 126 or, without VNNI,
 * 63 for the largest weight. Measured on these cases (this test prints them): features 0.011, map
 * 0.011, score 0.001 in bf16; 0.0010, 0.0023, 0.0001 in f16; 0.0009, 0.0011, 0.0001 in TF32; 0.018,
 * 0.010, 0.0009 in int8, and 0.040, 0.037, 0.0027 with 63 steps.
 */
static const struct {
    double features, map, score;
} bounds[] = {
    [AACLIP_PRECISION_F32] = {F32_BOUND, F32_BOUND, F32_BOUND},
    [AACLIP_PRECISION_BF16] = {0.02, 0.02, 0.002},
    [AACLIP_PRECISION_INT8] = {0.06, 0.06, 0.005},
    [AACLIP_PRECISION_TF32] = {0.003, 0.003, 0.0005},
    [AACLIP_PRECISION_F16] = {0.003, 0.005, 0.0005},
};

typedef struct golden_case {
    const json_t *entry;
    const char *name;
    aac_tensor_file *expected;
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_text_cache *cache;
    aaclip_detector *detector;
    aaclip_image *image;
    aaclip_config config;
    aaclip_domain domain;
    aaclip_precision precision;
    double worst_features, worst_map, worst_score;
} golden_case;

static json_t *manifest;

static const char *text_of(const golden_case *golden, const char *key)
{
    return json_string_value(json_object_get(golden->entry, key));
}

static int64_t number_of(const golden_case *golden, const char *key)
{
    return json_integer_value(json_object_get(golden->entry, key));
}

static char *path_of(const golden_case *golden, const char *key)
{
    const char *name = text_of(golden, key);
    return name ? aac_format(GOLDEN_DIR "/model/%s", name) : NULL;
}

static double difference(const float *found, const float *expected, int64_t count)
{
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        double apart = fabs((double)found[i] - (double)expected[i]);
        largest = fmax(largest, fabs((double)expected[i]));
        worst = isnan(apart) ? INFINITY : fmax(worst, apart);
    }
    return worst / largest;
}

/* Compares with the expected tensor of that name, which must have as many elements. */
static double compare(const golden_case *golden, const char *tensor, const float *found,
                      int64_t count, double bound)
{
    const aac_tensor *expected = aac_tensor_file_find(golden->expected, tensor);
    if (!expected || aac_tensor_elements(expected) != count)
        fail_msg("%s: %s: missing or of another size than %lld", golden->name, tensor,
                 (long long)count);
    double apart = difference(found, expected->data, count);
    if (!(apart <= bound))
        fail_msg("%s: %s: relative difference %g is above %g", golden->name, tensor, apart, bound);
    return apart;
}

static void must(aaclip_status status, const golden_case *golden)
{
    if (status)
        fail_msg("%s: %s", golden->name, aaclip_last_error());
}

static void open_adapters(golden_case *golden)
{
    char *paths[] = {path_of(golden, "text_adapter"), path_of(golden, "image_adapter")};
    const char *given[2];
    size_t count = 0;
    for (int i = 0; i < 2; i++)
        if (paths[i])
            given[count++] = paths[i];
    bool published = strcmp(text_of(golden, "profile"), "published") == 0;
    aaclip_config_init(&golden->config,
                       published ? AACLIP_PROFILE_PUBLISHED : AACLIP_PROFILE_DOCUMENT);
    if (count) {
        must(aaclip_adapters_open(&golden->adapters, golden->model, given, count, NULL), golden);
        must(aaclip_adapters_get_config(golden->adapters, &golden->config), golden);
        assert_int_equal(golden->config.profile, published);
    } else {
        const aac_checkpoint *checkpoint = aac_model_checkpoint(golden->model);
        must(
            aac_config_resolve(&golden->config, checkpoint->vision.layers, checkpoint->text.layers),
            golden);
    }
    aac_free(paths[0]);
    aac_free(paths[1]);
}

/* Runs the prompts' ids through the text tower and puts the pair into the cache as "class". */
static void build_text(golden_case *golden)
{
    const json_t *prompts = json_object_get(golden->entry, "prompts");
    size_t count = json_array_size(prompts), normal = (size_t)number_of(golden, "normal_prompts");
    int64_t embedding = number_of(golden, "embedding");
    int32_t ids[1024], offsets[64] = {0};
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(prompts, i);
        offsets[i + 1] = offsets[i];
        for (size_t j = 0; j < json_array_size(row); j++)
            ids[offsets[i + 1]++] = (int32_t)json_integer_value(json_array_get(row, j));
    }
    const aac_token_batch batch = {ids, offsets, (int64_t)count};
    const aac_text_tower *tower;
    float *vectors = aac_alloc_array(count * (size_t)embedding, sizeof *vectors);
    float *pair = aac_alloc_array(2 * (size_t)embedding, sizeof *pair);
    must(aac_model_acquire_text(golden->model, &tower), golden);
    must(aac_text_encode(golden->model, tower, golden->adapters, &golden->config, &batch, vectors),
         golden);
    aac_model_release_text(golden->model);
    bool again = golden->config.normalize_class_vector;
    aac_class_vector(vectors, normal, embedding, again, pair);
    aac_class_vector(vectors + (int64_t)normal * embedding, count - normal, embedding, again,
                     pair + embedding);
    bool narrow = aac_model_type(golden->model) == AAC_BF16;
    aaclip_precision precision = narrow ? AACLIP_PRECISION_BF16 : golden->precision;
    if (precision == AACLIP_PRECISION_INT8) /* the image tower's */
        precision = AACLIP_PRECISION_F32;
    compare(golden, "text.pair", pair, 2 * embedding, bounds[precision].features);
    must(aaclip_text_cache_new(&golden->cache, golden->model, golden->adapters, NULL), golden);
    must(aaclip_text_cache_add(golden->cache, "class", pair, pair + embedding), golden);
    aac_free(vectors);
    aac_free(pair);
}

static void check_result(golden_case *golden, const aaclip_result *result)
{
    double features = bounds[golden->precision].features;
    int64_t patches = (int64_t)result->patch_rows * result->patch_columns;
    int64_t embedding = result->embedding;
    for (uint32_t level = 0; level < result->level_count; level++) {
        char name[32];
        snprintf(name, sizeof name, "seg_tokens.%u", golden->config.levels[level]);
        double apart =
            compare(golden, name, result->patch_features + (int64_t)level * patches * embedding,
                    patches * embedding, features);
        golden->worst_features = fmax(golden->worst_features, apart);
    }
    if (golden->precision != AACLIP_PRECISION_F32) /* it is what was computed */
        assert_true(golden->worst_features > F32_BOUND);
    compare(golden, "det_token", result->detection_feature, embedding, features);
    golden->worst_map =
        compare(golden, "map", result->map, (int64_t)result->map_width * result->map_height,
                bounds[golden->precision].map);
    golden->worst_score =
        compare(golden, "score", &result->score, 1, bounds[golden->precision].score);
}

static void open_case(golden_case *golden, const json_t *entry, const aaclip_model_options *options)
{
    *golden = (golden_case){.entry = entry, .precision = options->precision};
    golden->name = text_of(golden, "name");
    char *checkpoint = path_of(golden, "checkpoint"), *expected = path_of(golden, "expected");
    char *image = path_of(golden, "image");
    must(aac_tensor_file_open(&golden->expected, expected), golden);
    must(aaclip_model_open(&golden->model, checkpoint, options), golden);
    must(aaclip_image_open(&golden->image, image), golden);
    golden->domain = strcmp(text_of(golden, "domain"), "Medical") == 0 ? AACLIP_DOMAIN_MEDICAL
                                                                       : AACLIP_DOMAIN_INDUSTRIAL;
    aac_free(checkpoint);
    aac_free(expected);
    aac_free(image);
    open_adapters(golden);
    build_text(golden);
    aaclip_detector_options detector;
    aaclip_detector_options_init(&detector);
    detector.domain = golden->domain;
    detector.image_size = (uint32_t)number_of(golden, "image_size");
    detector.config = &golden->config;
    detector.keep_features = true;
    must(aaclip_detector_new(&golden->detector, golden->model, golden->adapters, golden->cache,
                             &detector),
         golden);
}

/* Closed in the least convenient order: what others use must outlive its handle. */
static void close_case(golden_case *golden)
{
    aaclip_model_close(&golden->model);
    aaclip_adapters_close(&golden->adapters);
    aaclip_text_cache_close(&golden->cache);
    aaclip_image_close(&golden->image);
    aaclip_detector_close(&golden->detector);
    aac_tensor_file_close(&golden->expected);
}

static void run_case(const json_t *entry, const aaclip_model_options *options)
{
    golden_case golden;
    aaclip_result result = {.size = sizeof result};
    open_case(&golden, entry, options);
    const aaclip_image_view view = aaclip_image_get_view(golden.image);
    must(aaclip_detector_detect(golden.detector, &view, "class", &result), &golden);
    check_result(&golden, &result);
    print_message("%-30s %-9s %-4s threads %u: features %.1e map %.1e score %.1e\n", golden.name,
                  options->backend, aaclip_precision_name(options->precision), options->threads,
                  golden.worst_features, golden.worst_map, golden.worst_score);
    close_case(&golden);
}

static void every_case(const char *backend, aaclip_precision precision, unsigned threads)
{
    aaclip_model_options options;
    aaclip_model_options_init(&options);
    options.backend = backend;
    options.precision = precision;
    options.threads = threads;
    const json_t *cases = json_object_get(manifest, "cases");
    assert_true(json_array_size(cases) >= 5);
    for (size_t i = 0; i < json_array_size(cases); i++)
        run_case(json_array_get(cases, i), &options);
}

static void float32_equals_pytorch(void **state)
{
    (void)state;
    const unsigned threads[] = {1, 2, 3};
    for (size_t i = 0; aaclip_backend_name(i); i++)
        for (size_t j = 0; aaclip_backend_available(aaclip_backend_name(i)) && j < 3; j++)
            every_case(aaclip_backend_name(i), AACLIP_PRECISION_F32, threads[j]);
}

static bool multiplies(const char *name, aac_dtype type)
{
    const aac_op_desc product = {
        .op = AAC_OP_LINEAR,
        .linear = {.rows = 1, .inputs = 64, .outputs = 64, .x = type, .y = type}};
    for (size_t i = 0; i < aac_backend_count(); i++) {
        const aac_backend *backend = aac_backend_at(i);
        if (strcmp(name, backend->name) == 0)
            return backend->available() && backend->supports(&product);
    }
    return false;
}

static void bfloat16_stays_close(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++)
        if (multiplies(aaclip_backend_name(i), AAC_BF16))
            every_case(aaclip_backend_name(i), AACLIP_PRECISION_BF16, 2);
}

static void float16_stays_close(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++)
        if (multiplies(aaclip_backend_name(i), AAC_F16))
            every_case(aaclip_backend_name(i), AACLIP_PRECISION_F16, 2);
}

/* Every backend of a processor has int8. */
static void int8_stays_close(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++)
        if (aaclip_backend_available(aaclip_backend_name(i)) &&
            strcmp(aaclip_backend_name(i), "cuda") != 0)
            every_case(aaclip_backend_name(i), AACLIP_PRECISION_INT8, 2);
}

static void tf32_stays_close(void **state)
{
    (void)state;
    if (aaclip_backend_available("cuda"))
        every_case("cuda", AACLIP_PRECISION_TF32, 2);
}

static void position_equals_pytorch(void **state)
{
    (void)state;
    const json_t *cases = json_object_get(manifest, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        golden_case golden = {.entry = json_array_get(cases, i)};
        golden.name = text_of(&golden, "name");
        char *checkpoint = path_of(&golden, "checkpoint"), *expected = path_of(&golden, "expected");
        must(aac_tensor_file_open(&golden.expected, expected), &golden);
        must(aaclip_model_open(&golden.model, checkpoint, NULL), &golden);
        const aac_checkpoint *clip = aac_model_checkpoint(golden.model);
        int64_t grid = number_of(&golden, "grid"), width = clip->vision.width;
        float *trained = aac_vector_new(&clip->vision_position);
        float *table = aac_alloc_array((size_t)((1 + grid * grid) * width), sizeof *table);
        memcpy(table, trained, (size_t)width * sizeof *table);
        must(aac_position_resample(trained + width, clip->grid, table + width, grid, width),
             &golden);
        compare(&golden, "vision.position", table, (1 + grid * grid) * width, 1e-5);
        aac_free(trained);
        aac_free(table);
        aac_free(checkpoint);
        aac_free(expected);
        aac_tensor_file_close(&golden.expected);
        aaclip_model_close(&golden.model);
    }
}

static int read_manifest(void **state)
{
    (void)state;
    manifest = json_load_file(GOLDEN_DIR "/model/manifest.json", 0, NULL);
    return manifest ? 0 : -1;
}

static int drop_manifest(void **state)
{
    (void)state;
    json_decref(manifest);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(position_equals_pytorch), cmocka_unit_test(float32_equals_pytorch),
        cmocka_unit_test(bfloat16_stays_close),    cmocka_unit_test(float16_stays_close),
        cmocka_unit_test(int8_stays_close),        cmocka_unit_test(tf32_stays_close),
    };
    return cmocka_run_group_tests_name("golden", tests, read_manifest, drop_manifest);
}
