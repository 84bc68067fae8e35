/* Internals of metrics; for the files metrics*.c of this folder only. */
#ifndef AAC_EVALUATE_METRICS_TYPES_H
#define AAC_EVALUATE_METRICS_TYPES_H

#include <stdbool.h>

#include <aaclip/metrics.h>

#include "core/names.h"

/*
 * Everything is computed from one walk over the distinct scores of a class, the largest first. A
 * tie is everything with the same score: pixels, or images.
 */
typedef struct aac_tie {
    double score;
    uint64_t normal, abnormal;
    double overlap; /* sum over the abnormal pixels of 1 / area of their region */
} aac_tie;

typedef void (*aac_tie_visitor)(void *user, const aac_tie *tie);

typedef struct aac_totals {
    uint64_t normal, abnormal, regions;
} aac_totals;

/* metrics_sums.c: areas under curves. */

/* A sum of very many small terms: rounding errors are kept and added at the end. */
typedef struct aac_long_sum {
    double sum, lost;
} aac_long_sum;

enum { AAC_AUPRO_30, AAC_AUPRO_05, AAC_AUPRO_LIMITS };

typedef struct aac_sums {
    aac_totals totals;
    uint64_t normal, abnormal; /* scores above the next tie */
    aac_long_sum overlap;
    aac_long_sum roc_area, precision, pro_area[AAC_AUPRO_LIMITS];
    double f1_max, f1_threshold;
} aac_sums;

/* The same walk where a tie is a bin, in which the order of pixels is unknown. */
typedef struct aac_bounds {
    aac_totals totals;
    uint64_t normal, abnormal;
    aac_long_sum roc_area, precision_least, precision_most, pro_area[AAC_AUPRO_LIMITS];
    double f1_most;
} aac_bounds;

void aac_sums_visit(void *sums, const aac_tie *tie);
void aac_bounds_visit(void *bounds, const aac_tie *tie);
/* Metrics of pixels; NaN where not available. `bounds` may be NULL: no error. */
void aac_sums_write_pixels(aaclip_metric_values *values, const aac_sums *sums,
                           const aac_bounds *bounds);
/* Metrics of image scores into three values and a threshold. */
void aac_sums_write_images(const aac_sums *sums, double *auroc, double *ap, double *f1_max,
                           double *f1_threshold);

/* metrics_exact.c: pixels kept and merged. */

/* The pixels of one image in descending order of scores; one block, freed with aac_free. */
typedef struct aac_pixels {
    void *block;
    const uint32_t *normal_keys;
    const uint32_t *abnormal_keys, *abnormal_regions;
    const double *overlaps; /* 1 / area of each region; the keys' region numbers count from 0 */
    size_t normal, abnormal;
} aac_pixels;

/* Working memory for one image, reused for the next. */
typedef struct aac_pixel_room {
    uint32_t *labels;   /* (pixels): 0 or the pixel's region, counted from 1 */
    uint64_t *order[2]; /* (pixels): keys with regions, before and after a pass of sorting */
    size_t pixels;
} aac_pixel_room;

uint64_t aac_pixels_size(size_t normal, size_t abnormal, size_t regions);
/* Keeps the pixels of a map whose labels are in `room`; `overlaps` (regions) is copied. */
aaclip_status aac_pixels_keep(aac_pixels *pixels, aac_pixel_room *room, const float *map,
                              size_t count, size_t abnormal, const double *overlaps,
                              size_t regions);

/* metrics_histogram.c */

typedef struct aac_bin {
    uint64_t normal, abnormal;
    double overlap;
} aac_bin;

/* Bin i holds values from (first + i) * 2^exponent up to the next one's. */
typedef struct aac_histogram {
    aac_bin *bins; /* all zero from `used` on; NULL before the first pixel */
    uint32_t count, used;
    int exponent;
    int64_t first;
} aac_histogram;

/* All values of the map must lie between `least` and `largest`. */
aaclip_status aac_histogram_add(aac_histogram *histogram, uint32_t bins, const float *map,
                                const uint32_t *labels, const double *overlaps, size_t count,
                                float least, float largest);
/* Leaves `other` empty. */
void aac_histogram_merge(aac_histogram *histogram, aac_histogram *other);
void aac_histogram_walk(const aac_histogram *histogram, aac_tie_visitor visit, void *user);

/* metrics_curve.c: the points of a curve, as many as fit. */

typedef struct aac_curve_writer {
    aac_totals totals;
    aaclip_curve curve;
    aaclip_curve_point *points;
    size_t capacity, count;
    double step;
    uint64_t normal, abnormal;
    double overlap;
    aaclip_curve_point pending; /* the last one seen, when it is not written */
    bool is_pending;
    double area; /* PR: under the steps that end at the pending point */
} aac_curve_writer;

void aac_curve_begin(aac_curve_writer *writer, aaclip_curve curve, const aac_totals *totals,
                     aaclip_curve_point *points, size_t capacity);
void aac_curve_visit(void *writer, const aac_tie *tie);
void aac_curve_end(aac_curve_writer *writer);

/* metrics.c */

typedef struct aac_scored_image {
    float score;
    float least, largest; /* values of the map */
    bool has_map;
    int label;
} aac_scored_image;

typedef struct aac_metrics_class {
    char *name;
    aac_scored_image *images;
    size_t count, capacity;
    aac_pixels *pixels; /* exact mode: of images with pixel labels */
    size_t pixels_count, pixels_capacity;
    aac_histogram histogram;
    aac_totals totals; /* of pixels */
    bool computed;     /* `values` covers everything added so far */
    aaclip_metric_values values;
} aac_metrics_class;

struct aaclip_metrics {
    aaclip_metrics_options options;
    aac_metrics_class *classes;
    size_t class_count, class_capacity;
    aac_names class_names; /* indices of classes */
    uint64_t pixel_bytes;  /* held in exact mode */
    aac_pixel_room room;
};

/* Every distinct score of all images' pixels. OUT_OF_MEMORY. */
aaclip_status aac_pixels_walk(const aac_pixels *pixels, size_t count, aac_tie_visitor visit,
                              void *user);

typedef enum aac_image_score { AAC_SCORE_GIVEN, AAC_SCORE_DATASET } aac_image_score;

/* metrics_images.c: the same walk over the labelled images of a class. */
aac_totals aac_images_count(const aac_metrics_class *category, aac_image_score kind);
aaclip_status aac_images_walk(const aac_metrics_class *category, aac_image_score kind,
                              aaclip_domain domain, aac_tie_visitor visit, void *user);

#endif
