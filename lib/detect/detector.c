/* Image in, map and score out. */
#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "detect/picture.h"
#include "detect/tiles.h"
#include "detect/window.h"
#include "images/view.h"

/* The tiles of one image; without tiles it is one of its own size. */
typedef struct tile_layout {
    aac_tile_axis columns, rows;
} tile_layout;

static tile_layout lay_out_tiles(const aaclip_detector *detector, const aaclip_image_view *image)
{
    const uint32_t tile = detector->options.tile ? detector->options.tile : UINT32_MAX;
    const float overlap = detector->options.tile_overlap;
    const uint32_t size = (uint32_t)detector->size;
    return (tile_layout){aac_tile_axis_plan(image->width, tile, overlap, size),
                         aac_tile_axis_plan(image->height, tile, overlap, size)};
}

static aac_kept_result lay_out_result(const aaclip_detector *detector, const tile_layout *tiles,
                                      aac_workspace *workspace)
{
    size_t embedding = (size_t)detector->embedding;
    size_t features = detector->config.level_count * (size_t)detector->patches * embedding;
    aac_kept_result kept = {0};
    kept.map = aac_take(workspace, tiles->columns.map * tiles->rows.map, sizeof(float));
    kept.detection = aac_take(workspace, embedding, sizeof(float));
    kept.finite = aac_take(workspace, 1, sizeof(float));
    if (detector->options.keep_features)
        kept.features = aac_take(workspace, features, sizeof(float));
    return kept;
}

static void fill_result(const aaclip_detector *detector, const aac_kept_result *kept,
                        const tile_layout *tiles, aaclip_result *result)
{
    bool keep = detector->options.keep_features;
    result->size = sizeof *result;
    result->map = kept->map;
    result->map_width = (uint32_t)tiles->columns.map;
    result->map_height = (uint32_t)tiles->rows.map;
    result->level_count = detector->config.level_count;
    result->patch_features = keep ? kept->features : NULL;
    result->patch_rows = (uint32_t)detector->grid;
    result->patch_columns = (uint32_t)detector->grid;
    result->detection_feature = keep ? kept->detection : NULL;
    result->embedding = (uint32_t)detector->embedding;
}

static aaclip_status detect_tiles(aaclip_detector *detector, const aaclip_image_view *image,
                                  const tile_layout *tiles, const aac_detector_memory *memory,
                                  const aac_kept_result *kept, float *score)
{
    const aac_tile_axis *columns = &tiles->columns, *rows = &tiles->rows;
    const aac_kept_result tile = {
        .map = memory->tile_map, .detection = kept->detection, .finite = kept->finite};
    aaclip_status status = AACLIP_OK;
    float tile_score;
    *score = -INFINITY;
    memset(kept->map, 0, columns->map * rows->map * sizeof *kept->map);
    for (uint32_t row = 0; !status && row < rows->count; row++) {
        aac_tile_weights(rows, row, memory->row_weights);
        for (uint32_t column = 0; !status && column < columns->count; column++) {
            const aaclip_image_view view = aac_tile_view(image, columns, rows, column, row);
            status =
                aac_detector_run(detector, &detector->one, &view, NULL, memory, &tile, &tile_score);
            if (status)
                break;
            aac_tile_weights(columns, column, memory->column_weights);
            aac_tile_blend(kept->map, columns, rows, column, row, memory->column_weights,
                           memory->row_weights, memory->tile_map);
            *score = tile_score > *score ? tile_score : *score;
        }
    }
    return status;
}

/* Detects as many images as the engine takes; several at once have no tiles. `next`: see
 * aac_detector_run. */
static aaclip_status detect_some(aaclip_detector *detector, aac_detector_engine *engine,
                                 const aaclip_image_view *images, const aaclip_image_view *next,
                                 const char *const *class_names, const tile_layout *tiles,
                                 const aac_kept_result *kept, aaclip_result *results,
                                 aaclip_region **regions)
{
    const aac_detector_memory memory = aac_detector_memory_of(detector, engine);
    float scores[AAC_DETECTOR_BATCH] = {0}, *pair = memory.pair;
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < engine->images; i++, pair += 2 * detector->embedding)
        status = aaclip_text_cache_get(detector->cache, class_names[i], pair,
                                       pair + detector->embedding);
    for (int64_t i = 0; !status && i < engine->images; i++)
        status = aac_decider_check_class(&detector->decider, detector->cache, class_names[i]);
    if (status)
        return status;
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): one per image */
    if (tiles->columns.count == 1 && tiles->rows.count == 1)
        status = aac_detector_run(detector, engine, images, next, &memory, kept, scores);
    else
        status = detect_tiles(detector, images, tiles, &memory, kept, scores);
    for (int64_t i = 0; !status && i < engine->images; i++) {
        results[i].score = scores[i];
        fill_result(detector, &kept[i], &tiles[i], &results[i]);
        status = aac_decider_run(&detector->decider, class_names[i], images[i].width,
                                 images[i].height, &results[i], &regions[i]);
    }
    return status;
}

