/* Image in, map and score out. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include <aaclip/detector.h>

#include "core/config.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/workspace.h"
#include "model/vision_encoder.h"
#include "text/text_cache.h"

struct aaclip_detector {
    atomic_flag busy;
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_text_cache *cache;
    aaclip_detector_options options;
    aaclip_config config;
    aac_vision_encoder *encoder;
    aac_plan *similarity, *map;
    int64_t size, grid, patches, embedding;
    char *memory; /* the workspace of one image */
    float *results;
    size_t result_capacity; /* images that `results` holds */
};

/* Working memory of one image. */
typedef struct detector_memory {
    uint8_t *rgb;      // (size, size, 3)
    float *features;   // (levels, patches, embedding)
    float *similarity; // (levels, patches, 2)
    float *pair;       // (2, embedding)
    void *encoder, *scratch;
} detector_memory;

/* What is kept of one image. */
typedef struct kept_result {
    float *map;       // (size, size)
    float *detection; // (embedding)
    float *features;  // (levels, patches, embedding) with keep_features
} kept_result;

aaclip_status aaclip_detector_options_init_sized(aaclip_detector_options *options,
                                                 size_t struct_size)
{
    const aaclip_detector_options own = {.size = sizeof own};
    return aac_options_write(options, struct_size, &own, sizeof own, "aaclip_detector_options");
}

static aaclip_status choose_size(aaclip_detector *detector)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(detector->model);
    aaclip_status status = aac_model_image_size(detector->model, detector->options.image_size,
                                                "aaclip_detector_options", &detector->size);
    if (status)
        return status;
    detector->grid = detector->size / checkpoint->patch;
    detector->patches = detector->grid * detector->grid;
    detector->embedding = checkpoint->embedding;
    return AACLIP_OK;
}

static aaclip_status configure(aaclip_detector *detector)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(detector->model);
    aaclip_status status = AACLIP_OK;
    if (detector->adapters)
        detector->config = *aac_adapters_config(detector->adapters);
    else
        status = aac_config_read(&detector->config, detector->options.config);
    if (!status)
        status = aac_config_resolve(&detector->config, checkpoint->vision.layers,
                                    checkpoint->text.layers);
    if (!status && (unsigned)detector->options.domain > AACLIP_DOMAIN_MEDICAL)
        status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                           "aaclip_detector_options.domain: no domain number %d",
                           (int)detector->options.domain);
    return status ? status : choose_size(detector);
}

static aaclip_status plan_map(aaclip_detector *detector)
{
    bool medical = detector->options.domain == AACLIP_DOMAIN_MEDICAL;
    const int64_t kernel = medical ? 9 : 7;
    const aac_op_desc similarity = {.op = AAC_OP_SIMILARITY,
                                    .similarity = {detector->patches, detector->embedding, 100.0f}};
    const aac_op_desc map = {.op = AAC_OP_ANOMALY_MAP,
                             .anomaly_map = {.levels = detector->config.level_count,
                                             .grid = detector->grid,
                                             .size = detector->size,
                                             .kernel = kernel,
                                             .sigma = medical ? 1.5f : 1.0f}};
    if (kernel / 2 >= detector->grid)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_options.image_size: %lld gives %lld patches a side; "
                         "smoothing for the %s domain needs at least %lld",
                         (long long)detector->size, (long long)detector->grid,
                         aaclip_domain_name(detector->options.domain), (long long)(kernel / 2 + 1));
    const aac_dispatch *dispatch = aac_model_dispatch(detector->model);
    aaclip_status status = aac_dispatch_plan(dispatch, &detector->similarity, &similarity);
    return status ? status : aac_dispatch_plan(dispatch, &detector->map, &map);
}

static detector_memory lay_out(const aaclip_detector *detector, aac_workspace *workspace)
{
    size_t levels = detector->config.level_count, patches = (size_t)detector->patches;
    size_t size = (size_t)detector->size, embedding = (size_t)detector->embedding;
    size_t scratch = detector->similarity->scratch > detector->map->scratch
                         ? detector->similarity->scratch
                         : detector->map->scratch;
    detector_memory memory = {0};
    memory.rgb = aac_take(workspace, size * size * 3, 1);
    if (!detector->options.keep_features)
        memory.features = aac_take(workspace, levels * patches * embedding, sizeof(float));
    memory.similarity = aac_take(workspace, levels * patches * 2, sizeof(float));
    memory.pair = aac_take(workspace, 2 * embedding, sizeof(float));
    memory.encoder = aac_take(workspace, aac_vision_encoder_workspace(detector->encoder), 1);
    memory.scratch = aac_take(workspace, scratch, 1);
    return memory;
}

