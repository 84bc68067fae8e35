#include "detect/engine.h"

#include "core/memory.h"
#include "core/workspace.h"
#include "detect/detector.h"

/* The engine's memory, or how much of both there must be. */
static aac_detector_memory lay_out(const aaclip_detector *detector,
                                   const aac_detector_engine *engine, aac_workspace *workspace,
                                   aac_workspace *host)
{
    bool apart = !aac_device_is_host(aac_model_dispatch(detector->model));
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
    for (size_t i = 0; apart && i < images; i++) { /* as results lie without features */
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
    const aac_dispatch *dispatch = aac_model_dispatch(detector->model);
    aac_workspace workspace = {0}, host = {0};
    lay_out(detector, engine, &workspace, &host);
    engine->memory = aac_device_alloc(dispatch, workspace.used);
    if (!engine->memory)
        return aac_device_error(dispatch);
    engine->host = aac_device_alloc_host(dispatch, host.used);
    return engine->host ? AACLIP_OK : aac_device_host_error(dispatch);
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
    const aac_dispatch *dispatch = aac_model_dispatch(detector->model);
    aac_device_routine_clear(dispatch, &engine->network);
    aac_vision_encoder_free(&engine->encoder);
    aac_device_free(dispatch, engine->memory);
    aac_device_free_host(dispatch, engine->host);
    aac_free(engine->shown);
    *engine = (aac_detector_engine){0};
}
