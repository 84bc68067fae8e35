/* A detector inside the library: made and freed in plan.c, run in detector.c and picture.c. */
#ifndef AAC_DETECT_DETECTOR_H
#define AAC_DETECT_DETECTOR_H

#include <stdatomic.h>

#include <aaclip/detector.h>

#include "detect/decision.h"
#include "model/vision_encoder.h"

struct aaclip_detector {
    atomic_flag busy;
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_text_cache *cache;
    aaclip_detector_options options;
    aaclip_config config;
    aac_vision_encoder *encoder;
    aac_plan *similarity, *map;
    int64_t size, grid, patches, embedding;
    aac_decider decider;
    char *memory, *host; /* the workspace of one image: of the operations, of the host */
    char *results;
    size_t result_bytes;
    aaclip_region **regions; /* an array for each image of the last batch */
    size_t region_capacity;
};

/* Allocates the workspace; everything is planned. */
aaclip_status aac_detector_allocate(aaclip_detector *detector);
void aac_detector_free_results(aaclip_detector *detector);

#endif