static kept_result lay_out_result(const aaclip_detector *detector, aac_workspace *workspace)
{
    size_t size = (size_t)detector->size, embedding = (size_t)detector->embedding;
    size_t features = detector->config.level_count * (size_t)detector->patches * embedding;
    kept_result kept = {0};
    kept.map = aac_take(workspace, size * size, sizeof(float));
    kept.detection = aac_take(workspace, embedding, sizeof(float));
    if (detector->options.keep_features)
        kept.features = aac_take(workspace, features, sizeof(float));
    return kept;
}

static aaclip_status allocate(aaclip_detector *detector)
{
    aac_workspace measure = {0};
    lay_out(detector, &measure);
    detector->memory = aac_alloc(measure.used);
    return detector->memory ? AACLIP_OK : aac_error_memory();
}

static aaclip_status prepare(aaclip_detector *detector)
{
    aaclip_status status = configure(detector);
    if (!status)
        status = plan_map(detector);
    const aac_vision_setup setup = {
        .adapters = detector->adapters, .config = &detector->config, .image_size = detector->size};
    if (!status)
        status = aac_vision_encoder_new(&detector->encoder, detector->model, &setup);
    return status ? status : allocate(detector);
}

aaclip_status aaclip_detector_new(aaclip_detector **out, const aaclip_model *model,
                                  const aaclip_adapters *adapters, const aaclip_text_cache *cache,
                                  const aaclip_detector_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !model || !cache)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_new: expected a model and a text cache");
    aaclip_detector_options own = {.size = sizeof own};
    aaclip_status status = aac_options_read(&own, sizeof own, options, "aaclip_detector_options");
    if (!status)
        status = aac_adapters_check_model(adapters, model);
    if (!status)
        status = aac_text_cache_check(cache, model, adapters);
    if (status)
        return status;
    aaclip_detector *detector = aac_calloc(1, sizeof *detector);
    if (!detector)
        return aac_error_memory();
    atomic_flag_clear(&detector->busy);
    detector->model = aac_model_retain(model);
    detector->adapters = aac_adapters_retain(adapters);
    detector->cache = aac_text_cache_retain(cache);
    detector->options = own;
    status = prepare(detector);
    detector->options.config = NULL; /* the caller's; it was copied */
    if (status)
        aaclip_detector_close(&detector);
    *out = detector;
    return status;
}

void aaclip_detector_close(aaclip_detector **handle)
{
    if (!handle || !*handle)
        return;
    aaclip_detector *detector = *handle;
    *handle = NULL;
    aac_vision_encoder_free(&detector->encoder);
    aac_plan_free(&detector->similarity);
    aac_plan_free(&detector->map);
    aac_free(detector->memory);
    aac_free(detector->results);
    aaclip_text_cache_close(&detector->cache);
    aaclip_adapters_close(&detector->adapters);
    aaclip_model_close(&detector->model);
    aac_free(detector);
}

uint32_t aaclip_detector_image_size(const aaclip_detector *detector)
{
    return detector ? (uint32_t)detector->size : 0;
}

/* Similarity of every level with the pair, then one smoothed map. */
static aaclip_status make_map(const aaclip_detector *detector, const detector_memory *memory,
                              const float *features, float *map)
{
    aaclip_status status = AACLIP_OK;
    for (int64_t level = 0; !status && level < detector->config.level_count; level++) {
        const aac_op_args args = {
            .x = features + level * detector->patches * detector->embedding,
            .y = memory->similarity + level * detector->patches * 2,
            .a = memory->pair,
        };
        status = aac_run(detector->similarity, &args, memory->scratch);
    }
    const aac_op_args args = {.x = memory->similarity, .y = map};
    return status ? status : aac_run(detector->map, &args, memory->scratch);
}

static float score_of(const float *detection, const float *abnormal, int64_t embedding)
{
    double dot = 0;
    for (int64_t i = 0; i < embedding; i++)
        dot += (double)detection[i] * (double)abnormal[i];
    return (float)((dot + 1) / 2);
}

