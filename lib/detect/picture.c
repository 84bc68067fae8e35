#include "detect/picture.h"

#include <math.h>

#include "core/error.h"
#include "detect/window.h"

static const aac_dispatch *dispatch_of(const aaclip_detector *detector)
{
    return aac_model_dispatch(detector->model);
}

/* Similarity of every level with the pair, then one smoothed map. */
static aaclip_status make_map(const aaclip_detector *detector, const aac_detector_memory *memory,
                              const float *pair, const aac_kept_result *written)
{
    const aac_op_args similarity = {.x = written->features, .y = memory->similarity, .a = pair};
    const aac_op_args finite = {.x = memory->similarity, .y = written->finite};
    const aac_op_args map = {.x = memory->similarity, .y = written->map};
    aaclip_status status = aac_run(detector->similarity, &similarity, memory->scratch);
    if (!status)
        status = aac_run(detector->finite, &finite, memory->scratch);
    return status ? status : aac_run(detector->map, &map, memory->scratch);
}

static float score_of(const float *detection, const float *abnormal, int64_t embedding)
{
    double dot = 0;
    for (int64_t i = 0; i < embedding; i++)
        dot += (double)detection[i] * (double)abnormal[i];
    return (float)((dot + 1) / 2);
}

/* Where the operations write an image's results: in place, or to their own memory. */
static aac_kept_result written_of(const aaclip_detector *detector,
                                  const aac_detector_memory *memory, const aac_kept_result *kept,
                                  int64_t image)
{
    int64_t features = detector->config.level_count * detector->patches * detector->embedding;
    aac_kept_result written = *kept;
    if (memory->written[image].map) {
        written.map = memory->written[image].map;
        written.detection = memory->written[image].detection;
        written.finite = memory->written[image].finite;
    }
    if (memory->features)
        written.features = memory->features + image * features;
    return written;
}

typedef struct network_run {
    const aaclip_detector *detector;
    const aac_detector_engine *engine;
    const aac_detector_memory *memory;
    const aac_kept_result *kept;
} network_run;

/* From pixels and pairs to results, all in the operations' memory; does not wait in between. */
static aaclip_status run_network(void *user)
{
    const network_run *run = user;
    const aaclip_detector *detector = run->detector;
    const aac_detector_memory *memory = run->memory;
    const aac_kept_result first = written_of(detector, memory, &run->kept[0], 0);
    float *detections = memory->detections ? memory->detections : first.detection;
    size_t bytes = (size_t)detector->embedding * sizeof *detections;
    aaclip_status status =
        aac_vision_encoder_run(run->engine->encoder, memory->device_rgb, first.features, detections,
                               memory->encoder, NULL);
    for (int64_t i = 0; !status && i < run->engine->images; i++) {
        const aac_kept_result written = written_of(detector, memory, &run->kept[i], i);
        status = aac_device_copy(dispatch_of(detector), written.detection,
                                 detections + i * detector->embedding, bytes);
        if (!status)
            status = make_map(detector, memory, memory->device_pair + 2 * i * detector->embedding,
                              &written);
    }
    return status;
}

static aaclip_status prepare(const aaclip_detector *detector, aac_detector_engine *engine,
                             const aaclip_image_view *views, const aac_detector_memory *memory)
{
    uint32_t size = (uint32_t)detector->size;
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < engine->images; i++) {
        aaclip_image_view shown;
        status = aac_detector_show(detector, engine, &views[i], &shown);
        if (!status)
            status = aaclip_image_resize(&shown, size, size,
                                         memory->rgb + i * 3 * detector->size * detector->size);
    }
    engine->prepared = !status;
    return status;
}

static aaclip_status send(const aaclip_detector *detector, const aac_detector_engine *engine,
                          const aac_detector_memory *memory)
{
    const aac_dispatch *dispatch = dispatch_of(detector);
    size_t images = (size_t)engine->images;
    size_t pixels = images * (size_t)(3 * detector->size * detector->size);
    size_t pairs = images * 2 * (size_t)detector->embedding * sizeof(float);
    const uint8_t *rgb = memory->rgb;
    ptrdiff_t apart = (const uint8_t *)memory->pair - rgb;
    if (apart == (const uint8_t *)memory->device_pair - memory->device_rgb)
        return aac_device_copy(dispatch, memory->device_rgb, rgb, (size_t)apart + pairs);
    aaclip_status status = aac_device_copy(dispatch, memory->device_rgb, rgb, pixels);
    return status ? status : aac_device_copy(dispatch, memory->device_pair, memory->pair, pairs);
}

