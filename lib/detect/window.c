#include "detect/window.h"

#include "core/error.h"
#include "core/memory.h"
#include "core/window.h"
#include "images/view.h"

static aac_window window_of(const aaclip_detector_options *options)
{
    return (aac_window){options->window_low, options->window_high};
}

aaclip_status aac_detector_check_window(const aaclip_detector_options *options)
{
    const aac_window window = window_of(options);
    if (!aac_window_is_given(&window) || aac_window_is_valid(&window))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                     "aaclip_detector_options.window_low: expected two finite numbers, the "
                     "smaller first, found %g and %g",
                     window.low, window.high);
}

static aaclip_status reserve(aac_detector_engine *engine, const aaclip_image_view *view)
{
    size_t bytes;
    if (!aac_size_multiply(&bytes, (size_t)view->width * 3, view->height))
        return aac_error_memory();
    if (bytes <= engine->shown_bytes)
        return AACLIP_OK;
    aac_free(engine->shown);
    engine->shown = aac_alloc(bytes);
    engine->shown_bytes = engine->shown ? bytes : 0;
    return engine->shown ? AACLIP_OK : aac_error_memory();
}

aaclip_status aac_detector_show(const aaclip_detector *detector, aac_detector_engine *engine,
                                const aaclip_image_view *view, aaclip_image_view *shown)
{
    const aac_window window = window_of(&detector->options);
    *shown = *view;
    if (!aac_window_is_given(&window) || !aac_view_is_wide(view))
        return AACLIP_OK;
    aaclip_status status = reserve(engine, view);
    if (status)
        return status;
    *shown = (aaclip_image_view){engine->shown, view->width, view->height, 0, AACLIP_PIXEL_RGB8};
    return aaclip_image_window(view, window.low, window.high, engine->shown);
}

#define BITS_OF_A_CAMERA 12

void aac_detector_look_at_values(aaclip_detector *detector, const aaclip_image_view *view)
{
    const aac_window window = window_of(&detector->options);
    if (detector->warned || aac_window_is_given(&window) || !aac_view_is_wide(view) ||
        !aac_view_fits(view, BITS_OF_A_CAMERA))
        return;
    detector->warned = true;
    aac_log(
        AACLIP_LOG_WARNING,
        "image of 16 bits: all values are below %d, of which only the upper 8 of 16 bits count; "
        "set window_low and window_high of aaclip_detector_options to what the camera gives",
        1 << BITS_OF_A_CAMERA);
}