/*
 * Chooses the engine for the next of `left` images. Without memory for many at once they run one by
 * one; `no_room` remembers this for the rest of the batch.
 */
static aaclip_status choose_engine(aaclip_detector *detector, size_t left, bool *no_room,
                                   aac_detector_engine **engine)
{
    bool apart = !aac_device_is_host(aac_model_dispatch(detector->model));
    *engine = &detector->one;
    if (!apart || detector->options.tile || left < AAC_DETECTOR_BATCH || *no_room)
        return AACLIP_OK;
    if (!detector->many.encoder) {
        aaclip_status status =
            aac_detector_engine_open(detector, &detector->many, AAC_DETECTOR_BATCH);
        *no_room = status == AACLIP_ERROR_OUT_OF_MEMORY;
        if (status)
            return *no_room ? AACLIP_OK : status;
    }
    *engine = &detector->many;
    return AACLIP_OK;
}

#define MOST_MAP_VALUES (1ull << 30)

static aaclip_status check_map(const aaclip_detector *detector, const aaclip_image_view *image,
                               const tile_layout *tiles)
{
    const uint64_t width = tiles->columns.map, height = tiles->rows.map;
    if (width <= MOST_MAP_VALUES / height)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                     "aaclip_detector_options.tile: tiles of %u pixels give a %ux%u image a map of "
                     "%llux%llu; expected at most %llu values",
                     detector->options.tile, image->width, image->height, (unsigned long long)width,
                     (unsigned long long)height, MOST_MAP_VALUES);
}

/* For several images: says which one failed, counted from 0 like the caller's arrays. */
static aaclip_status name_image(aaclip_status status, size_t image, size_t count)
{
    return status && count > 1 ? aac_error_prefix(status, "image %zu of %zu", image, count)
                               : status;
}

/* Checks the images and adds up the size of their results. */
static aaclip_status measure(const aaclip_detector *detector, const aaclip_image_view *images,
                             size_t count, size_t *bytes)
{
    *bytes = 0;
    for (size_t i = 0; i < count; i++) {
        aaclip_status status = aac_view_check(&images[i]);
        if (status)
            return name_image(status, i, count);
        const tile_layout tiles = lay_out_tiles(detector, &images[i]);
        status = check_map(detector, &images[i], &tiles);
        if (status)
            return name_image(status, i, count);
        aac_workspace workspace = {0};
        lay_out_result(detector, &tiles, &workspace);
        if (!aac_size_add(bytes, *bytes, workspace.used))
            return aac_error_memory();
    }
    return AACLIP_OK;
}

/* Invalidates the results of an earlier, smaller batch, as documented. */
static aaclip_status reserve_results(aaclip_detector *detector, size_t bytes)
{
    if (bytes <= detector->result_bytes)
        return AACLIP_OK;
    const aac_dispatch *dispatch = aac_model_dispatch(detector->model);
    aac_device_free_host(dispatch, detector->results);
    detector->result_bytes = 0;
    detector->results = aac_device_alloc_host(dispatch, bytes);
    if (!detector->results)
        return aac_device_host_error(dispatch);
    detector->result_bytes = bytes;
    return AACLIP_OK;
}

static void free_regions(aaclip_detector *detector)
{
    for (size_t i = 0; i < detector->region_capacity; i++)
        aaclip_regions_free(&detector->regions[i]);
}

void aac_detector_free_results(aaclip_detector *detector)
{
    aac_device_free_host(aac_model_dispatch(detector->model), detector->results);
    free_regions(detector);
    aac_free(detector->regions);
}

