#include "detect/picture.h"

#include "core/error.h"
#include "core/memory.h"

static const aac_dispatch *dispatch_of(const aaclip_detector *detector)
{
    return aac_model_dispatch(detector->model);
}

aac_detector_memory aac_detector_lay_out(const aaclip_detector *detector, aac_workspace *workspace,
                                         aac_workspace *host)
{
    bool apart = !aac_device_is_host(dispatch_of(detector));
    size_t levels = detector->config.level_count, patches = (size_t)detector->patches;
    size_t size = (size_t)detector->size, embedding = (size_t)detector->embedding;
    size_t scratch = detector->similarity->scratch > detector->map->scratch
                         ? detector->similarity->scratch
                         : detector->map->scratch;
    aac_detector_memory memory = {0};
    memory.rgb = aac_take(host, size * size * 3, 1);
    memory.pair = aac_take(host, 2 * embedding, sizeof(float));
    memory.device_rgb = apart ? aac_take(workspace, size * size * 3, 1) : memory.rgb;
    memory.device_pair = apart ? aac_take(workspace, 2 * embedding, sizeof(float)) : memory.pair;
    if (apart) {
        memory.map = aac_take(workspace, size * size, sizeof(float));
        memory.detection = aac_take(workspace, embedding, sizeof(float));
    }
    if (apart || !detector->options.keep_features)
        memory.features = aac_take(workspace, levels * patches * embedding, sizeof(float));
    memory.similarity = aac_take(workspace, levels * patches * 2, sizeof(float));
    memory.encoder = aac_take(workspace, aac_vision_encoder_workspace(detector->encoder), 1);
    memory.scratch = aac_take(workspace, scratch, 1);
    if (detector->options.tile) {
        memory.tile_map = aac_take(host, size * size, sizeof(float));
        memory.column_weights = aac_take(host, size, sizeof(float));
        memory.row_weights = aac_take(host, size, sizeof(float));
    }
    return memory;
}

aaclip_status aac_detector_allocate(aaclip_detector *detector)
{
    aac_workspace workspace = {0}, host = {0};
    aac_detector_lay_out(detector, &workspace, &host);
    detector->memory = aac_device_alloc(dispatch_of(detector), workspace.used);
    if (!detector->memory)
        return aac_device_error(dispatch_of(detector));
    detector->host = aac_alloc(host.used);
    return detector->host ? AACLIP_OK : aac_error_memory();
}

/* Similarity of every level with the pair, then one smoothed map. */
static aaclip_status make_map(const aaclip_detector *detector, const aac_detector_memory *memory,
                              const float *features, float *map)
{
    aaclip_status status = AACLIP_OK;
    for (int64_t level = 0; !status && level < detector->config.level_count; level++) {
        const aac_op_args args = {
            .x = features + level * detector->patches * detector->embedding,
            .y = memory->similarity + level * detector->patches * 2,
            .a = memory->device_pair,
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

/* From pixels and pair where operations read them to what they write; nothing waits on the way. */
static aaclip_status run_network(const aaclip_detector *detector, const aac_detector_memory *memory,
                                 const aac_kept_result *written)
{
    aaclip_status status =
        aac_vision_encoder_run(detector->encoder, memory->device_rgb, written->features,
                               written->detection, memory->encoder, NULL);
    return status ? status : make_map(detector, memory, written->features, written->map);
}

static aaclip_status send(const aaclip_detector *detector, const aac_detector_memory *memory)
{
    const aac_dispatch *dispatch = dispatch_of(detector);
    aaclip_status status = aac_device_copy(dispatch, memory->device_rgb, memory->rgb,
                                           (size_t)(3 * detector->size * detector->size));
    return status ? status
                  : aac_device_copy(dispatch, memory->device_pair, memory->pair,
                                    2 * (size_t)detector->embedding * sizeof(float));
}

static aaclip_status fetch(const aaclip_detector *detector, const aac_kept_result *written,
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
    return status ? status
                  : aac_device_copy(dispatch, kept->features, written->features,
                                    features * sizeof(float));
}

aaclip_status aac_detector_run(const aaclip_detector *detector, const aaclip_image_view *view,
                               const aac_detector_memory *memory, const aac_kept_result *kept,
                               float *score)
{
    const aac_kept_result written = {
        .map = memory->map ? memory->map : kept->map,
        .detection = memory->detection ? memory->detection : kept->detection,
        .features = memory->features ? memory->features : kept->features};
    uint32_t size = (uint32_t)detector->size;
    aaclip_status status = aaclip_image_resize(view, size, size, memory->rgb);
    if (!status)
        status = send(detector, memory);
    if (!status)
        status = run_network(detector, memory, &written);
    if (!status)
        status = fetch(detector, &written, kept);
    if (!status)
        *score = score_of(kept->detection, memory->pair + detector->embedding, detector->embedding);
    return status;
}