static void fill_result(const aaclip_detector *detector, const kept_result *kept,
                        const detector_memory *memory, aaclip_result *result)
{
    bool keep = detector->options.keep_features;
    *result = (aaclip_result){
        .size = sizeof *result,
        .score = score_of(kept->detection, memory->pair + detector->embedding, detector->embedding),
        .map = kept->map,
        .map_width = (uint32_t)detector->size,
        .map_height = (uint32_t)detector->size,
        .level_count = detector->config.level_count,
        .patch_features = keep ? kept->features : NULL,
        .patch_rows = (uint32_t)detector->grid,
        .patch_columns = (uint32_t)detector->grid,
        .detection_feature = keep ? kept->detection : NULL,
        .embedding = (uint32_t)detector->embedding,
    };
}

static aaclip_status detect_one(const aaclip_detector *detector, const aaclip_image_view *image,
                                const char *class_name, const kept_result *kept,
                                aaclip_result *result, size_t result_size)
{
    aac_workspace workspace = {.base = detector->memory};
    const detector_memory memory = lay_out(detector, &workspace);
    float *features = kept->features ? kept->features : memory.features;
    uint32_t size = (uint32_t)detector->size;
    aaclip_status status = aaclip_text_cache_get(detector->cache, class_name, memory.pair,
                                                 memory.pair + detector->embedding);
    if (!status)
        status = aaclip_image_resize(image, size, size, memory.rgb);
    if (!status)
        status = aac_vision_encoder_run(detector->encoder, memory.rgb, features, kept->detection,
                                        memory.encoder, NULL);
    if (!status)
        status = make_map(detector, &memory, features, kept->map);
    if (status)
        return status;
    aaclip_result own;
    fill_result(detector, kept, &memory, &own);
    return aac_options_write(result, result_size, &own, sizeof own, "aaclip_result");
}

/* Results of an earlier, smaller batch end here, as documented. */
static aaclip_status reserve_results(aaclip_detector *detector, size_t count, size_t bytes)
{
    if (count <= detector->result_capacity)
        return AACLIP_OK;
    aac_free(detector->results);
    detector->result_capacity = 0;
    detector->results = aac_alloc_array(count, bytes);
    if (!detector->results)
        return aac_error_memory();
    detector->result_capacity = count;
    return AACLIP_OK;
}

static aaclip_status check_batch(const aaclip_detector *detector, const aaclip_image_view *images,
                                 const char *const *class_names, size_t count,
                                 const aaclip_result *results)
{
    if (!detector || !images || !class_names || !results)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_detector_detect: NULL argument");
    if (count && results->size < sizeof results->size)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_result: set size before the call");
    for (size_t i = 0; i < count; i++)
        if (!class_names[i])
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "aaclip_detector_detect: class name %zu is NULL", i);
    return AACLIP_OK;
}

static aaclip_status detect_batch(aaclip_detector *detector, const aaclip_image_view *images,
                                  const char *const *class_names, size_t count,
                                  aaclip_result *results)
{
    aac_workspace workspace = {0};
    lay_out_result(detector, &workspace);
    size_t stride = results[0].size; /* a caller built with another version has its own */
    aaclip_status status = reserve_results(detector, count, workspace.used);
    workspace = (aac_workspace){.base = (char *)detector->results};
    for (size_t i = 0; !status && i < count; i++) {
        const kept_result kept = lay_out_result(detector, &workspace);
        status = detect_one(detector, &images[i], class_names[i], &kept,
                            (aaclip_result *)((char *)results + i * stride), stride);
    }
    return status;
}

aaclip_status aaclip_detector_detect_batch(aaclip_detector *detector,
                                           const aaclip_image_view *images,
                                           const char *const *class_names, size_t count,
                                           aaclip_result *results)
{
    aaclip_status status = check_batch(detector, images, class_names, count, results);
    if (status || !count)
        return status;
    if (atomic_flag_test_and_set(&detector->busy))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_detect: another thread is using this detector");
    status = detect_batch(detector, images, class_names, count, results);
    atomic_flag_clear(&detector->busy);
    return status;
}

aaclip_status aaclip_detector_detect(aaclip_detector *detector, const aaclip_image_view *image,
                                     const char *class_name, aaclip_result *result)
{
    return aaclip_detector_detect_batch(detector, image, &class_name, 1, result);
}

void aaclip_map_probability(const float *map, size_t count, uint32_t level_count, float *out)
{
    float levels = level_count ? (float)level_count : 1.0f;
    for (size_t i = 0; map && out && i < count; i++)
        out[i] = 1.0f / (1.0f + expf(1.0f - 2.0f * map[i] / levels));
}
