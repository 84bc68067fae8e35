/**
 * @file
 * What is computed: every choice of the method is a field; a profile only sets their values.
 */
#ifndef AACLIP_CONFIG_H
#define AACLIP_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/**
 * @file
 *
 * Sized structs. Every options struct begins with its size, set by its _init macro together with
 * the defaults. The library accepts an older, smaller struct (the rest takes defaults) and a newer,
 * larger one whose unknown tail is zero; otherwise the call fails with INVALID_ARGUMENT.
 */

/** Source of the method's choices; docs/profiles.md compares the two. */
typedef enum aaclip_profile {
    AACLIP_PROFILE_DOCUMENT = 0, /**< the architecture reference; the default for new training */
    AACLIP_PROFILE_PUBLISHED = 1 /**< the CVPR 2025 release (arXiv 2503.06661) */
} aaclip_profile;

/** What is added to a transformer block of width d. */
typedef enum aaclip_layer_adapter {
    AACLIP_LAYER_ADAPTER_BOTTLENECK = 0, /**< fc1: d -> d/2, LeakyReLU, fc2: d/2 -> d */
    AACLIP_LAYER_ADAPTER_LINEAR = 1      /**< one d -> d, then LeakyReLU */
} aaclip_layer_adapter;

/** Activation inside CLIP's MLPs. */
typedef enum aaclip_activation {
    AACLIP_ACTIVATION_CHECKPOINT = 0, /**< what the checkpoint was trained with */
    AACLIP_ACTIVATION_QUICK_GELU = 1, /**< x * sigmoid(1.702 x) */
    AACLIP_ACTIVATION_GELU = 2        /**< exact, with erf */
} aaclip_activation;

/** Chooses the smoothing of the map: Industrial 7x7, sigma 1; Medical 9x9, sigma 1.5. */
typedef enum aaclip_domain {
    AACLIP_DOMAIN_INDUSTRIAL = 0, /**< photographs of products */
    AACLIP_DOMAIN_MEDICAL = 1     /**< scans and endoscopy */
} aaclip_domain;

/** Maximum number of levels in a configuration. */
#define AACLIP_MAX_LEVELS 8

/** The method, choice by choice; the values of both profiles are in docs/profiles.md. */
typedef struct aaclip_config {
    size_t size;            /**< set by _init */
    aaclip_profile profile; /**< where the values came from; also selects the built-in prompts */

    aaclip_activation activation; /**< of both towers */
    float image_mean[3],          /**< subtracted from RGB in [0, 1] */
        image_deviation[3];       /**< by which the difference is divided */

    aaclip_layer_adapter layer_adapter; /**< of both towers */
    float layer_adapter_slope;          /**< of the LeakyReLU in layer adapters */
    bool image_projection_activation,   /**< LeakyReLU after the image projections */
        text_projection_activation;     /**< LeakyReLU after the text projection */
    float projection_slope;             /**< of the LeakyReLU after projections */
    float image_adapter_weight,         /**< w in w * adapted + (1 - w) * x */
        text_adapter_weight;            /**< the same for the text tower */

    /** Blocks 0 .. n-1 of the image tower have an adapter. 0: a quarter of the blocks, rounded down
     * (ViT-L/14: 6). */
    uint32_t image_adapter_layers,
        text_adapter_layers; /**< the same for the text tower (ViT-L/14: 3) */
    /** Number of `levels`; 0: four, at the quarters of the tower, rounded down (ViT-L/14: 6 12 18
     * 24); fewer if the tower has fewer blocks. */
    uint32_t level_count;
    uint32_t levels[AACLIP_MAX_LEVELS]; /**< blocks, from 1, whose patch tokens are used */

    /** Mean of the prompt vectors is L2-normalised again to give the class vector. */
    bool normalize_class_vector;
} aaclip_config;

/**
 * Fills *config for a profile. `struct_size` is the caller's sizeof; use the macro.
 * Errors: INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_config_init_sized(aaclip_config *config, size_t struct_size,
                                                  aaclip_profile profile);
/** aaclip_config_init_sized of this version's struct. */
#define aaclip_config_init(config, profile)                                                        \
    aaclip_config_init_sized((config), sizeof *(config), (profile))

/** "document" or "published"; "unknown" for another number. Static text. */
AACLIP_API const char *aaclip_profile_name(aaclip_profile profile);
/** "industrial" or "medical"; "unknown" for another number. Static text. */
AACLIP_API const char *aaclip_domain_name(aaclip_domain domain);

/**
 * @file
 *
 * The phrase tables of the published release: prompts name a class of a data set ("metal_nut" of
 * "MVTec") by a phrase ("metal nut which has four notched edges"). Static; any thread.
 */

/** Number of known data sets. */
AACLIP_API size_t aaclip_known_dataset_count(void);
/** Name of a known data set; NULL past the end. */
AACLIP_API const char *aaclip_known_dataset_name(size_t index);
/** Number of a data set's classes; 0 when there is no such data set. */
AACLIP_API size_t aaclip_known_dataset_class_count(const char *dataset);
/** Name of a data set's class; NULL when there is no such data set or class. */
AACLIP_API const char *aaclip_known_dataset_class_name(const char *dataset, size_t index);
/** Domain of a data set. NOT_FOUND lists the known ones. Case is ignored. */
AACLIP_API aaclip_status aaclip_known_dataset_domain(const char *dataset, aaclip_domain *domain);
/**
 * Writes the phrase of a class to `phrase` (at most `capacity` bytes with the terminator). A class
 * that the data set does not have, or a NULL data set, gives the class name with spaces for
 * underscores. Errors: NOT_FOUND (unknown data set), INVALID_ARGUMENT (does not fit).
 */
AACLIP_API aaclip_status aaclip_class_phrase(const char *dataset, const char *class_name,
                                             char *phrase, size_t capacity);

AACLIP_END_DECLS

#endif
