/* Detectors inside the library: created and freed in detector_new.c, run in detector.c, picture.c.
 */
#ifndef AAC_DETECT_DETECTOR_H
#define AAC_DETECT_DETECTOR_H

#include <stdatomic.h>

#include <aaclip/detector.h>

#include "detect/decision.h"
#include "detect/engine.h"

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
    bool warned; /* of values that need a window */
};

void aac_detector_free_results(aaclip_detector *detector);

#endif
