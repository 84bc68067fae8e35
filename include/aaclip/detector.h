/**
 * @file
 * From an image to its anomaly map and score.
 */
#ifndef AACLIP_DETECTOR_H
#define AACLIP_DETECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/adapters.h>
#include <aaclip/calibration.h>
#include <aaclip/config.h>
#include <aaclip/export.h>
#include <aaclip/image.h>
#include <aaclip/model.h>
#include <aaclip/regions.h>
#include <aaclip/status.h>
#include <aaclip/text_cache.h>

AACLIP_BEGIN_DECLS

/**
 * Owns the working memory of detection. One thread at a time may use a detector; any number of
 * detectors can share a model, adapters and a cache.
 */
typedef struct aaclip_detector aaclip_detector;

/** How to detect, and what results contain. */
typedef struct aaclip_detector_options {
    size_t size;          /**< set by _init */
    aaclip_domain domain; /**< smoothing of the map: AACLIP_DOMAIN_INDUSTRIAL */
    /** Side of the network's input in pixels, a multiple of the patch size. 0: 518 for a checkpoint
     * trained at 336, else the size it was trained at. */
    uint32_t image_size;
    const aaclip_config *config; /**< used without adapters; NULL: the text cache's */
    bool keep_features;          /**< results include patch and detection features */
    /**
     * Side of a square tile in pixels of the photograph; 0: the whole image at once. For defects
     * that become too small when the whole image is resized to the network's input. Tiles are
     * evenly spaced, the last flush with the border; where the image is shorter than a tile, the
     * tile is cut to it and is not square. Each tile is detected as an image of its own, so time
     * grows with the number of tiles. Not with keep_features.
     */
    uint32_t tile;
    float tile_overlap; /**< least share of a tile that neighbours overlap, 0 to 0.9; 0.25 */
    /** Copied. NULL: the adapters' own; if they have none, nothing is decided. Of several classes:
     * aaclip_detector_set_calibration. */
    const aaclip_calibration *calibration;
    uint32_t min_area; /**< of a region, in pixels of the photograph */
    bool find_regions; /**< results include regions; needs a calibration for its map_threshold */
    /**
     * Values of 16-bit views that become 0 to 255, as with aaclip_image_window, before anything
     * else is done with them; 0, 0: their upper 8 bits are used. 8-bit views, also those of
     * aaclip_image_open_window, are used as they are.
     */
    double window_low, /**< becomes 0 */
        window_high;   /**< becomes 255 */
} aaclip_detector_options;

/** All 0, false or NULL except tile_overlap. `struct_size` is the caller's sizeof; use the macro.
 */
AACLIP_API aaclip_status aaclip_detector_options_init_sized(aaclip_detector_options *options,
                                                            size_t struct_size);
/** aaclip_detector_options_init_sized of this version's struct. */
#define aaclip_detector_options_init(options)                                                      \
    aaclip_detector_options_init_sized((options), sizeof *(options))

/** Result of one image. The detector owns what it points to, until it detects again or closes. */
typedef struct aaclip_result {
    size_t size; /**< sizeof the struct, set by the caller */
    float score; /**< (detection feature . abnormal + 1) / 2; with tiles, their maximum */
    /**
     * Anomaly map, image_size x image_size, row-major, unnormalised: the sum over levels of
     * (100 * (patch . abnormal - patch . normal) + 1) / 2, smoothed and upsampled. Stretch it over
     * the image; larger is more anomalous.
     * With tiles, a side of the image that is longer than a tile has side / tile * image_size
     * values, rounded. Where tiles overlap, the map is their mean, with weights that fall linearly
     * towards each tile's border; elsewhere it is the map of the one tile.
     */
    const float *map;
    uint32_t map_width,   /**< values in a row of `map` */
        map_height;       /**< rows of `map` */
    uint32_t level_count; /**< levels that `map` sums */
    /** With keep_features: (level_count, patches, embedding), rows L2-normalised; else NULL. */
    const float *patch_features;
    uint32_t patch_rows,            /**< rows of the grid of patches */
        patch_columns;              /**< patches in a row */
    const float *detection_feature; /**< with keep_features: (embedding); else NULL */
    uint32_t embedding;             /**< floats of a feature */
    bool decided;                   /**< true if its class had a calibration */
    bool defective;                 /**< if decided: by aaclip_decide at the photograph's size */
    /**
     * With find_regions: the result of aaclip_regions_find for the map at the size of the
     * photograph (aaclip_map_resize, then aaclip_map_probability); NULL when there is none.
     */
    const aaclip_region *regions;
    size_t region_count; /**< of `regions` */
} aaclip_result;

/**
 * Makes a detector. Retains model, adapters (NULL: plain CLIP projections) and cache.
 * Errors: MISMATCH (adapters of another model handle; a cache of another model, or whose vectors
 * were built under another configuration; a calibration of another detector), INVALID_ARGUMENT
 * (also find_regions without a calibration), FORMAT (the adapters' calibration), UNSUPPORTED (also
 * keep_features with tiles), OUT_OF_MEMORY. On failure *detector is NULL.
 */
AACLIP_API aaclip_status aaclip_detector_new(aaclip_detector **detector, const aaclip_model *model,
                                             const aaclip_adapters *adapters,
                                             const aaclip_text_cache *cache,
                                             const aaclip_detector_options *options);

