/* Creates a detector: options, plans of all operations; what it tells about itself. */
#include "detect/detector.h"

#include "core/config.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "detect/calibration.h"
#include "detect/window.h"
#include "text/text_cache.h"

aaclip_status aaclip_detector_options_init_sized(aaclip_detector_options *options,
                                                 size_t struct_size)
{
    const aaclip_detector_options own = {.size = sizeof own, .tile_overlap = 0.25f};
    return aac_options_write(options, struct_size, &own, sizeof own, "aaclip_detector_options");
}

static aaclip_status check_tiles(const aaclip_detector_options *options)
{
    if (!(options->tile_overlap >= 0 && options->tile_overlap <= 0.9f))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_options.tile_overlap: expected 0 to 0.9, found %g",
                         (double)options->tile_overlap);
    if (options->tile && options->keep_features)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "aaclip_detector_options.keep_features: not available with tiles, as each "
                         "tile has its own features");
    return AACLIP_OK;
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
    else if (detector->options.config)
        status = aac_config_read(&detector->config, detector->options.config);
    else
        detector->config = *aac_text_cache_config(detector->cache);
    if (!status)
        status = aac_config_resolve(&detector->config, checkpoint->vision.layers,
                                    checkpoint->text.layers);
    if (!status && (unsigned)detector->options.domain > AACLIP_DOMAIN_MEDICAL)
        status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                           "aaclip_detector_options.domain: unknown domain %d",
                           (int)detector->options.domain);
    if (!status)
        status = check_tiles(&detector->options);
    if (!status)
        status = aac_detector_check_window(&detector->options);
    if (!status)
        status = aac_text_cache_check_config(detector->cache, &detector->config);
    if (!status)
        status = aac_decider_open(&detector->decider, &detector->options, detector->adapters);
    if (!status)
        status = choose_size(detector);
    if (!status && detector->decider.calibrated)
        status = aac_calibration_check(&detector->decider.calibration, detector);
    return status;
}

static aaclip_status plan_map(aaclip_detector *detector)
{
    bool medical = detector->options.domain == AACLIP_DOMAIN_MEDICAL;
    const int64_t kernel = medical ? 9 : 7;
    const int64_t rows = detector->config.level_count * detector->patches;
    const aac_op_desc similarity = {.op = AAC_OP_SIMILARITY,
                                    .similarity = {rows, detector->embedding, 100.0f}};
    const aac_op_desc finite = {.op = AAC_OP_FINITE, .finite = {2 * rows}};
    const aac_op_desc map = {.op = AAC_OP_ANOMALY_MAP,
                             .anomaly_map = {.levels = detector->config.level_count,
                                             .grid = detector->grid,
                                             .size = detector->size,
                                             .kernel = kernel,
                                             .sigma = medical ? 1.5f : 1.0f}};
    if (kernel / 2 >= detector->grid)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_options.image_size: %lld gives %lld patches per side; "
                         "smoothing for the %s domain needs at least %lld",
                         (long long)detector->size, (long long)detector->grid,
                         aaclip_domain_name(detector->options.domain), (long long)(kernel / 2 + 1));
    const aac_dispatch *dispatch = aac_model_dispatch(detector->model);
    aaclip_status status = aac_dispatch_plan(dispatch, &detector->similarity, &similarity);
    if (!status)
        status = aac_dispatch_plan(dispatch, &detector->finite, &finite);
    return status ? status : aac_dispatch_plan(dispatch, &detector->map, &map);
}

static aaclip_status prepare(aaclip_detector *detector)
{
    aaclip_status status = configure(detector);
    if (!status)
        status = plan_map(detector);
    return status ? status : aac_detector_engine_open(detector, &detector->one, 1);
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
    aaclip_detector_options own;
    aaclip_status status = aaclip_detector_options_init(&own);
    if (!status)
        status = aac_options_read(&own, sizeof own, options, "aaclip_detector_options");
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
    detector->options.config = NULL; /* the caller's; they were copied */
    detector->options.calibration = NULL;
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
    aac_detector_engine_close(detector, &detector->one);
    aac_detector_engine_close(detector, &detector->many);
    aac_plan_free(&detector->similarity);
    aac_plan_free(&detector->finite);
    aac_plan_free(&detector->map);
    aac_detector_free_results(detector);
    aac_decider_close(&detector->decider);
    aaclip_text_cache_close(&detector->cache);
    aaclip_adapters_close(&detector->adapters);
    aaclip_model_close(&detector->model);
    aac_free(detector);
}

aaclip_status aaclip_detector_set_roi(aaclip_detector *detector, const uint8_t *roi, uint32_t width,
                                      uint32_t height)
{
    if (!detector)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_set_roi: detector is NULL");
    if (atomic_flag_test_and_set(&detector->busy))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_set_roi: another thread is using this detector");
    aaclip_status status = aac_decider_set_roi(&detector->decider, roi, width, height);
    atomic_flag_clear(&detector->busy);
    return status;
}

static aaclip_status set_calibration(aaclip_detector *detector, const char *class_name,
                                     const aaclip_calibration *calibration)
{
    aaclip_calibration own;
    aaclip_status status = AACLIP_OK;
    if (class_name)
        status = aaclip_text_cache_get(detector->cache, class_name, NULL, NULL);
    if (!status && calibration)
        status = aac_calibration_read(&own, calibration);
    if (!status && calibration)
        status = aac_calibration_check(&own, detector);
    if (!status && calibration && class_name)
        status = aac_calibration_check_class(&own, detector->cache, class_name);
    return status ? status
                  : aac_decider_set_calibration(&detector->decider, class_name,
                                                calibration ? &own : NULL);
}

aaclip_status aaclip_detector_set_calibration(aaclip_detector *detector, const char *class_name,
                                              const aaclip_calibration *calibration)
{
    if (!detector)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_set_calibration: detector is NULL");
    if (atomic_flag_test_and_set(&detector->busy))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_set_calibration: another thread is using this detector");
    aaclip_status status = set_calibration(detector, class_name, calibration);
    atomic_flag_clear(&detector->busy);
    return status;
}

uint32_t aaclip_detector_image_size(const aaclip_detector *detector)
{
    return detector ? (uint32_t)detector->size : 0;
}