static aaclip_status reserve_regions(aaclip_detector *detector, size_t count)
{
    free_regions(detector);
    if (count <= detector->region_capacity)
        return AACLIP_OK;
    aac_free(detector->regions);
    detector->region_capacity = 0;
    detector->regions = aac_calloc(count, sizeof *detector->regions);
    if (!detector->regions)
        return aac_error_memory();
    detector->region_capacity = count;
    return AACLIP_OK;
}

/* The arguments of a call, and its public function. */
typedef struct detect_call {
    const char *function;
    const aaclip_image_view *images;
    const char *const *class_names;
    size_t count;
    aaclip_result *results;
} detect_call;

static aaclip_status check_call(const aaclip_detector *detector, const detect_call *call)
{
    if (!detector || (call->count && (!call->images || !call->class_names || !call->results)))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: NULL argument", call->function);
    if (call->count && !aac_options_has_size(call->results->size))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_result: set size before the call");
    for (size_t i = 0; i < call->count; i++)
        if (!call->class_names[i])
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: class name %zu is NULL",
                             call->function, i);
    return AACLIP_OK;
}

static aaclip_status detect_batch(aaclip_detector *detector, const aaclip_image_view *images,
                                  const char *const *class_names, size_t count,
                                  aaclip_result *results)
{
    size_t bytes, stride = results[0].size; /* other versions have other sizes */
    bool no_room = false;
    /* before the host writes to memory that a forked process may lack */
    aaclip_status status = aac_dispatch_check_process(aac_model_dispatch(detector->model));
    if (!status)
        status = measure(detector, images, count, &bytes);
    if (!status)
        status = reserve_results(detector, bytes);
    if (!status)
        status = reserve_regions(detector, count);
    aac_workspace workspace = {.base = detector->results};
    detector->many.prepared = false; /* left by a failed batch */
    for (size_t i = 0; !status && i < count; i++)
        aac_detector_look_at_values(detector, &images[i]);
    for (size_t done = 0; !status && done < count;) {
        aac_detector_engine *engine;
        status = choose_engine(detector, count - done, &no_room, &engine);
        if (status)
            break;
        tile_layout tiles[AAC_DETECTOR_BATCH];
        aac_kept_result kept[AAC_DETECTOR_BATCH];
        aaclip_result own[AAC_DETECTOR_BATCH] = {{0}};
        size_t some = (size_t)engine->images;
        for (size_t i = 0; i < some; i++) {
            tiles[i] = lay_out_tiles(detector, &images[done + i]);
            kept[i] = lay_out_result(detector, &tiles[i], &workspace);
        }
        bool more = engine == &detector->many && count - done - some >= some;
        status = detect_some(detector, engine, &images[done], more ? &images[done + some] : NULL,
                             &class_names[done], tiles, kept, own, &detector->regions[done]);
        for (size_t i = 0; !status && i < some; i++)
            status = aac_options_write((char *)results + (done + i) * stride, stride, &own[i],
                                       sizeof own[i], "aaclip_result");
        done += some;
    }
    return status;
}

static aaclip_status detect(aaclip_detector *detector, const detect_call *call)
{
    aaclip_status status = check_call(detector, call);
    if (status || !call->count)
        return status;
    if (atomic_flag_test_and_set(&detector->busy))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: another thread is using this detector",
                         call->function);
    status = detect_batch(detector, call->images, call->class_names, call->count, call->results);
    if (status)
        status = aac_device_finish(aac_model_dispatch(detector->model), status);
    atomic_flag_clear(&detector->busy);
    return status;
}

aaclip_status aaclip_detector_detect_batch(aaclip_detector *detector,
                                           const aaclip_image_view *images,
                                           const char *const *class_names, size_t count,
                                           aaclip_result *results)
{
    const detect_call call = {"aaclip_detector_detect_batch", images, class_names, count, results};
    return detect(detector, &call);
}

aaclip_status aaclip_detector_detect(aaclip_detector *detector, const aaclip_image_view *image,
                                     const char *class_name, aaclip_result *result)
{
    const detect_call call = {"aaclip_detector_detect", image, &class_name, 1, result};
    return detect(detector, &call);
}

void aaclip_map_probability(const float *map, size_t count, uint32_t level_count, float *out)
{
    float levels = level_count ? (float)level_count : 1.0f;
    for (size_t i = 0; map && out && i < count; i++)
        out[i] = 1.0f / (1.0f + expf(1.0f - 2.0f * map[i] / levels));
}
