/**
 * @file
 * Quality of maps and scores: AUROC, AP, F1-max and AUPRO, per class and over classes.
 */
#ifndef AACLIP_METRICS_H
#define AACLIP_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/config.h>
#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/**
 * @file
 *
 * Images are added one by one and need not be kept:
 *
 *     aaclip_metrics_new(&metrics, NULL);
 *     for (each image)
 *         aaclip_metrics_add(metrics, "nut", map, mask, width, height, score, label);
 *     aaclip_metric_values values = {.size = sizeof values};
 *     aaclip_metrics_compute(metrics, AACLIP_METRICS_MEAN, &values);
 *
 * Metrics are computed for each class over all its images together. A threshold t calls everything
 * that scores t or more abnormal; every distinct score is a threshold, so equal scores count
 * together.
 *
 * - AUROC: area under the curve of true against false positive rate, by the trapezoidal rule.
 * - AP: sum over thresholds of precision times the step in recall, as scikit-learn's
 *   average_precision_score, without interpolation.
 * - F1-max: the largest 2 TP / (2 TP + FP + FN) over all thresholds, and the highest threshold that
 *   reaches it.
 * - AUPRO: a region is an 8-connected component of one mask. At a threshold, PRO is the mean over
 *   all regions of the class of the fraction of the region that is called abnormal; FPR is the
 *   fraction of the class's normal pixels, those of normal images included, that is called
 *   abnormal. AUPRO is the area under PRO against FPR by the trapezoidal rule, from FPR 0 to the
 *   limit (0.3 or 0.05), with PRO interpolated linearly at the limit, divided by the limit.
 *   Implementations that sample a few hundred thresholds, or rescale the part below the limit, give
 *   slightly different numbers.
 *
 * Where all pixels (or images) of a class have the same label, its metrics are NaN, never 0 or 1.
 * So is AUPRO where there is no region or no normal pixel.
 *
 * Image metrics are computed twice: from the score as given, and from the data-set score of the
 * published evaluation: maps and scores are each rescaled to [0, 1] by the smallest and the largest
 * value in the class, in float; then Industrial: 0.5 * max(map) + 0.5 * score, Medical: max(map).
 * As there, values whose maximum is exactly 1 are not rescaled; constant ones become 0. Adding an
 * image may change the data-set score of all.
 */

/**
 * Accumulates images. One thread at a time may use it; with several threads, give each its own and
 * merge them.
 */
typedef struct aaclip_metrics aaclip_metrics;

/** How pixels are kept. The score of an image and the range of its map are kept in either mode. */
typedef enum aaclip_metrics_mode {
    /** Every pixel is kept, in 4 bytes if normal and 8 if abnormal, and 8 bytes per region. */
    AACLIP_METRICS_EXACT = 0,
    /**
     * Pixels are counted in bins of equal width: 24 bytes per bin and class, however many images.
     * The width is a power of two and grows with the range of the class's values: below 2 * range /
     * (bins - 1), unless floats themselves are farther apart. Values in one bin count as equal. An
     * upper bound of the resulting error is returned with each metric: for AUROC, half the share of
     * pairs of a normal and an abnormal pixel that fell into one bin.
     */
    AACLIP_METRICS_HISTOGRAM = 1
} aaclip_metrics_mode;

/** Which metrics are computed, as bits. The others are NaN. */
typedef enum aaclip_metrics_wanted {
    AACLIP_METRICS_PIXELS = 1, /**< AUROC, AP, F1-max and AUPRO of maps */
    AACLIP_METRICS_IMAGES = 2, /**< AUROC, AP and F1-max of both scores */
    AACLIP_METRICS_ALL = 3     /**< both */
} aaclip_metrics_wanted;

/** What is computed, and in how much memory. */
typedef struct aaclip_metrics_options {
    size_t size;              /**< set by _init */
    aaclip_metrics_mode mode; /**< AACLIP_METRICS_EXACT */
    aaclip_domain domain;     /**< of the data-set score */
    uint32_t wanted;          /**< bits of aaclip_metrics_wanted; all */
    uint32_t bins;            /**< of the histogram, 2 to 2^24; 65536 */
    /** Bytes of pixels that exact mode may keep, over all classes; 4 GiB. */
    uint64_t memory_limit;
} aaclip_metrics_options;

/** Sets the defaults named with the members. `struct_size` is the caller's sizeof; use the
 * macro. */
AACLIP_API aaclip_status aaclip_metrics_options_init_sized(aaclip_metrics_options *options,
                                                           size_t struct_size);
/** aaclip_metrics_options_init_sized of this version's struct. */
#define aaclip_metrics_options_init(options)                                                       \
    aaclip_metrics_options_init_sized((options), sizeof *(options))

/** `options` may be NULL. On failure *metrics is NULL. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY. */
AACLIP_API aaclip_status aaclip_metrics_new(aaclip_metrics **metrics,
                                            const aaclip_metrics_options *options);

/** Frees everything and sets *metrics to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_metrics_close(aaclip_metrics **metrics);

/**
 * Adds one image. `map` and `mask` are width x height, row-major, and not kept; sizes may differ
 * between images.
 * - `map`: NULL (with width and height 0) when there is only a score; the class then has no
 *   data-set score.
 * - `mask`: nonzero where abnormal, whatever the label. NULL: all pixels of a normal image are
 *   normal; those of any other image are unknown and do not count in pixel metrics.
 * - `label`: 0 normal, 1 abnormal, -1 unknown: not counted in image metrics.
 * A class begins with its first image. On failure nothing is added.
 * Errors: INVALID_ARGUMENT (a map value or score that is not finite, naming class and position);
 * OUT_OF_MEMORY (also when exact mode would keep more than the memory limit).
 */
