/**
 * @file
 * One [normal, abnormal] pair of text vectors per class, computed once and kept.
 */
#ifndef AACLIP_TEXT_CACHE_H
#define AACLIP_TEXT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/adapters.h>
#include <aaclip/config.h>
#include <aaclip/export.h>
#include <aaclip/model.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/**
 * Safe to use from several threads: one at a time builds, encodes or tokenizes; pairs can be added
 * and read meanwhile, also by detectors. Keyed by the text tower's and text adapters' fingerprints.
 */
typedef struct aaclip_text_cache aaclip_text_cache;

/**
 * Called between batches of prompts; return false to cancel. Runs in the calling thread. There,
 * building, encoding, tokenizing, and making a trainer with the same cache give INVALID_ARGUMENT;
 * it must not be closed.
 */
typedef bool (*aaclip_progress)(size_t done, size_t total, void *user);

/** Which prompts are computed, and from which vocabulary. */
typedef struct aaclip_text_cache_options {
    size_t size; /**< set by _init */
    /**
     * CLIP's vocabulary: `bpe_simple_vocab_16e6.txt.gz`, `merges.txt`, or a folder with one of
     * them. NULL: looked for next to the model's file.
     */
    const char *vocabulary;
    const char *prompts;         /**< JSON prompt set; NULL: the profile's own */
    const aaclip_config *config; /**< used without adapters; NULL: the document profile */
    bool truncate;               /**< cut long prompts instead of failing */
    aaclip_progress progress;    /**< may be NULL */
    void *progress_user;         /**< passed to `progress`; must live as long as the cache */
} aaclip_text_cache_options;

/** All NULL or false. `struct_size` is the caller's sizeof; use the macro. */
AACLIP_API aaclip_status aaclip_text_cache_options_init_sized(aaclip_text_cache_options *options,
                                                              size_t struct_size);
/** aaclip_text_cache_options_init_sized of this version's struct. */
#define aaclip_text_cache_options_init(options)                                                    \
    aaclip_text_cache_options_init_sized((options), sizeof *(options))

/**
 * Makes an empty cache for a model and, when not NULL, its adapters (both are retained). The
 * vocabulary is opened on first use. `options` may be NULL. Close with aaclip_text_cache_close.
 * Errors: MISMATCH (adapters of another model), NOT_FOUND, IO, FORMAT (prompts), INVALID_ARGUMENT,
 * OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_text_cache_new(aaclip_text_cache **cache, const aaclip_model *model,
                                               const aaclip_adapters *adapters,
                                               const aaclip_text_cache_options *options);

/**
 * Reads a saved cache or a bundle; `path` NULL: the file of the model itself. MISMATCH when it was
 * made with other weights, text adapters, prompts or configuration than `model`, `adapters` and
 * `options` give; without adapters and options.config the configuration is the file's. Other
 * errors: NOT_FOUND, IO, FORMAT, INVALID_ARGUMENT, OUT_OF_MEMORY. Close with
 * aaclip_text_cache_close.
 */
AACLIP_API aaclip_status aaclip_text_cache_open(aaclip_text_cache **cache,
                                                const aaclip_model *model,
                                                const aaclip_adapters *adapters, const char *path,
                                                const aaclip_text_cache_options *options);

/** Releases the handle and sets *cache to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_text_cache_close(aaclip_text_cache **cache);

/**
 * Computes the pairs of `count` classes: every prompt with phrases[i] goes through the text tower.
 * Existing names are replaced. All classes or none are added. Common prefixes of prompts are
 * computed once for all classes of a call, so one call for many classes is faster than one call for
 * each; values then differ by rounding, less than 1e-6 of the vector's length. The order of the
 * classes does not matter. Only the pairs take memory that grows with `count`; 0 does nothing.
 * Errors: UNSUPPORTED (a bundle has no text tower), NOT_FOUND, IO, FORMAT (vocabulary), MISMATCH
 * (a vocabulary of another size than the model's), INVALID_ARGUMENT (a name or phrase that is
 * empty or not UTF-8, a prompt too long), CANCELLED, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_text_cache_build(aaclip_text_cache *cache, const char *const *names,
                                                 const char *const *phrases, size_t count);

/**
 * Adds or replaces one pair of vectors (embedding floats each; copied). Names are UTF-8. The
 * library's own vectors have a length of 1 or, of profile document, up to 1; it matters for scores.
 * Errors: INVALID_ARGUMENT (name; numbers that are not finite; a length outside 0.001 to 100),
 * OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_text_cache_add(aaclip_text_cache *cache, const char *name,
                                               const float *normal, const float *abnormal);

/** Copies a pair (embedding floats each; either may be NULL). NOT_FOUND lists the known classes. */
AACLIP_API aaclip_status aaclip_text_cache_get(const aaclip_text_cache *cache, const char *name,
                                               float *normal, float *abnormal);

/** Number of classes; 0 for NULL. */
AACLIP_API size_t aaclip_text_cache_count(const aaclip_text_cache *cache);
/** Name of a class, in insertion order; NULL past the end. Valid until the cache is closed.
 */
AACLIP_API const char *aaclip_text_cache_name(const aaclip_text_cache *cache, size_t index);

/**
 * Writes all pairs as safetensors, whole or not at all; docs/formats.md lists the tensors. Errors:
 * IO, INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_text_cache_save(const aaclip_text_cache *cache, const char *path);

/**
 * Encodes `count` prompts as given: `vectors` receives count * embedding floats, each row
 * L2-normalised; a count of 0 does nothing. For callers that combine prompts in their own way.
 * Errors as for aaclip_text_cache_build.
 */
AACLIP_API aaclip_status aaclip_text_cache_encode(aaclip_text_cache *cache,
                                                  const char *const *prompts, size_t count,
                                                  float *vectors);

/**
 * Tokenizes one prompt with the cache's vocabulary: writes at most `capacity` ids, from
 * `<|startoftext|>` to `<|endoftext|>`, and their number to *count. `capacity` is 2 or more; a
 * prompt that does not fit is an error, or is cut with the option `truncate`.
 * Errors: UNSUPPORTED (a bundle has no text tower), NOT_FOUND, IO, FORMAT (vocabulary), MISMATCH
 * (a vocabulary of another size than the model's), INVALID_ARGUMENT (too long, not UTF-8),
 * OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_text_cache_tokenize(aaclip_text_cache *cache, const char *prompt,
                                                    int32_t *ids, size_t capacity, size_t *count);

AACLIP_END_DECLS

#endif
