/* What follows from a finished map: whether the image is defective, and its regions. */
#ifndef AAC_DETECT_DECISION_H
#define AAC_DETECT_DECISION_H

#include <aaclip/detector.h>

typedef struct aac_class_calibration {
    char *class_name;
    aaclip_calibration calibration;
} aac_class_calibration;

/* The same for all images. */
typedef struct aac_decider {
    bool calibrated, find_regions;
    aaclip_calibration calibration; /* of classes without their own, if calibrated */
    aac_class_calibration *classes;
    size_t class_count, class_capacity;
    uint32_t min_area;
    uint8_t *roi; /* NULL: everywhere */
    uint32_t roi_width, roi_height;
} aac_decider;

/* Takes the calibration from the options or else from the adapters, which may be NULL. */
aaclip_status aac_decider_open(aac_decider *decider, const aaclip_detector_options *options,
                               const aaclip_adapters *adapters);
void aac_decider_close(aac_decider *decider);

/* Copies a checked calibration; NULL removes it. `class_name` NULL: of classes without their own.
 * On failure the previous one stays. */
aaclip_status aac_decider_set_calibration(aac_decider *decider, const char *class_name,
                                          const aaclip_calibration *calibration);

/* Copies the mask; NULL removes it. On failure the previous one stays. */
aaclip_status aac_decider_set_roi(aac_decider *decider, const uint8_t *roi, uint32_t width,
                                  uint32_t height);

/* Before anything is computed: checks that the calibration, if any, is for this class and its
 * vectors. */
aaclip_status aac_decider_check_class(const aac_decider *decider, const aaclip_text_cache *cache,
                                      const char *class_name);

/*
 * Completes a result that has score and map, for a photograph of width x height. *regions becomes
 * the array that the result then points to, NULL if there is none or on failure.
 */
aaclip_status aac_decider_run(const aac_decider *decider, const char *class_name, uint32_t width,
                              uint32_t height, aaclip_result *result, aaclip_region **regions);

#endif
