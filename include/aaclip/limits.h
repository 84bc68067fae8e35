/**
 * @file
 * Upper bounds on input and memory, for programs that read untrusted files.
 */
#ifndef AACLIP_LIMITS_H
#define AACLIP_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/**
 * For the whole process. 0 stands for the default, UINT64_MAX for no limit. Input beyond a limit is
 * refused with an error text that gives the limit, the value found and "aaclip_limits_set".
 * docs/reliability.md lists other bounds.
 */
typedef struct aaclip_limits {
    size_t size; /**< set by _init */
    /** Width x height of a decoded image, also of a narrow one between the two passes of a resize
     * (aaclip_image_resize); above: UNSUPPORTED. Default 178,956,970, as in Pillow. Limits above
     * 2^40 count as 2^40. */
    uint64_t image_pixels;
    /** Bytes of a tensor file: checkpoint, bundle, adapters, text vectors, training state; above:
     * UNSUPPORTED. Default: none, since such files are mapped, not copied. A larger file of packed
     * weights is logged and not used. */
    uint64_t checkpoint_bytes;
    /** Tensors of such a file; more: UNSUPPORTED. Default 262,144. */
    uint64_t tensors;
    /** Bytes of one prompt, including the class's phrase; above: INVALID_ARGUMENT. Default 16,384.
     * A state or template in a file has at most 4,096 in any case. */
    uint64_t prompt_bytes;
    /** Prompts in a file for one side of a class, normal or abnormal; above: FORMAT. Default
     * 16,384. */
    uint64_t prompts;
    /** Bytes that the library holds at one time from its allocator (aaclip_set_allocator) for all
     * handles and calls together; above: OUT_OF_MEMORY. Default: none. Not counted: mapped files,
     * device memory (aaclip_backend_limit_memory), and what underlying libraries allocate
     * themselves (oneDNN, OpenBLAS, libjpeg, jansson, threads). */
    uint64_t memory_bytes;
} aaclip_limits;

/** The defaults. `struct_size` is the caller's sizeof; use the macro. */
AACLIP_API aaclip_status aaclip_limits_init_sized(aaclip_limits *limits, size_t struct_size);
/** aaclip_limits_init_sized of this version's struct. */
#define aaclip_limits_init(limits) aaclip_limits_init_sized((limits), sizeof *(limits))

/**
 * Sets all limits; NULL restores the defaults. They apply from now on to every call, also with open
 * handles. Open handles can still be used and closed; their memory counts, so with a limit below it
 * every call that needs more fails. Handles stay usable after a refusal. Any thread; a call that is
 * running may see some old limits and some new ones. Errors: INVALID_ARGUMENT; all limits are then
 * unchanged.
 */
AACLIP_API aaclip_status aaclip_limits_set(const aaclip_limits *limits);

/**
 * The current limits. Set limits->size first (aaclip_limits limits = {.size = sizeof limits}). Any
 * thread. Errors: INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_limits_get(aaclip_limits *limits);

AACLIP_END_DECLS

#endif
