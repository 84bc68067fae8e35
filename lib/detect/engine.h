/* The network of a detector for a number of images, and its working memory. */
#ifndef AAC_DETECT_ENGINE_H
#define AAC_DETECT_ENGINE_H

#include <aaclip/detector.h>

#include "model/vision_encoder.h"

/* Images that are run together where that pays: on a device. */
#define AAC_DETECTOR_BATCH 8

/* The network for a number of images, with its memory. */
typedef struct aac_detector_engine {
    int64_t images;
    aac_vision_encoder *encoder; /* NULL: not made yet */
    char *memory, *host;         /* the workspace: of the operations, of the host */
    aac_device_routine network;
    bool prepared;  /* the host's pixels are those of the next run already */
    uint8_t *shown; /* an image through the window: aac_detector_show */
    size_t shown_bytes;
} aac_detector_engine;

/* What is kept of one image. */
typedef struct aac_kept_result {
    float *map;       // (size, size), with tiles the size of their layout
    float *detection; // (embedding)
    float *finite;    // (1), 1: what the map is made of are finite numbers; else 0
    float *features;  // (levels, patches, embedding) with keep_features
} aac_kept_result;

/*
 * Working memory of an engine's images. What both host and operations use is there twice where they
 * do not reach the same memory.
 */
typedef struct aac_detector_memory {
    uint8_t *rgb, *device_rgb; // (images, size, size, 3)
    float *pair, *device_pair; // (images, 2, embedding)
    /* Of the operations; NULL where they write what is kept, of one image: */
    aac_kept_result written[AAC_DETECTOR_BATCH]; /* all but features, of each image */
    float *detections;                           // (images, embedding): of several, before those
    float *features;                             // (images, levels, patches, embedding)
    float *similarity;                           // (levels, patches, 2)
    void *encoder, *scratch;
    /* With tiles: */
    float *tile_map;                     // (size, size)
    float *column_weights, *row_weights; // (size)
} aac_detector_memory;

/* Similarity and map of the detector are planned. After a failure there is nothing to close. */
aaclip_status aac_detector_engine_open(const aaclip_detector *detector, aac_detector_engine *engine,
                                       int64_t images);
void aac_detector_engine_close(const aaclip_detector *detector, aac_detector_engine *engine);
/* The engine's memory. */
aac_detector_memory aac_detector_memory_of(const aaclip_detector *detector,
                                           const aac_detector_engine *engine);

#endif
