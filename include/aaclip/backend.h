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
    /** float32 products and sums. Bit-identical for the same processor, backend and number of
     * threads; otherwise the same up to rounding. */
    AACLIP_PRECISION_F32 = 0,
    AACLIP_PRECISION_BF16 = 1, /**< bfloat16 products, float32 sums; needs hardware support */
    AACLIP_PRECISION_AUTO = 2, /**< BF16 where the processor multiplies it natively, else F32 */
    /** 8-bit integers in the linear layers of the image tower's blocks: weights with one scale per
     * output, tokens with one scale each, computed at run time. The rest as AUTO. Weights take a
     * quarter of F32's memory; docs/measurements.md has the error. Not for training. */
    AACLIP_PRECISION_INT8 = 3,
    /** float32 whose linear layers round their operands to TF32, 10 bits after the leading one, on
     * tensor cores; attention and everything else as F32. Backend "cuda" only. */
    AACLIP_PRECISION_TF32 = 4,
    /** float16 where BF16 has bfloat16: 11 bits instead of 8, and a range that ends at 65504,
     * within which CLIP was trained. Backends "cuda" and "reference" only. Not for training. */
    AACLIP_PRECISION_F16 = 5
} aaclip_precision;

/**
 * Names that aaclip_model_options.backend accepts: "onednn", "blas", "cuda", as built in, "simd",
 * "reference"; NULL past the end. Static; any thread.
 */
AACLIP_API const char *aaclip_backend_name(size_t index);

/** Whether this processor, its devices and the installed libraries can run a backend, or a backend
 * on the given device ("cuda:1"); false if unknown. */
AACLIP_API bool aaclip_backend_available(const char *name);

/**
 * Limits the bytes of a device's memory ("cuda", "cuda:1") that this process may take for weights,
 * working memory and training; 0: no limit, the default. Existing allocations stay and count. A
 * call that would need more fails with OUT_OF_MEMORY, and its handles stay usable; where images can
 * run one by one instead of together, they do. What the driver takes for itself is not counted. Any
 * thread.
 * Errors: INVALID_ARGUMENT (NULL, or a device of a backend without a choice of devices), NOT_FOUND
 * (backend or device), UNSUPPORTED (it cannot run here, or its memory is the host's).
 */
AACLIP_API aaclip_status aaclip_backend_limit_memory(const char *name, uint64_t bytes);

/** Bytes of a device's memory in use by this process; 0 for a backend without memory of its own. */
AACLIP_API uint64_t aaclip_backend_memory(const char *name);

/** "f32", "bf16", "auto", "int8", "tf32" or "f16"; "unknown" for another number. Static text. */
AACLIP_API const char *aaclip_precision_name(aaclip_precision precision);

AACLIP_END_DECLS

#endif
