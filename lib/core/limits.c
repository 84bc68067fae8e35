#include "core/limits.h"

#include <stdatomic.h>
#include <string.h>

#include <aaclip/limits.h>

#include "core/error.h"
#include "core/options.h"

static const struct {
    size_t field; /* in aaclip_limits */
    uint64_t usual, most;
} kinds[AAC_LIMIT_COUNT] = {
    /* Pillow's limit, too (a "decompression bomb": twice its MAX_IMAGE_PIXELS). Sizes of up to 2^40
       pixels of 8 bytes can be computed without overflow. */
    [AAC_LIMIT_IMAGE_PIXELS] = {offsetof(aaclip_limits, image_pixels), 178956970,
                                UINT64_C(1) << 40},
    [AAC_LIMIT_CHECKPOINT_BYTES] = {offsetof(aaclip_limits, checkpoint_bytes), UINT64_MAX,
                                    UINT64_MAX},
    [AAC_LIMIT_TENSORS] = {offsetof(aaclip_limits, tensors), 1 << 18, UINT64_MAX},
    [AAC_LIMIT_PROMPT_BYTES] = {offsetof(aaclip_limits, prompt_bytes), 16384, UINT64_MAX},
    [AAC_LIMIT_PROMPTS] = {offsetof(aaclip_limits, prompts), 16384, UINT64_MAX},
    [AAC_LIMIT_MEMORY_BYTES] = {offsetof(aaclip_limits, memory_bytes), UINT64_MAX, UINT64_MAX},
};

static _Atomic uint64_t chosen[AAC_LIMIT_COUNT]; /* 0: the default */

uint64_t aac_limit(aac_limit_kind kind)
{
    const uint64_t own = atomic_load_explicit(&chosen[kind], memory_order_relaxed);
    return own ? own : kinds[kind].usual;
}

aaclip_status aaclip_limits_init_sized(aaclip_limits *limits, size_t struct_size)
{
    aaclip_limits own = {.size = sizeof own};
    for (int i = 0; i < AAC_LIMIT_COUNT; i++)
        memcpy((char *)&own + kinds[i].field, &kinds[i].usual, sizeof kinds[i].usual);
    return aac_options_write(limits, struct_size, &own, sizeof own, "aaclip_limits");
}

aaclip_status aaclip_limits_set(const aaclip_limits *limits)
{
    aaclip_limits own = {.size = sizeof own};
    aaclip_status status = aac_options_read(&own, sizeof own, limits, "aaclip_limits");
    for (int i = 0; !status && i < AAC_LIMIT_COUNT; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&own + kinds[i].field, sizeof value);
        atomic_store_explicit(&chosen[i], value < kinds[i].most ? value : kinds[i].most,
                              memory_order_relaxed);
    }
    return status;
}

aaclip_status aaclip_limits_get(aaclip_limits *limits)
{
    if (!limits)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_limits_get: NULL argument");
    aaclip_limits own = {.size = sizeof own};
    for (int i = 0; i < AAC_LIMIT_COUNT; i++) {
        const uint64_t value = aac_limit((aac_limit_kind)i);
        memcpy((char *)&own + kinds[i].field, &value, sizeof value);
    }
    return aac_options_write(limits, limits->size, &own, sizeof own, "aaclip_limits");
}
