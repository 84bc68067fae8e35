/**
 * @file
 * Trained adapters of the text and image towers.
 */
#ifndef AACLIP_ADAPTERS_H
#define AACLIP_ADAPTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/config.h>
#include <aaclip/export.h>
#include <aaclip/model.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/** Immutable after open; reference-counted internally. Independent of the file format. */
typedef struct aaclip_adapters aaclip_adapters;

/**
 * Reads adapters for `model` from `count` files, usually one text and one image file: published
 * `.pth` (`text_adapter`, `image_adapter`), the document's, the library's safetensors, or a bundle
 * (one made without image adapters supplies only its configuration and calibration). `paths` NULL
 * and `count` 0: from the file of the model itself, which is then a bundle.
 * Tensor names and shapes select the kind of adapter and the profile; `config`, when not NULL,
 * overrides all fields that the files do not fix. Where files written by the library carry
 * different configurations, each tower uses that of its own file. Every shape is checked against
 * the model. Image adapters opened with text adapters other than those they were trained with are
 * logged as a warning.
 * The adapters keep a reference to the model. Close with aaclip_adapters_close.
 * Errors: NOT_FOUND, IO, FORMAT, MISMATCH (shapes, another model's fingerprint, two files that
 * disagree), INVALID_ARGUMENT (two text or two image adapters), OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_adapters_open(aaclip_adapters **adapters, const aaclip_model *model,
                                              const char *const *paths, size_t count,
                                              const aaclip_config *config);

/** Releases the handle and sets *adapters to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_adapters_close(aaclip_adapters **adapters);

/**
 * The configuration that these adapters were made for. Set config->size first, or call _init.
 * Errors: INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_adapters_get_config(const aaclip_adapters *adapters,
                                                    aaclip_config *config);
/** Whether there are text adapters; false for NULL. */
AACLIP_API bool aaclip_adapters_has_text(const aaclip_adapters *adapters);
/** Whether there are image adapters; false for NULL. */
AACLIP_API bool aaclip_adapters_has_image(const aaclip_adapters *adapters);

/**
 * Writes both towers' adapters as one safetensors file, whole or not at all; docs/formats.md lists
 * its tensors. Errors: IO, INVALID_ARGUMENT (also when they come from a bundle that has none),
 * OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_adapters_save(const aaclip_adapters *adapters, const char *path);

AACLIP_END_DECLS

#endif
