/**
 * @file
 * The frozen CLIP: weights, shapes, and the backend that computes with them.
 */
#ifndef AACLIP_MODEL_H
#define AACLIP_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/backend.h>
#include <aaclip/config.h>
#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/** Immutable after open; reference-counted internally, so handles may be closed in any order. */
typedef struct aaclip_model aaclip_model;

/** Backend, precision and threads. */
typedef struct aaclip_model_options {
    size_t size;                /**< set by _init */
    const char *backend;        /**< NULL or "auto": the best available; "cuda:1": its device 1 */
    aaclip_precision precision; /**< default AACLIP_PRECISION_F32 */
    /** Per call; 0: the processors that the calling thread may use (its affinity mask). At most
     * OpenMP's own limit, and at most what the system can start when the model is opened
     * (docs/reliability.md). Work too small to share is done by one thread. Matrix products of
     * backend "blas" use OpenBLAS's own number, one for the whole process: OPENBLAS_NUM_THREADS. */
    unsigned threads;
    /**
     * A folder that caches weights in the backend's packed layout; NULL: none. If they match
     * checkpoint, library, processor and precision, they are mapped from there, without delay and
     * shared by all processes; otherwise they are packed as without a folder and the file is
     * written anew, whole or not at all. Takes up to the size of the weights in that precision for
     * each combination of checkpoint and adapters, backend and precision. A folder that cannot be
     * written to is logged. Results are the same, bit for bit. Anyone who can write to the folder
     * can change them. Copied.
     */
    const char *packed_folder;
} aaclip_model_options;

/** All 0 or NULL. `struct_size` is the caller's sizeof; use the macro. */
AACLIP_API aaclip_status aaclip_model_options_init_sized(aaclip_model_options *options,
                                                         size_t struct_size);
/** aaclip_model_options_init_sized of this version's struct. */
#define aaclip_model_options_init(options)                                                         \
    aaclip_model_options_init_sized((options), sizeof *(options))

/**
 * Opens a CLIP checkpoint: OpenAI TorchScript or state dict, Hugging Face (.bin, .safetensors or
 * folder), open_clip (file or folder), the library's own safetensors or bundle. The type is
 * detected from the content. Weights are mapped; each tower is prepared on first use. While a file
 * is open, replace it by a rename (mv), never by writing over it (cp): otherwise the system ends
 * the process, or later calls fail with IO, "changed since it was opened". `options` may be NULL.
 * Errors: NOT_FOUND (file or packed_folder), IO, FORMAT, UNSUPPORTED (ResNet CLIP, a precision that
 * the backend lacks, beyond aaclip_limits), OUT_OF_MEMORY. On failure *model is NULL. Close with
 * aaclip_model_close.
 */
AACLIP_API aaclip_status aaclip_model_open(aaclip_model **model, const char *path,
                                           const aaclip_model_options *options);

/**
 * aaclip_model_open from a file in memory, such as one that was decrypted or linked into the
 * program; `name` stands for the path in texts. The bytes are not copied: they must stay where and
 * as they are until this model, and everything that was made from it, is closed. Nothing is looked
 * for beside them: no vocabulary (aaclip_text_cache_options.vocabulary) and no JSON with heads and
 * activation, which safetensors that the library wrote contain. A bundle's adapters and text
 * vectors are opened without a path (aaclip_adapters_open, aaclip_text_cache_open).
 * Errors: as there, except NOT_FOUND and IO; INVALID_ARGUMENT also for a packed_folder.
 */
AACLIP_API aaclip_status aaclip_model_open_memory(aaclip_model **model, const void *bytes,
                                                  size_t size, const char *name,
                                                  const aaclip_model_options *options);

/** Releases the handle and sets *model to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_model_close(aaclip_model **model);

/** What was opened and what computes with it. Strings belong to the model. */
typedef struct aaclip_model_info {
    size_t size;                  /**< sizeof the struct, set by the caller */
    const char *path,             /**< as given */
        *layout;                  /**< of the checkpoint; informational text */
    const char *backend;          /**< static */
    aaclip_precision precision;   /**< never AUTO */
    uint32_t threads;             /**< per call */
    aaclip_activation activation; /**< of the checkpoint; never CHECKPOINT */
    uint32_t image_layers,        /**< blocks of the image tower */
        image_width,              /**< floats of one of its tokens */
        image_heads,              /**< of its attention */
        image_mlp,                /**< width inside its MLPs */
        patch_size;               /**< pixels per side */
    uint32_t trained_image_size;  /**< pixels per side of the checkpoint's positional grid */
    uint32_t embedding;           /**< size of the joint space */
    bool has_text;                /**< false for a deployment bundle */
    uint32_t text_layers,         /**< blocks of the text tower */
        text_width,               /**< floats of one of its tokens */
        text_heads,               /**< of its attention */
        text_mlp,                 /**< width inside its MLPs */
        context,                  /**< most tokens of a prompt */
        vocabulary;               /**< number of tokens */
    /** Ties caches and adapters to these weights; equal for the same weights in any layout. */
    const char *fingerprint;
} aaclip_model_info;

/**
 * Describes a model. Set info->size first (aaclip_model_info info = {.size = sizeof info}). Any
 * thread. Errors: INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_model_get_info(const aaclip_model *model, aaclip_model_info *info);

/**
 * Name of the backend that runs an operation of the image tower ("linear", "attention",
 * "layer_norm", "blend", "normalize", "convert", "patches", "similarity", "anomaly_map", and those
 * of training) at the default image size. What the chosen backend lacks is run by "simd", the
 * library's vectorised loops, and what these lack by "reference". NULL for an unknown operation.
 * Static text.
 */
AACLIP_API const char *aaclip_model_operation_backend(const aaclip_model *model,
                                                      const char *operation);

/**
 * Writes the model as safetensors with OpenAI's names, which opens faster and is portable. float16
 * = true stores matrices in 16 bits (exact for OpenAI's weights). The file appears whole or not at
 * all.
 * Errors: UNSUPPORTED (a bundle has no text tower), IO, INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_model_save(const aaclip_model *model, const char *path,
                                           bool float16);

/**
 * Whether a safetensors file that the library wrote (model, bundle, adapters, text vectors,
 * training state) is still as it was written: reads all of it and compares it with the checksum in
 * its metadata (docs/formats.md). That finds damage, not forgery. For copies of files that opening
 * does not read whole. Any thread; may be cancelled. Errors: NOT_FOUND, IO, FORMAT (damaged, or no
 * safetensors file), UNSUPPORTED (no checksum: an older version or another program wrote it),
 * OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_verify_file(const char *path);

AACLIP_END_DECLS

#endif