/** Frees the detector and sets *detector to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_detector_close(aaclip_detector **detector);

/**
 * Sets the region of interest, for a fixed camera: nonzero where to look, resized to each
 * photograph by nearest neighbour. It limits decisions and regions of later detections, as in
 * aaclip_decide and aaclip_regions_find; scores and maps do not change. It must contain a pixel,
 * also after resizing, or detection fails where it decides. Copied; NULL: everywhere.
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY. The previous one then stays.
 */
AACLIP_API aaclip_status aaclip_detector_set_roi(aaclip_detector *detector, const uint8_t *roi,
                                                 uint32_t width, uint32_t height);

/**
 * Sets the calibration of a class of the cache, for a line with several kinds of parts: later
 * detections of that class decide and find regions with it. `class_name` NULL: the one of all
 * classes without their own, which the options or the adapters gave first. Copied; NULL removes it:
 * images of a class that has none, and none for all, are not decided and have no regions.
 * Errors: NOT_FOUND (class), MISMATCH (a calibration of another detector or class),
 * INVALID_ARGUMENT (also when another thread is using the detector), OUT_OF_MEMORY. The previous
 * one then stays.
 */
AACLIP_API aaclip_status aaclip_detector_set_calibration(aaclip_detector *detector,
                                                         const char *class_name,
                                                         const aaclip_calibration *calibration);

/**
 * Detects anomalies in one image of an object of class `class_name` of the cache. Set result->size
 * first (aaclip_result result = {.size = sizeof result}). Memory beyond the detector's own: the
 * map, of at most 2^30 values (4 bytes each), and with a window 3 bytes per pixel of a 16-bit image
 * or its tile, which the detector keeps; where the map decides or regions are found, about 10 bytes
 * per pixel of the photograph during the call.
 * Without a window, a 16-bit image that uses 12 bits or fewer is nearly black: one warning per
 * detector in the log.
 * Errors: NOT_FOUND (class), MISMATCH (a calibration of another class), INVALID_ARGUMENT (image;
 * tiles so small that the map exceeds the limit; another thread is using the detector),
 * OUT_OF_MEMORY, BACKEND, FORMAT (the weights give a map or score that is not finite), UNSUPPORTED
 * (the same in precision f16, where it may be an overflow).
 */
AACLIP_API aaclip_status aaclip_detector_detect(aaclip_detector *detector,
                                                const aaclip_image_view *image,
                                                const char *class_name, aaclip_result *result);

/**
 * The same for `count` images, each with its class; `results` points to `count` structs, the first
 * with its size set. Maps and regions of all stay valid together. The results are bit-identical to
 * single calls, except with backend cuda without tiles: there eight images at a time run together,
 * which is faster, takes device memory that the detector then keeps, and may change the last bits.
 * A count of 0 does nothing. Errors as for aaclip_detector_detect.
 */
AACLIP_API aaclip_status aaclip_detector_detect_batch(aaclip_detector *detector,
                                                      const aaclip_image_view *images,
                                                      const char *const *class_names, size_t count,
                                                      aaclip_result *results);

/**
 * Records in a calibration what thresholds made with this detector for this class belong to: fills
 * image_size and the members after it. Set calibration->size first, or call _init.
 * Errors: NOT_FOUND (class), INVALID_ARGUMENT (also a name of AACLIP_CALIBRATION_CLASS_SIZE bytes
 * or more). *calibration is then unchanged.
 */
AACLIP_API aaclip_status aaclip_detector_describe_calibration(const aaclip_detector *detector,
                                                              const char *class_name,
                                                              aaclip_calibration *calibration);

/**
 * Checks that a calibration was made with a detector like this one for this class, as far as it
 * records that: the check that aaclip_detector_new, aaclip_detector_set_calibration and
 * aaclip_detector_detect make. Errors: MISMATCH (naming the member), INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_detector_check_calibration(const aaclip_detector *detector,
                                                           const char *class_name,
                                                           const aaclip_calibration *calibration);

/** Side of the network's input in pixels; 0 for NULL. */
AACLIP_API uint32_t aaclip_detector_image_size(const aaclip_detector *detector);

/**
 * Rescales a map for display: the probability of "abnormal" that training uses, the sigmoid of the
 * difference of similarities averaged over levels, in [0, 1]. A fixed scale: 0.5 is undecided in
 * every image. `map` and `out` have `count` values; `out` may be `map`. NaN stays NaN. If `map` or
 * `out` is NULL, nothing is written.
 */
AACLIP_API void aaclip_map_probability(const float *map, size_t count, uint32_t level_count,
                                       float *out);

/**
 * Writes a deployment bundle: image tower, adapters and all pairs of the cache in one safetensors
 * file, whole or not at all. It opens as a model, as adapters and as a cache, and needs neither
 * text tower nor vocabulary. `adapters` may be NULL; float16 as in aaclip_model_save.
 * Errors: MISMATCH (adapters or cache of another model; cache vectors built under another
 * configuration), INVALID_ARGUMENT (a cache without a class), IO, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_bundle_save(const aaclip_model *model,
                                            const aaclip_adapters *adapters,
                                            const aaclip_text_cache *cache, const char *path,
                                            bool float16);

AACLIP_END_DECLS

#endif
