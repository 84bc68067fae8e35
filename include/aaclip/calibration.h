/**
 * @file
 * Thresholds from calibration images, kept in a file or with the adapters, and the decision.
 */
#ifndef AACLIP_CALIBRATION_H
#define AACLIP_CALIBRATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/adapters.h>
#include <aaclip/config.h>
#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/**
 * @file
 *
 * From good parts to a decision:
 *
 *     for (each good part) {
 *         aaclip_detector_detect(detector, &view, "nut", &result);
 *         scores[i] = result.score;
 *         aaclip_map_resize(result.map, result.map_width, result.map_height, view.width,
 *                           view.height, map);
 *         aaclip_map_probability(map, pixels, result.level_count, map);
 *         aaclip_map_peak(map, roi, view.width, view.height, &peaks[i]);
 *     }
 *     aaclip_calibration_init(&calibration);
 *     aaclip_detector_describe_calibration(detector, "nut", &calibration);
 *     calibration.decide_by = AACLIP_DECIDE_BY_EITHER;
 *     calibration.false_alarm_rate = 0.01;
 *     calibration.images = count;
 *     aaclip_calibrate_quantile(scores, count, 0.01 / 2, &calibration.image_threshold);
 *     aaclip_calibrate_quantile(peaks, count, 0.01 / 2, &calibration.map_threshold);
 *     aaclip_adapters_save_calibrated(adapters, &calibration, "nut.safetensors");
 *
 * The score sees the whole image, the map small defects; neither is better for every class. Where
 * either decides, each may cause half of the false alarms.
 *
 * Thresholds belong to what they were made with: model, adapters, class and its words (phrase
 * and prompts), domain, image size, tiles and window. A calibration that records these is refused
 * by other detectors and for other classes. map_threshold also belongs to the region of interest
 * (`roi`, NULL: everywhere) and to the map's size, because a peak changes slightly when a map is
 * resized: detectors decide and find regions at the size of the photograph, as above.
 */

/** How thresholds were chosen. */
typedef enum aaclip_calibration_method {
    AACLIP_CALIBRATION_QUANTILE = 0, /**< aaclip_calibrate_quantile */
    AACLIP_CALIBRATION_F1_MAX = 1    /**< aaclip_calibrate_f1 */
} aaclip_calibration_method;

/** What makes an image defective; with a region of interest, always the map. */
typedef enum aaclip_decide_by {
    AACLIP_DECIDE_BY_SCORE = 0, /**< the score reaches image_threshold; the map is not read */
    AACLIP_DECIDE_BY_MAP = 1,   /**< the largest value of the map reaches map_threshold */
    AACLIP_DECIDE_BY_EITHER = 2 /**< one of the two */
} aaclip_decide_by;

/** Bytes of aaclip_calibration.class_name, including the terminator. */
#define AACLIP_CALIBRATION_CLASS_SIZE 128

/** Thresholds, how they were chosen, and what they belong to. */
typedef struct aaclip_calibration {
    size_t size;           /**< set by _init */
    float image_threshold; /**< of aaclip_result.score; 0.5 */
    float map_threshold;   /**< of the map as aaclip_map_probability gives it; 0.5 */
    /** The target, 0 or more and below 1; 0 with AACLIP_CALIBRATION_F1_MAX. */
    double false_alarm_rate;
    aaclip_calibration_method method; /**< AACLIP_CALIBRATION_QUANTILE */
    uint64_t images;                  /**< that were used, at most 2^53; 0 */
    aaclip_decide_by decide_by;       /**< AACLIP_DECIDE_BY_SCORE */
    /** The detector's. 0: it and the members up to adapters_fingerprint are unknown and not
     * compared. */
    uint32_t image_size;
    uint32_t tile;                 /**< as of aaclip_detector_options; 0: none */
    float tile_overlap;            /**< with tiles */
    aaclip_domain domain;          /**< as of aaclip_detector_options */
    uint64_t model_fingerprint;    /**< of the image tower */
    uint64_t adapters_fingerprint; /**< of the image adapters; 0: none */
    /** UTF-8; "": any class. */
    char class_name[AACLIP_CALIBRATION_CLASS_SIZE];
    /** With class_name: of the phrase, prompts and text adapters of its vectors; 0: not known. */
    uint64_t class_fingerprint;
    /** The window of aaclip_detector_options; both 0: none. Not compared if image_size is 0. */
    double window_low, /**< becomes 0 */
        window_high;   /**< becomes 255 */
} aaclip_calibration;

