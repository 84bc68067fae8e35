/* Runs images, or a tile of one, through the network: copies to it, the run, and results back. */
#ifndef AAC_DETECT_PICTURE_H
#define AAC_DETECT_PICTURE_H

#include "detect/detector.h"

/*
 * As many views, results and scores as the engine has images. The pairs are in memory->pair.
 * `next`: the views of the next run, resized while this one computes; NULL: unknown. The caller
 * must then make that run, or set engine->prepared to false.
 */
aaclip_status aac_detector_run(const aaclip_detector *detector, aac_detector_engine *engine,
                               const aaclip_image_view *views, const aaclip_image_view *next,
                               const aac_detector_memory *memory, const aac_kept_result *kept,
                               float *scores);

#endif