AACLIP_API aaclip_status aaclip_metrics_add(aaclip_metrics *metrics, const char *class_name,
                                            const float *map, const uint8_t *mask, uint32_t width,
                                            uint32_t height, float score, int label);

/**
 * Moves everything from *other, made with equal options, to `metrics`, closes it and sets *other to
 * NULL. Memory limits may differ and are not checked. On failure both are unchanged.
 * Errors: MISMATCH (options), INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_metrics_merge(aaclip_metrics *metrics, aaclip_metrics **other);

/** Number of classes; 0 for NULL. */
AACLIP_API size_t aaclip_metrics_class_count(const aaclip_metrics *metrics);
/** Name of a class, in order of first images; NULL past the end. */
AACLIP_API const char *aaclip_metrics_class_name(const aaclip_metrics *metrics, size_t index);

/** Stands for a class's index: the mean over all classes. */
#define AACLIP_METRICS_MEAN SIZE_MAX

/**
 * All metrics are in [0, 1], or NaN where not available. The JSON of aaclip-evaluate calls
 * `image_*` raw_image_*, and `dataset_*`, those of the published evaluation, image_*.
 */
typedef struct aaclip_metric_values {
    size_t size;                 /**< sizeof the struct, set by the caller */
    double pixel_auroc,          /**< AUROC of pixels */
        pixel_ap,                /**< AP of pixels */
        pixel_f1_max;            /**< F1-max of pixels */
    double pixel_f1_threshold;   /**< of the map, where pixel_f1_max is reached */
    double aupro_30,             /**< AUPRO up to a false positive rate of 0.3 */
        aupro_05;                /**< AUPRO up to a false positive rate of 0.05 */
    double image_auroc,          /**< AUROC of scores as given */
        image_ap,                /**< AP of scores as given */
        image_f1_max;            /**< F1-max of scores as given */
    double image_f1_threshold;   /**< of the score, where image_f1_max is reached */
    double dataset_auroc,        /**< AUROC of data-set scores */
        dataset_ap,              /**< AP of data-set scores */
        dataset_f1_max;          /**< F1-max of data-set scores */
    double dataset_f1_threshold; /**< of the data-set score, where dataset_f1_max is reached */
    double pixel_auroc_error,    /**< how far pixel_auroc may be from exact; 0 in exact mode */
        pixel_ap_error,          /**< the same for pixel_ap */
        pixel_f1_max_error;      /**< the same for pixel_f1_max */
    double aupro_30_error,       /**< the same for aupro_30 */
        aupro_05_error;          /**< the same for aupro_05 */
    uint64_t images,             /**< added */
        normal_images,           /**< with label 0 */
        abnormal_images;         /**< with label 1 */
    uint64_t normal_pixels,      /**< of images whose pixels are known */
        abnormal_pixels;         /**< of images whose pixels are known */
    uint64_t regions;            /**< of the masks */
} aaclip_metric_values;

/**
 * Metrics of a class, or their mean: classes without a value are skipped, and where none has one
 * the mean is NaN. The mean's counts are sums; its thresholds are NaN. Set values->size first. More
 * images may be added afterwards.
 * Errors: NOT_FOUND (no such class), INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_metrics_compute(aaclip_metrics *metrics, size_t class_index,
                                                aaclip_metric_values *values);

/** The axes of a curve; AUROC, AUPRO and AP are areas under curves. */
typedef enum aaclip_curve {
    AACLIP_CURVE_PIXEL_ROC = 0,   /**< x: false positive rate, y: true positive rate */
    AACLIP_CURVE_PIXEL_PR = 1,    /**< x: recall, y: precision */
    AACLIP_CURVE_PIXEL_PRO = 2,   /**< x: false positive rate, y: mean overlap with regions */
    AACLIP_CURVE_IMAGE_ROC = 3,   /**< as of pixels, of scores as given */
    AACLIP_CURVE_IMAGE_PR = 4,    /**< as of pixels, of scores as given */
    AACLIP_CURVE_DATASET_ROC = 5, /**< as of pixels, of data-set scores */
    AACLIP_CURVE_DATASET_PR = 6   /**< as of pixels, of data-set scores */
} aaclip_curve;

/** The point of one threshold; aaclip_curve names the axes. */
typedef struct aaclip_curve_point {
    double x,         /**< in [0, 1] */
        y;            /**< in [0, 1] */
    double threshold; /**< infinity at the first point of ROC and PRO */
} aaclip_curve_point;

/**
 * Writes at most `capacity` (8 or more) points of a class's curve, x ascending. Points that lie
 * close together are thinned out.
 * - ROC and PRO, to be joined by lines, from (0, 0) to (1, 1): the area differs from the full
 *   curve's by less than 1 / (capacity - 3).
 * - PR, to be drawn as steps: between two points y is the mean precision weighted by recall, so
 *   that the sum of y times the step in x stays AP.
 * *count is 0 where the metric is not available. Errors as for aaclip_metrics_compute.
 */
AACLIP_API aaclip_status aaclip_metrics_curve(aaclip_metrics *metrics, size_t class_index,
                                              aaclip_curve curve, aaclip_curve_point *points,
                                              size_t capacity, size_t *count);

AACLIP_END_DECLS

#endif
