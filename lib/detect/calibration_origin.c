/* What thresholds belong to. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/options.h"
#include "core/window.h"
#include "detect/calibration.h"
#include "detect/detector.h"
#include "text/text_cache.h"

static void describe(aaclip_calibration *calibration, const aaclip_detector *detector)
{
    calibration->image_size = (uint32_t)detector->size;
    calibration->tile = detector->options.tile;
    calibration->tile_overlap = detector->options.tile_overlap;
    calibration->domain = detector->options.domain;
    calibration->model_fingerprint = aac_model_vision_fingerprint(detector->model);
    calibration->adapters_fingerprint = aac_adapters_image_fingerprint(detector->adapters);
    calibration->window_low = detector->options.window_low;
    calibration->window_high = detector->options.window_high;
}

aaclip_status aaclip_detector_describe_calibration(const aaclip_detector *detector,
                                                   const char *class_name,
                                                   aaclip_calibration *calibration)
{
    aaclip_calibration own;
    if (!detector || !class_name || !calibration)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_describe_calibration: NULL argument");
    aaclip_status status = aac_calibration_read(&own, calibration);
    if (!status)
        status =
            aac_text_cache_class_fingerprint(detector->cache, class_name, &own.class_fingerprint);
    if (!status && strlen(class_name) >= sizeof own.class_name)
        status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                           "aaclip_calibration.class_name: expected at most %zu bytes, found %zu",
                           sizeof own.class_name - 1, strlen(class_name));
    if (status)
        return status;
    memcpy(own.class_name, class_name, strlen(class_name) + 1);
    describe(&own, detector);
    return aac_options_write(calibration, calibration->size, &own, sizeof own,
                             "aaclip_calibration");
}

static aaclip_status differs(const char *what, double made, double found)
{
    return aac_error(AACLIP_ERROR_MISMATCH,
                     "aaclip_calibration.%s: expected the detector's %g, found %g; thresholds are "
                     "only valid for what they were made with",
                     what, found, made);
}

static aaclip_status weights_differ(const char *what, uint64_t made, uint64_t found)
{
    return aac_error(AACLIP_ERROR_MISMATCH,
                     "aaclip_calibration.%s: expected the detector's %016" PRIx64
                     ", found %016" PRIx64
                     "; thresholds are only valid for the weights that they were made with",
                     what, found, made);
}

typedef struct window_text {
    char text[80];
} window_text;

static window_text name_window(const aaclip_calibration *calibration)
{
    const aac_window window = {calibration->window_low, calibration->window_high};
    window_text name = {"none"};
    if (aac_window_is_given(&window))
        snprintf(name.text, sizeof name.text, "%.9g to %.9g", window.low, window.high);
    return name;
}

static bool same_window(const aaclip_calibration *a, const aaclip_calibration *b)
{
    return a->window_low <= b->window_low && a->window_low >= b->window_low &&
           a->window_high <= b->window_high && a->window_high >= b->window_high;
}

aaclip_status aac_calibration_check(const aaclip_calibration *calibration,
                                    const aaclip_detector *detector)
{
    aaclip_calibration own = *calibration;
    if (!calibration->image_size)
        return AACLIP_OK;
    describe(&own, detector);
    if (own.image_size != calibration->image_size)
        return differs("image_size", calibration->image_size, own.image_size);
    if (own.tile != calibration->tile)
        return differs("tile", calibration->tile, own.tile);
    if (own.tile && (own.tile_overlap < calibration->tile_overlap ||
                     own.tile_overlap > calibration->tile_overlap))
        return differs("tile_overlap", (double)calibration->tile_overlap, (double)own.tile_overlap);
    if (own.domain != calibration->domain)
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "aaclip_calibration.domain: expected the detector's %s, found %s",
                         aaclip_domain_name(own.domain), aaclip_domain_name(calibration->domain));
    if (own.model_fingerprint != calibration->model_fingerprint)
        return weights_differ("model_fingerprint", calibration->model_fingerprint,
                              own.model_fingerprint);
    if (own.adapters_fingerprint != calibration->adapters_fingerprint)
        return weights_differ("adapters_fingerprint", calibration->adapters_fingerprint,
                              own.adapters_fingerprint);
    if (!same_window(&own, calibration))
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "aaclip_calibration.window_low: expected the detector's window, %s, found "
                         "%s; thresholds are only valid for the window that they were made with",
                         name_window(&own).text, name_window(calibration).text);
    return AACLIP_OK;
}

/* The vectors that the thresholds were made with, where both sides know. */
static aaclip_status check_vectors(const aaclip_calibration *calibration,
                                   const aaclip_text_cache *cache, const char *class_name)
{
    uint64_t fingerprint = 0;
    aaclip_status status = aac_text_cache_class_fingerprint(cache, class_name, &fingerprint);
    if (status || !fingerprint || !calibration->class_fingerprint ||
        fingerprint == calibration->class_fingerprint)
        return status;
    return aac_error(AACLIP_ERROR_MISMATCH,
                     "aaclip_calibration.class_fingerprint: expected the text cache's %016" PRIx64
                     " for class '%s', found %016" PRIx64
                     "; thresholds are only valid for the phrase, prompts and text adapters that "
                     "they were made with",
                     fingerprint, class_name, calibration->class_fingerprint);
}

aaclip_status aac_calibration_check_class(const aaclip_calibration *calibration,
                                          const aaclip_text_cache *cache, const char *class_name)
{
    if (!calibration->class_name[0])
        return AACLIP_OK;
    if (strcmp(calibration->class_name, class_name) == 0)
        return check_vectors(calibration, cache, class_name);
    return aac_error(AACLIP_ERROR_MISMATCH,
                     "aaclip_calibration.class_name: thresholds are for class '%s', not '%s'",
                     calibration->class_name, class_name);
}

aaclip_status aaclip_detector_check_calibration(const aaclip_detector *detector,
                                                const char *class_name,
                                                const aaclip_calibration *calibration)
{
    aaclip_calibration own;
    if (!detector || !class_name)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_detector_check_calibration: NULL argument");
    aaclip_status status = aac_calibration_read(&own, calibration);
    if (!status)
        status = aac_calibration_check(&own, detector);
    return status ? status : aac_calibration_check_class(&own, detector->cache, class_name);
}
