/* What aaclip-detect derives from a map: mask, regions, decision. */
#ifndef EXAMPLES_DETECT_REGIONS_H
#define EXAMPLES_DETECT_REGIONS_H

#include <jansson.h>

#include "common.h"

/* From the command line. */
typedef struct region_options {
    const char *calibration, *roi; /* files; may be NULL */
    bool has_threshold;
    double threshold;
    unsigned min_area;
} region_options;

/* The same for all images. */
typedef struct region_setup {
    bool calibrated;
    aaclip_calibration calibration; /* without one, only its map threshold counts */
    uint8_t *roi;                   /* NULL: everywhere */
    bool nowhere;                   /* it is all black: no regions and no decision */
    const char *roi_path;
    uint32_t roi_width, roi_height;
    unsigned min_area;
} region_setup;

/* Findings in one image. */
typedef struct region_report {
    aaclip_region *regions;
    size_t count;
    bool defective; /* when calibrated */
} region_report;

/* Takes the calibration of the file, or else of the adapters, which may be NULL. */
aaclip_status region_setup_open(region_setup *setup, const region_options *options,
                                const aaclip_adapters *adapters);
void region_setup_close(region_setup *setup);

/* Whether the calibration is for this class, as far as it records one; false with a message if not.
 * From then on it is for `vectors`, the detector's name for the class (choose_vectors in main.c).
 */
bool region_setup_belongs(region_setup *setup, const char *class_name, const char *vectors,
                          const char *program);

/* Makes a detector decide, if calibrated, and find regions if they are wanted. */
void region_setup_options(const region_setup *setup, bool wanted, aaclip_detector_options *options);
/* Sets its region of interest. */
aaclip_status region_setup_look(const region_setup *setup, aaclip_detector *detector);

/* The region of interest must have the size of `photo`; false with a message if not. */
bool region_setup_fits(const region_setup *setup, const aaclip_image_view *photo,
                       const char *photo_path, const char *program);

/* Copies what the detector found. Clear the report also after a failure. */
aaclip_status region_report_keep(region_report *report, const aaclip_result *result);
void region_report_clear(region_report *report);

aaclip_status write_mask(const char *path, const region_setup *setup, const float *probability,
                         const aaclip_image_view *photo);

/* Adds the regions and, when calibrated, the decision to an image's object; false when out of
 * memory, as the next. */
bool region_report_to_json(const region_report *report, const region_setup *setup, json_t *image);
/* Adds the thresholds to the whole object. */
bool region_setup_to_json(const region_setup *setup, json_t *root);

#endif
