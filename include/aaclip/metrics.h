/**
 * @file
 * How good maps and scores are: AUROC, AP, F1-max and AUPRO, over a class and over classes.
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
 * What is computed, for each class over all its images together. A threshold t calls everything
 * that scores t or more abnormal; every distinct score is a threshold, so that equal scores count
 * at once.
 *
 * - AUROC: area under the curve of true against false positive rate, by trapezoids.
 * - AP: sum over thresholds of precision times the step in recall, as scikit-learn's
 *   average_precision_score; nothing is interpolated.
 * - F1-max: the largest 2 TP / (2 TP + FP + FN) of all thresholds, and the highest threshold that
 *   has it.
 * - AUPRO: a region is an 8-connected component of one mask. At a threshold, PRO is the mean over
 *   all regions of the class of the part of the region that is called abnormal; FPR is the part of
 *   the normal pixels of the class, those of normal images included, that is called abnormal. AUPRO
 *   is the area under PRO against FPR by trapezoids, from FPR 0 to the limit (0.3 or 0.05), with
 *   PRO interpolated linearly at the limit, divided by the limit. Codes that sample some hundreds
 *   of thresholds, or rescale the part below the limit, give slightly other numbers.
 *
 * Where all pixels (or images) of a class have the same label, there is nothing to tell apart: its
 * metrics are NaN, never 0 or 1. So is AUPRO where there is no region or no normal pixel.
 *
 * The score of an image is taken as it was given, and once more as the published evaluation takes
 * it, the data-set score: maps and scores are each stretched to [0, 1] by the least and the largest
 * value that occur in the class, in float; then Industrial: 0.5 * max(map) + 0.5 * score, Medical:
 * max(map). As there, what has a largest value of exactly 1 is not stretched; what is constant
 * becomes 0. One image more may change the data-set score of all.
 */

/**
 * Holds what was added. One thread at a time may use it; to count with several threads, give each
 * one its own and merge them.
 */
typedef struct aaclip_metrics aaclip_metrics;

/** What becomes of pixels. Of an image, its score and the range of its map stay in either mode. */
typedef enum aaclip_metrics_mode {
    /** Every pixel is kept, in 4 bytes when normal and 8 when abnormal, and 8 a region. */
    AACLIP_METRICS_EXACT = 0,
    /**
     * Pixels are counted in bins of equal width: 24 bytes a bin and class, however many images.
     * The width is a power of two and grows with the range of the class's values: below
     * 2 * range / (bins - 1), unless floats themselves are farther apart. Values of one bin count
     * as equal. What this can change at most is computed along and returned beside each metric: for
     * AUROC, half the share of pairs of a normal and an abnormal pixel that fell into one bin.
     */
    AACLIP_METRICS_HISTOGRAM = 1
} aaclip_metrics_mode;

/** What is counted, as bits. Metrics that are not wanted are NaN. */
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
    uint32_t bins;            /**< of a histogram, 2 to 2^24; 65536 */
    /** Bytes that exact mode may keep of pixels, over all classes; 4 GiB. */
    uint64_t memory_limit;
} aaclip_metrics_options;

/** The values named with the members. `struct_size` is the caller's sizeof; use the macro. */
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
 * Counts one image. `map` and `mask` are width x height, row-major, and not kept; sizes may differ
 * between images.
 * - `map`: NULL (with width and height 0) when there is only a score; the class then has no
 *   data-set score.
 * - `mask`: not 0 where abnormal, whatever the label says. NULL: all pixels of a normal image are
 *   normal; of any other, nothing is known, and its pixels do not count in pixel metrics.
 * - `label`: 0 normal, 1 abnormal, -1 unknown: then it does not count in image metrics.
 * A class begins with its first image. On failure nothing was counted.
 * Errors: INVALID_ARGUMENT (a map value or score that is no finite number, naming class and
 * place); OUT_OF_MEMORY (also when exact mode would keep more than the memory limit).
 */
AACLIP_API aaclip_status aaclip_metrics_add(aaclip_metrics *metrics, const char *class_name,
                                            const float *map, const uint8_t *mask, uint32_t width,
                                            uint32_t height, float score, int label);

