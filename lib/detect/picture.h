/* Runs images, or a tile of one, through the network: their memory, copies to it and back. */
#ifndef AAC_DETECT_PICTURE_H
#define AAC_DETECT_PICTURE_H

#include "core/workspace.h"
#include "detect/detector.h"

/* What is kept of one image. */
typedef struct aac_kept_result {
    float *map;       // (size, size), with tiles the size of their layout
    float *detection; // (embedding)
    float *finite;    // (1): 1 if the similarities are all finite, else 0
    float *features;  // (levels, patches, embedding) with keep_features
} aac_kept_result;

/*
 * Working memory of an engine's images. What both host and operations use exists twice unless they
 * share their memory.
 */
typedef struct aac_detector_memory {
    uint8_t *rgb, *device_rgb; // (images, size, size, 3)
    float *pair, *device_pair; // (images, 2, embedding)
    /* Of the operations; NULL where they write the results of a single image in place: */
    aac_kept_result written[AAC_DETECTOR_BATCH]; /* all but features, of each image */
    float *detections; // (images, embedding): of several images, before `written`
    float *features;   // (images, levels, patches, embedding)
    float *similarity; // (levels, patches, 2)
    void *encoder, *scratch;
    /* With tiles: */
    float *tile_map;                     // (size, size)
    float *column_weights, *row_weights; // (size)
} aac_detector_memory;

/* The engine's memory. */
aac_detector_memory aac_detector_memory_of(const aaclip_detector *detector,
                                           const aac_detector_engine *engine);

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
