/* Views of 16 bits: the window of the detector's options, and a warning where one is missing. */
#ifndef AAC_DETECT_WINDOW_H
#define AAC_DETECT_WINDOW_H

#include "detect/detector.h"

/* INVALID_ARGUMENT unless the window is none or valid. */
aaclip_status aac_detector_check_window(const aaclip_detector_options *options);

/*
 * *shown becomes the checked view, or, with a window and 16 bits, its RGB8 pixels in the engine's
 * memory, until the next call.
 */
aaclip_status aac_detector_show(const aaclip_detector *detector, aac_detector_engine *engine,
                                const aaclip_image_view *view, aaclip_image_view *shown);

/* Without a window, warns once of a checked view whose values need one. */
void aac_detector_look_at_values(aaclip_detector *detector, const aaclip_image_view *view);

#endif
