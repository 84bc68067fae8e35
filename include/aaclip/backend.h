/**
 * @file
 * Which compute backends this build has.
 */
#ifndef AACLIP_BACKEND_H
#define AACLIP_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/** Arithmetic of the transformer towers. Maps and scores are float32 in either case. */
typedef enum aaclip_precision {
    /** float32 products and sums. The same bits for the same processor, backend and number of
     * threads; elsewhere the same numbers but for rounding. */
    AACLIP_PRECISION_F32 = 0,
    AACLIP_PRECISION_BF16 = 1, /**< bfloat16 products, float32 sums; needs processor support */
    AACLIP_PRECISION_AUTO = 2, /**< BF16 where the processor multiplies it natively, else F32 */
    /** 8-bit integers in the linear layers of the image tower's blocks: weights with a scale for
     * each output, tokens with one for each, found as they come. The rest as AUTO. A quarter of
     * F32's memory for weights, and an error that docs/measurements.md has measured. Not for
     * training. */
    AACLIP_PRECISION_INT8 = 3,
    /** float32 whose linear layers round what they multiply to TF32, 10 bits behind the leading
     * one, on tensor cores; attention and all else as F32. Backend "cuda" has it. */
    AACLIP_PRECISION_TF32 = 4,
    /** float16 where BF16 has bfloat16: 11 bits instead of 8, and a range that ends at 65504, which
     * CLIP was trained within. Backend "cuda" has it, and "reference". Not for training. */
    AACLIP_PRECISION_F16 = 5
} aaclip_precision;

/**
 * Names that aaclip_model_options.backend accepts, best first: "onednn", "blas", "cuda",
 * "reference", as built in; NULL past the end. Static; any thread.
 */
AACLIP_API const char *aaclip_backend_name(size_t index);

/** Whether this processor, its devices and the installed libraries can run a backend, or one on the
 * device that is named with it ("cuda:1"); false if unknown. */
AACLIP_API bool aaclip_backend_available(const char *name);

/**
 * The most bytes of a device's memory ("cuda", "cuda:1") that this process may take for weights,
 * working memory and training; 0: no limit, as at the beginning. What is there already stays, and
 * counts. A call that would need more fails with OUT_OF_MEMORY, and its handles can be used on;
 * where images can run one by one instead of together, they do. What the driver takes for itself is
 * not counted. Any thread.
 * Errors: INVALID_ARGUMENT (NULL, or a device of a backend that has none to choose from), NOT_FOUND
 * (backend or device), UNSUPPORTED (it cannot run here, or its memory is the host's).
 */
AACLIP_API aaclip_status aaclip_backend_limit_memory(const char *name, uint64_t bytes);

/** What is taken of a device's memory, in bytes; 0 for a backend without memory of its own. */
AACLIP_API uint64_t aaclip_backend_memory(const char *name);

/** "f32", "bf16", "auto", "int8", "tf32" or "f16"; "unknown" for another number. Static text. */
AACLIP_API const char *aaclip_precision_name(aaclip_precision precision);

AACLIP_END_DECLS

#endif
