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
 * detectors share a model, adapters and a cache.
 */
typedef struct aaclip_detector aaclip_detector;

/** How it is detected and what results carry. */
typedef struct aaclip_detector_options {
    size_t size;          /**< set by _init */
    aaclip_domain domain; /**< smoothing of the map: AACLIP_DOMAIN_INDUSTRIAL */
    /** Side of the network's input in pixels, a multiple of the patch. 0: 518 for a checkpoint
     * trained at 336, else the size it was trained at. */
    uint32_t image_size;
    const aaclip_config *config; /**< used without adapters; NULL: that of the text cache */
    bool keep_features;          /**< results carry patch and detection features */
    /**
     * Side of a square tile in pixels of the photograph; 0: the whole picture at once. For defects
     * that are too small once the whole picture is squeezed into the network's input. Tiles are
     * evenly spaced, the last flush with the border; a picture shorter than a tile in one direction
     * is one tile wide there, which is not square then. Each is detected as a picture of its own,
     * so a picture costs as much time as it has tiles. Not with keep_features.
     */
    uint32_t tile;
    float tile_overlap; /**< share of a tile that neighbours share at least, 0 to 0.9; 0.25 */
    /** Copied. NULL: the one that the adapters carry; if they have none, nothing is decided. */
    const aaclip_calibration *calibration;
    uint32_t min_area; /**< of a region, in pixels of the photograph */
    bool find_regions; /**< results carry regions; needs a calibration for its map_threshold */
} aaclip_detector_options;

/** All 0, false or NULL but for tile_overlap. `struct_size` is the caller's sizeof; use the macro.
 */
AACLIP_API aaclip_status aaclip_detector_options_init_sized(aaclip_detector_options *options,
                                                            size_t struct_size);
/** aaclip_detector_options_init_sized of this version's struct. */
#define aaclip_detector_options_init(options)                                                      \
    aaclip_detector_options_init_sized((options), sizeof *(options))

/** What one image gives. Pointers belong to the detector and live until it detects again or closes.
 */
typedef struct aaclip_result {
    size_t size; /**< sizeof the struct, set by the caller */
    float score; /**< (detection feature . abnormal + 1) / 2; with tiles their largest */
    /**
     * Anomaly map, image_size x image_size, row-major, unnormalised: the sum over levels of
     * (100 * (patch . abnormal - patch . normal) + 1) / 2, smoothed and upsampled. Stretch it over
     * the image; larger is more anomalous.
     * With tiles, a side of the picture that is longer than a tile has side / tile * image_size
     * values, rounded. Where tiles overlap the map is a mean, with weights that fall linearly to
     * each tile's border; where there is one, it is that tile's.
     */
    const float *map;
    uint32_t map_width,   /**< values in a row of `map` */
        map_height;       /**< rows of `map` */
    uint32_t level_count; /**< that `map` is the sum of */
    /** With keep_features: (level_count, patches, embedding), rows L2-normalised; else NULL. */
    const float *patch_features;
    uint32_t patch_rows,            /**< rows of the grid of patches */
        patch_columns;              /**< patches in one of them */
    const float *detection_feature; /**< with keep_features: (embedding); else NULL */
    uint32_t embedding;             /**< floats of a feature */
    bool decided;                   /**< there was a calibration */
    bool defective; /**< if decided: what aaclip_decide says, with a region of interest of the map
                       at the size of the photograph */
    /**
     * With find_regions: what aaclip_regions_find gives for the map at the size of the photograph
     * (aaclip_map_resize, then aaclip_map_probability); NULL when there is none.
     */
    const aaclip_region *regions;
    size_t region_count; /**< of `regions` */
} aaclip_result;

/**
 * Plans detection. Retains model, adapters (NULL: plain CLIP projections) and cache.
 * Errors: MISMATCH (adapters of another model handle, a cache of another model; a cache that built
 * its vectors under another configuration), INVALID_ARGUMENT (find_regions without a calibration,
 * too), MISMATCH (a calibration of another detector), FORMAT (the calibration that the adapters
 * carry), UNSUPPORTED (keep_features with tiles,
 * too), OUT_OF_MEMORY. On failure *detector is NULL.
 */
AACLIP_API aaclip_status aaclip_detector_new(aaclip_detector **detector, const aaclip_model *model,
                                             const aaclip_adapters *adapters,
                                             const aaclip_text_cache *cache,
                                             const aaclip_detector_options *options);

