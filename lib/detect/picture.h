/* One picture, or one tile of it, through the network: its memory, the way there and back. */
#ifndef AAC_DETECT_PICTURE_H
#define AAC_DETECT_PICTURE_H

#include "core/workspace.h"
#include "detect/detector.h"

/*
 * Working memory of one image. What both host and operations use is there twice where they do not
 * reach the same memory.
 */
typedef struct aac_detector_memory {
    uint8_t *rgb, *device_rgb; // (size, size, 3)
    float *pair, *device_pair; // (2, embedding)
    /* Of the operations; NULL where they write what is kept: */
    float *map;        // (size, size)
    float *detection;  // (embedding)
    float *features;   // (levels, patches, embedding)
    float *similarity; // (levels, patches, 2)
    void *encoder, *scratch;
    /* With tiles: */
    float *tile_map;                     // (size, size)
    float *column_weights, *row_weights; // (size)
} aac_detector_memory;

/* What is kept of one image. */
typedef struct aac_kept_result {
    float *map;       // (size, size), with tiles the size of their layout
    float *detection; // (embedding)
    float *features;  // (levels, patches, embedding) with keep_features
} aac_kept_result;

/* The detector's memory, or how much of both there must be. */
aac_detector_memory aac_detector_lay_out(const aaclip_detector *detector, aac_workspace *workspace,
                                         aac_workspace *host);

/* The pair is in memory->pair. */
aaclip_status aac_detector_run(const aaclip_detector *detector, const aaclip_image_view *view,
                               const aac_detector_memory *memory, const aac_kept_result *kept,
                               float *score);

#endif
