#include "detect/picture.h"

#include <math.h>

#include "core/error.h"
#include "core/memory.h"

static const aac_dispatch *dispatch_of(const aaclip_detector *detector)
{
    return aac_model_dispatch(detector->model);
}

/* Lays out the engine's memory; without memory, measures both workspaces. */
static aac_detector_memory lay_out(const aaclip_detector *detector,
                                   const aac_detector_engine *engine, aac_workspace *workspace,
                                   aac_workspace *host)
{
    bool apart = !aac_device_is_host(dispatch_of(detector));
    size_t levels = detector->config.level_count, patches = (size_t)detector->patches;
    size_t size = (size_t)detector->size, embedding = (size_t)detector->embedding;
    size_t images = (size_t)engine->images, pixels = images * size * size;
    const aac_plan *const plans[] = {detector->similarity, detector->finite, detector->map};
    aac_detector_memory memory = {0};
    memory.rgb = aac_take(host, pixels * 3, 1);
    memory.pair = aac_take(host, images * 2 * embedding, sizeof(float));
    memory.device_rgb = apart ? aac_take(workspace, pixels * 3, 1) : memory.rgb;
    memory.device_pair =
        apart ? aac_take(workspace, images * 2 * embedding, sizeof(float)) : memory.pair;
    for (size_t i = 0; apart && i < images; i++) { /* laid out like results without features */
        memory.written[i].map = aac_take(workspace, size * size, sizeof(float));
        memory.written[i].detection = aac_take(workspace, embedding, sizeof(float));
        memory.written[i].finite = aac_take(workspace, 1, sizeof(float));
    }
    if (apart && images > 1)
        memory.detections = aac_take(workspace, images * embedding, sizeof(float));
    if (apart || !detector->options.keep_features)
        memory.features = aac_take(workspace, images * levels * patches * embedding, sizeof(float));
    memory.similarity = aac_take(workspace, levels * patches * 2, sizeof(float));
    memory.encoder = aac_take(workspace, aac_vision_encoder_workspace(engine->encoder), 1);
    memory.scratch = aac_take(workspace, aac_largest_scratch(plans, 3), 1);
    if (detector->options.tile && images == 1) {
        memory.tile_map = aac_take(host, size * size, sizeof(float));
        memory.column_weights = aac_take(host, size, sizeof(float));
        memory.row_weights = aac_take(host, size, sizeof(float));
    }
    return memory;
}

aac_detector_memory aac_detector_memory_of(const aaclip_detector *detector,
                                           const aac_detector_engine *engine)
{
    aac_workspace workspace = {.base = engine->memory}, host = {.base = engine->host};
    return lay_out(detector, engine, &workspace, &host);
}

static aaclip_status allocate(const aaclip_detector *detector, aac_detector_engine *engine)
{
    aac_workspace workspace = {0}, host = {0};
    lay_out(detector, engine, &workspace, &host);
    engine->memory = aac_device_alloc(dispatch_of(detector), workspace.used);
    if (!engine->memory)
        return aac_device_error(dispatch_of(detector));
    engine->host = aac_device_alloc_host(dispatch_of(detector), host.used);
    return engine->host ? AACLIP_OK : aac_device_host_error(dispatch_of(detector));
}

aaclip_status aac_detector_engine_open(const aaclip_detector *detector, aac_detector_engine *engine,
                                       int64_t images)
{
    const aac_vision_setup setup = {.adapters = detector->adapters,
                                    .config = &detector->config,
                                    .image_size = detector->size,
                                    .images = images};
    *engine = (aac_detector_engine){.images = images};
    aaclip_status status = aac_vision_encoder_new(&engine->encoder, detector->model, &setup);
    if (!status)
        status = allocate(detector, engine);
    if (status)
        aac_detector_engine_close(detector, engine);
    return status;
}

void aac_detector_engine_close(const aaclip_detector *detector, aac_detector_engine *engine)
{
    aac_device_routine_clear(dispatch_of(detector), &engine->network);
    aac_vision_encoder_free(&engine->encoder);
    aac_device_free(dispatch_of(detector), engine->memory);
    aac_device_free_host(dispatch_of(detector), engine->host);
    *engine = (aac_detector_engine){0};
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
    for (int64_t i = 0; !status && i < engine->images; i++)
        status = aaclip_image_resize(&views[i], size, size,
                                     memory->rgb + i * 3 * detector->size * detector->size);
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

/* A NaN score would pass for that of a good part. */
static aaclip_status check_result(const aaclip_detector *detector, const aac_kept_result *kept,
                                  float score)
{
    if (*kept->finite == 1 && isfinite(score))
        return AACLIP_OK;
    if (aac_model_type(detector->model) == AAC_F16)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "aaclip_detector_detect: expected a map and a score of finite numbers, "
                         "found others: this model has values beyond 65504, where precision f16 "
                         "ends, or some that are no numbers; bf16 and f32 have the range");
    return aac_error(AACLIP_ERROR_FORMAT,
                     "aaclip_detector_detect: expected a map and a score of finite numbers, found "
                     "others: the checkpoint, the adapters or the text embeddings hold some");
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