/**
 * Moves everything from *other, made with equal options, to `metrics`, closes it and sets *other
 * to NULL. Memory limits may differ and are not checked. On failure both stay as they were.
 * Errors: MISMATCH (options), INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_metrics_merge(aaclip_metrics *metrics, aaclip_metrics **other);

/** Number of classes; 0 for NULL. */
AACLIP_API size_t aaclip_metrics_class_count(const aaclip_metrics *metrics);
/** Name of a class, in the order of their first images; NULL past the end. */
AACLIP_API const char *aaclip_metrics_class_name(const aaclip_metrics *metrics, size_t index);

/** Stands for a class's index: the mean over all classes. */
#define AACLIP_METRICS_MEAN SIZE_MAX

/**
 * All metrics are in [0, 1], or NaN where not available. In the JSON of aaclip-evaluate `image_*`
 * are called raw_image_*, and `dataset_*`, which are those of the published evaluation, image_*.
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
    double pixel_auroc_error, /**< how far pixel_auroc may be from the exact one; 0 in exact mode */
        pixel_ap_error,       /**< the same of pixel_ap */
        pixel_f1_max_error;   /**< the same of pixel_f1_max */
    double aupro_30_error,    /**< the same of aupro_30 */
        aupro_05_error;       /**< the same of aupro_05 */
    uint64_t images,          /**< that were added */
        normal_images,        /**< with label 0 */
        abnormal_images;      /**< with label 1 */
    uint64_t normal_pixels,   /**< of images whose pixels are known */
        abnormal_pixels;      /**< of images whose pixels are known */
    uint64_t regions;         /**< of the masks */
} aaclip_metric_values;

/**
 * Metrics of a class, or their mean: classes without a value are passed over, and where none has
 * one the mean is NaN. The mean's counts are sums; it has no thresholds (NaN). Set values->size
 * first. More images may be added afterwards.
 * Errors: NOT_FOUND (no such class), INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_metrics_compute(aaclip_metrics *metrics, size_t class_index,
                                                aaclip_metric_values *values);

/** What a curve is drawn of; AUROC, AUPRO and AP are areas under them. */
typedef enum aaclip_curve {
    AACLIP_CURVE_PIXEL_ROC = 0,   /**< x: false positive rate, y: true positive rate */
    AACLIP_CURVE_PIXEL_PR = 1,    /**< x: recall, y: precision */
    AACLIP_CURVE_PIXEL_PRO = 2,   /**< x: false positive rate, y: mean overlap with regions */
    AACLIP_CURVE_IMAGE_ROC = 3,   /**< as of pixels, of scores as given */
    AACLIP_CURVE_IMAGE_PR = 4,    /**< as of pixels, of scores as given */
    AACLIP_CURVE_DATASET_ROC = 5, /**< as of pixels, of data-set scores */
    AACLIP_CURVE_DATASET_PR = 6   /**< as of pixels, of data-set scores */
} aaclip_curve;

/** One threshold's point, as aaclip_curve names its axes. */
typedef struct aaclip_curve_point {
    double x,         /**< in [0, 1] */
        y;            /**< in [0, 1] */
    double threshold; /**< infinity at the first point of ROC and PRO */
} aaclip_curve_point;

/**
 * Writes at most `capacity` (8 or more) points of a class's curve, x rising. Points are left out
 * where they lie close together.
 * - ROC and PRO, to be joined by lines, from (0, 0) to (1, 1): the area differs from the full
 *   curve's by less than 1 / (capacity - 3).
 * - PR, to be drawn as steps: between two points y is the mean precision weighted by recall, so
 *   that the sum of y times the step in x stays AP.
 * *count is 0 where the metric is not available. Errors as of aaclip_metrics_compute.
 */
AACLIP_API aaclip_status aaclip_metrics_curve(aaclip_metrics *metrics, size_t class_index,
                                              aaclip_curve curve, aaclip_curve_point *points,
                                              size_t capacity, size_t *count);

AACLIP_END_DECLS

#endif