static aaclip_status fetch_one(const aaclip_detector *detector, const aac_kept_result *written,
                               const aac_kept_result *kept)
{
    const aac_dispatch *dispatch = dispatch_of(detector);
    size_t embedding = (size_t)detector->embedding, patches = (size_t)detector->patches;
    size_t map = (size_t)(detector->size * detector->size);
    size_t features = kept->features ? detector->config.level_count * patches * embedding : 0;
    aaclip_status status = aac_device_copy(dispatch, kept->map, written->map, map * sizeof(float));
    if (!status)
        status = aac_device_copy(dispatch, kept->detection, written->detection,
                                 embedding * sizeof(float));
    if (!status)
        status = aac_device_copy(dispatch, kept->finite, written->finite, sizeof(float));
    return status ? status
                  : aac_device_copy(dispatch, kept->features, written->features,
                                    features * sizeof(float));
}

/* Bytes from the first image's map to the end of the last image's results. */
static ptrdiff_t extent(const aac_kept_result *kept, int64_t images)
{
    return (const char *)(kept[images - 1].finite + 1) - (const char *)kept->map;
}

/* Fetches the results of all images; in one copy if both sides have the same layout. */
static aaclip_status fetch(const aaclip_detector *detector, const aac_detector_engine *engine,
                           const aac_detector_memory *memory, const aac_kept_result *kept)
{
    bool alike = memory->written[0].map != NULL;
    for (int64_t i = 0; alike && i < engine->images; i++)
        alike = !kept[i].features && extent(kept, i + 1) == extent(memory->written, i + 1);
    if (alike)
        return aac_device_copy(dispatch_of(detector), kept->map, memory->written->map,
                               (size_t)extent(kept, engine->images));
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < engine->images; i++) {
        const aac_kept_result written = written_of(detector, memory, &kept[i], i);
        status = fetch_one(detector, &written, &kept[i]);
    }
    return status;
}

static bool is_zero(const float *feature, int64_t count)
{
    while (count && feature[count - 1] == 0)
        count--;
    return !count;
}

/* A NaN score would pass for that of a good part, and a feature of zeros for an uncertain one. */
static aaclip_status check_result(const aaclip_detector *detector, const aac_kept_result *kept,
                                  float score)
{
    if (*kept->finite == 1 && isfinite(score) && !is_zero(kept->detection, detector->embedding))
        return AACLIP_OK;
    if (*kept->finite == 1 && isfinite(score))
        return aac_error(AACLIP_ERROR_FORMAT,
                         "aaclip_detector_detect: expected a feature of the image, found zeros: "
                         "the checkpoint or the adapters project everything to 0");
    if (aac_model_type(detector->model) == AAC_F16)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "aaclip_detector_detect: map or score is not finite: values of this model "
                         "exceed the range of f16 (65504) or are NaN; bf16 and f32 have the range");
    return aac_error(AACLIP_ERROR_FORMAT,
                     "aaclip_detector_detect: map or score is not finite: the checkpoint, the "
                     "adapters or the text embeddings contain non-finite values");
}

aaclip_status aac_detector_run(const aaclip_detector *detector, aac_detector_engine *engine,
                               const aaclip_image_view *views, const aaclip_image_view *next,
                               const aac_detector_memory *memory, const aac_kept_result *kept,
                               float *scores)
{
    network_run run = {detector, engine, memory, kept};
    aaclip_status status = engine->prepared ? AACLIP_OK : prepare(detector, engine, views, memory);
    engine->prepared = false;
    if (!status)
        status = send(detector, engine, memory);
    if (!status)
        status = aac_device_repeat(dispatch_of(detector), &engine->network, run_network, &run);
    if (!status && next) /* the pixels of this run have been sent */
        status = prepare(detector, engine, next, memory);
    if (!status)
        status = fetch(detector, engine, memory, kept);
    for (int64_t i = 0; !status && i < engine->images; i++) {
        scores[i] = score_of(kept[i].detection, memory->pair + (2 * i + 1) * detector->embedding,
                             detector->embedding);
        status = check_result(detector, &kept[i], scores[i]);
    }
    if (status)
        engine->prepared = false;
    return status;
}
