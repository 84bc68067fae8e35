/**
 * @file
 * What the library accepts and holds at most, for programs that take files from strangers.
 */
#ifndef AACLIP_LIMITS_H
#define AACLIP_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/**
 * Of the whole process. 0 stands for the default, UINT64_MAX for no limit. What is beyond one is
 * refused with a text that has the limit, the value found and "aaclip_limits_set".
 * docs/reliability.md has what is bounded besides.
 */
typedef struct aaclip_limits {
    size_t size; /**< set by _init */
    /** Width x height of an image that is decoded; above: UNSUPPORTED. Default 178,956,970, as in
     * Pillow. What is more than 2^40 counts as that. */
    uint64_t image_pixels;
    /** Bytes of a file of tensors: checkpoint, bundle, adapters, text vectors, training state;
     * above: UNSUPPORTED. Default: none, since such files are mapped and not copied. A larger file
     * of packed weights is told to the log and not used. */
    uint64_t checkpoint_bytes;
    /** Tensors of such a file; more: UNSUPPORTED. Default 262,144. */
    uint64_t tensors;
    /** Bytes of one prompt, with the class's phrase in it; above: INVALID_ARGUMENT. Default
     * 16,384. A state or template of a file has at most 4,096 in any case. */
    uint64_t prompt_bytes;
    /** Prompts that a file gives to one side of a class, normal or abnormal; above: FORMAT.
     * Default 16,384. */
    uint64_t prompts;
    /** Bytes that the library holds at one time from its allocator (aaclip_set_allocator) for all
     * handles and calls together; above: OUT_OF_MEMORY. Default: none. Not counted: mapped files,
     * memory of devices (aaclip_backend_limit_memory), and what libraries below take by themselves
     * (oneDNN, OpenBLAS, libjpeg, jansson, threads). */
    uint64_t memory_bytes;
} aaclip_limits;

/** The defaults. `struct_size` is the caller's sizeof; use the macro. */
AACLIP_API aaclip_status aaclip_limits_init_sized(aaclip_limits *limits, size_t struct_size);
/** aaclip_limits_init_sized of this version's struct. */
#define aaclip_limits_init(limits) aaclip_limits_init_sized((limits), sizeof *(limits))

/**
 * Sets all limits; NULL restores the defaults. They hold from now on for every call, also with
 * handles that are open. What is open already stays and can be used and closed; its memory counts,
 * so that below what is held every call fails that needs more. After a refusal handles can be used
 * on. Any thread; a call that is running may meet some limits of before and some
 * of now. Errors: INVALID_ARGUMENT; then all stay as they were.
 */
AACLIP_API aaclip_status aaclip_limits_set(const aaclip_limits *limits);

/**
 * The limits that hold. Set limits->size first (aaclip_limits limits = {.size = sizeof limits}).
 * Any thread. Errors: INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_limits_get(aaclip_limits *limits);

AACLIP_END_DECLS

#endif