/** Frees the detector and sets *detector to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_detector_close(aaclip_detector **detector);

/**
 * Where a fixed camera looks: nonzero where it counts, stretched to each photograph's size by
 * nearest neighbours. Decisions and regions of what is detected from now on keep to it, as
 * aaclip_decide and aaclip_regions_find do; scores and maps do not change. It must contain a pixel,
 * also once it is stretched, or detection fails where it decides. Copied; NULL: everywhere.
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY. Then the one before stays.
 */
AACLIP_API aaclip_status aaclip_detector_set_roi(aaclip_detector *detector, const uint8_t *roi,
                                                 uint32_t width, uint32_t height);

/**
 * Detects anomalies in one image as an object of class `class_name` of the cache. Set
 * result->size first (aaclip_result result = {.size = sizeof result}).
 * Memory beyond the detector's own: the map, of at most 2^30 values (4 bytes each), which the
 * detector keeps; with find_regions or a region of interest to decide by, about 10 bytes a pixel of
 * the photograph during the call.
 * Errors: NOT_FOUND (class), MISMATCH (a calibration of another class), INVALID_ARGUMENT (image;
 * tiles so small that the map exceeds the limit; another thread is using the detector),
 * OUT_OF_MEMORY, BACKEND, FORMAT (the weights lead to a map or score that is not of finite
 * numbers), UNSUPPORTED (the same in precision f16, which may be for want of range).
 */
AACLIP_API aaclip_status aaclip_detector_detect(aaclip_detector *detector,
                                                const aaclip_image_view *image,
                                                const char *class_name, aaclip_result *result);

/**
 * The same for `count` images, each with its class; `results` points to `count` structs of which
 * the first has its size set. Maps and regions stay valid together. The bits are the same as one by
 * one. With backend cuda, without tiles, eight at a time run together: faster, in device memory
 * that the detector then keeps, and the last bits may differ from one by one. A count of 0 does
 * nothing. Errors as of aaclip_detector_detect.
 */
AACLIP_API aaclip_status aaclip_detector_detect_batch(aaclip_detector *detector,
                                                      const aaclip_image_view *images,
                                                      const char *const *class_names, size_t count,
                                                      aaclip_result *results);

/**
 * Writes into a calibration what thresholds that are made with this detector for this class belong
 * to: its image_size and the members behind. Set calibration->size first, or use _init.
 * Errors: NOT_FOUND (class), INVALID_ARGUMENT (a name of AACLIP_CALIBRATION_CLASS_SIZE bytes or
 * more, too). Then it stays as it was.
 */
AACLIP_API aaclip_status aaclip_detector_describe_calibration(const aaclip_detector *detector,
                                                              const char *class_name,
                                                              aaclip_calibration *calibration);

/**
 * Whether a calibration is of a detector such as this one and of this class, as far as it says:
 * what aaclip_detector_new and aaclip_detector_detect find of the one that they are given. Errors:
 * MISMATCH (naming the member), INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_detector_check_calibration(const aaclip_detector *detector,
                                                           const char *class_name,
                                                           const aaclip_calibration *calibration);

/** Side of the network's input in pixels; 0 for NULL. */
AACLIP_API uint32_t aaclip_detector_image_size(const aaclip_detector *detector);

/**
 * Rescales a map for display: the probability of "abnormal" that training uses, sigmoid of the
 * difference of similarities averaged over levels, in [0, 1]. A fixed scale: 0.5 is undecided in
 * every picture. `map` and `out` have `count` values; `out` may be `map`.
 */
AACLIP_API void aaclip_map_probability(const float *map, size_t count, uint32_t level_count,
                                       float *out);

/**
 * Writes a deployment bundle: image tower, adapters and all pairs of the cache in one safetensors
 * file, whole or not at all. It opens as a model, as adapters and as a cache, and needs neither
 * text tower nor vocabulary. `adapters` may be NULL; float16 as in aaclip_model_save.
 * Errors: MISMATCH (adapters or cache of another model; vectors that the cache built under another
 * configuration), INVALID_ARGUMENT (a cache without a class), IO, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_bundle_save(const char *path, const aaclip_model *model,
                                            const aaclip_adapters *adapters,
                                            const aaclip_text_cache *cache, bool float16);

AACLIP_END_DECLS

#endif
