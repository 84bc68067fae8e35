/* Detectors inside the library: created and freed in plan.c, run in detector.c and picture.c. */
#ifndef AAC_DETECT_DETECTOR_H
#define AAC_DETECT_DETECTOR_H

#include <stdatomic.h>

#include <aaclip/detector.h>

#include "detect/decision.h"
#include "model/vision_encoder.h"

/* Images that are run together where that pays: on a device. */
#define AAC_DETECTOR_BATCH 8

/* The network for a number of images, with its memory. */
typedef struct aac_detector_engine {
    int64_t images;
    aac_vision_encoder *encoder; /* NULL: not created yet */
    char *memory, *host;         /* the workspaces of the operations and of the host */
    aac_device_routine network;
    bool prepared; /* the host's pixels are already those of the next run */
} aac_detector_engine;

struct aaclip_detector {
    atomic_flag busy;
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_text_cache *cache;
    aaclip_detector_options options;
    aaclip_config config;
    aac_detector_engine one, many; /* many: created for the first batch that is large enough */
    aac_plan *similarity, *finite, *map; /* finite: whether the similarity of all levels is */
    int64_t size, grid, patches, embedding;
    aac_decider decider;
    char *results;
    size_t result_bytes;
    aaclip_region **regions; /* an array for each image of the last batch */
    size_t region_capacity;
};

/* Similarity and map must be planned. After a failure there is nothing to close. */
aaclip_status aac_detector_engine_open(const aaclip_detector *detector, aac_detector_engine *engine,
                                       int64_t images);
void aac_detector_engine_close(const aaclip_detector *detector, aac_detector_engine *engine);
void aac_detector_free_results(aaclip_detector *detector);

#endif