/** Thresholds of 0.5 from no images. `struct_size` is the caller's sizeof; use the macro. */
AACLIP_API aaclip_status aaclip_calibration_init_sized(aaclip_calibration *calibration,
                                                       size_t struct_size);
/** aaclip_calibration_init_sized of this version's struct. */
#define aaclip_calibration_init(calibration)                                                       \
    aaclip_calibration_init_sized((calibration), sizeof *(calibration))

/**
 * The smallest float threshold that at most the share `false_alarm_rate` (0 or more, below 1) of
 * `good_scores` reaches. With k the largest number of images for which k / count, in double, is at
 * most the rate, this is the next float above the (k + 1)-th largest score: k images alarm, or
 * fewer when the (k + 1)-th is tied with some before it, since equal scores alarm together. Fewer
 * images than 1 / rate give k = 0: none of them alarms, but they are too few to guarantee the rate;
 * 1 / (count + 1) of other good parts are expected above the largest of `count` scores.
 * Errors: INVALID_ARGUMENT (no scores, scores that are not finite or FLT_MAX, the rate),
 * OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_calibrate_quantile(const float *good_scores, size_t count,
                                                   double false_alarm_rate, float *threshold);

/**
 * The threshold with the largest F1 = 2 TP / (2 TP + FP + FN), calling abnormal what reaches it:
 * the midpoint between the score at which aaclip_metrics finds that F1 (the highest of several) and
 * the next lower one, which leaves a margin for both kinds of image. `labels`: 0 normal, 1
 * abnormal; both must occur. `f1` may be NULL.
 * Errors: INVALID_ARGUMENT (labels, scores that are not finite or beyond 1e38), OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_calibrate_f1(const float *scores, const int *labels, size_t count,
                                             float *threshold, double *f1);

/**
 * Decides whether an image is defective.
 * - Without a region of interest (`roi` NULL), as calibration->decide_by says: score >=
 *   image_threshold, the largest value of `map` >= map_threshold, or either. Where the score alone
 *   decides, the map is not read and may be NULL.
 * - With one: the largest value of `map` inside it >= map_threshold. The score, which sees the
 *   whole image, is not read.
 *
 * `map` is on the scale of aaclip_map_probability, at any size (width x height, as `roi`); with the
 * same threshold, aaclip_regions_find finds a region exactly when the map decides "defective".
 * Errors: INVALID_ARGUMENT (calibration, a score that is NaN where it is read; the map where it is
 * read, as aaclip_map_peak).
 */
AACLIP_API aaclip_status aaclip_decide(const aaclip_calibration *calibration, float score,
                                       const float *map, const uint8_t *roi, uint32_t width,
                                       uint32_t height, bool *defective);

/** Writes a small JSON file, whole or not at all. Errors: INVALID_ARGUMENT, IO, OUT_OF_MEMORY. */
AACLIP_API aaclip_status aaclip_calibration_save(const aaclip_calibration *calibration,
                                                 const char *path);

/**
 * Reads such a file; set calibration->size first, or call _init.
 * Errors: NOT_FOUND, IO, FORMAT (naming the field), INVALID_ARGUMENT. *calibration is then
 * unchanged.
 */
AACLIP_API aaclip_status aaclip_calibration_load(aaclip_calibration *calibration, const char *path);

/**
 * aaclip_adapters_save with this calibration in the file, replacing any that they had.
 * Errors: IO, INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_adapters_save_calibrated(const aaclip_adapters *adapters,
                                                         const aaclip_calibration *calibration,
                                                         const char *path);

/**
 * The calibration in the first of the adapters' files that has one. aaclip_adapters_save and
 * aaclip_bundle_save keep it. Set calibration->size first, or call _init.
 * Errors: NOT_FOUND (there is none), FORMAT, INVALID_ARGUMENT. *calibration is then unchanged.
 */
AACLIP_API aaclip_status aaclip_adapters_get_calibration(const aaclip_adapters *adapters,
                                                         aaclip_calibration *calibration);

AACLIP_END_DECLS

#endif
