/* The backends of this build, their names and devices. */
#include "backend/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/backend.h>

#include "backend/account.h"
#include "backend/simd/kernels.h"
#include "core/error.h"

/*
 * Best first. `simd` is also the fallback of those before it, which leave it the operations at
 * which it is faster. `cuda` is chosen by name only: the device may be wanted for something else.
 */
typedef struct registry_row {
    const aac_backend *backend;
    bool (*automatic)(void);
} registry_row;

static bool always(void)
{
    return true;
}

#ifdef AAC_HAVE_CUDA
static bool never(void)
{
    return false;
}
#endif

#ifdef AAC_HAVE_OPENBLAS
/* With vector instructions that `simd` has kernels for, it is faster than OpenBLAS. */
static bool without_kernels(void)
{
    return aac_kernels_isa() == AAC_ISA_BASELINE;
}
#endif

static const registry_row registry[] = {
#ifdef AAC_HAVE_ONEDNN
    {&aac_backend_onednn, always},
#endif
#ifdef AAC_HAVE_OPENBLAS
    {&aac_backend_blas, without_kernels},
#endif
#ifdef AAC_HAVE_CUDA
    {&aac_backend_cuda, never},
#endif
    {&aac_backend_simd, always},          {&aac_backend_reference, always},
};

#define REGISTRY_COUNT (sizeof registry / sizeof *registry)

static const aac_backend *only; /* set by tests */

static size_t registry_count(void)
{
    return only ? 1 : REGISTRY_COUNT;
}

static registry_row row_at(size_t index)
{
    return only ? (registry_row){only, always} : registry[index];
}

void aac_backend_only(const aac_backend *backend)
{
    only = backend;
}

static const char *const op_names[AAC_OP_COUNT] = {
    [AAC_OP_LINEAR] = "linear",
    [AAC_OP_LAYER_NORM] = "layer_norm",
    [AAC_OP_ATTENTION] = "attention",
    [AAC_OP_BLEND] = "blend",
    [AAC_OP_NORMALIZE] = "normalize",
    [AAC_OP_CONVERT] = "convert",
    [AAC_OP_GATHER] = "gather",
    [AAC_OP_PATCHES] = "patches",
    [AAC_OP_SIMILARITY] = "similarity",
    [AAC_OP_ANOMALY_MAP] = "anomaly_map",
    [AAC_OP_ACTIVATE] = "activate",
    [AAC_OP_ACTIVATE_BACKWARD] = "activate_backward",
    [AAC_OP_LINEAR_GRADIENT] = "linear_gradient",
    [AAC_OP_LAYER_NORM_BACKWARD] = "layer_norm_backward",
    [AAC_OP_ATTENTION_BACKWARD] = "attention_backward",
    [AAC_OP_BLEND_BACKWARD] = "blend_backward",
    [AAC_OP_NORMALIZE_BACKWARD] = "normalize_backward",
    [AAC_OP_GATHER_BACKWARD] = "gather_backward",
    [AAC_OP_SIMILARITY_BACKWARD] = "similarity_backward",
    [AAC_OP_SEGMENTATION_LOSS] = "segmentation_loss",
    [AAC_OP_CLASSIFICATION_LOSS] = "classification_loss",
    [AAC_OP_FINITE] = "finite",
    [AAC_OP_ADAM] = "adam",
};

const char *aac_op_name(aac_op op)
{
    return op_names[op];
}

size_t aac_backend_count(void)
{
    return registry_count();
}

const aac_backend *aac_backend_at(size_t index)
{
    return row_at(index).backend;
}

const char *aaclip_backend_name(size_t index)
{
    return index < registry_count() ? row_at(index).backend->name : NULL;
}

/* Of "NAME" or "NAME:N". */
static const aac_backend *find_name(const char *name)
{
    size_t length = strcspn(name, ":");
    for (size_t i = 0; i < registry_count(); i++) {
        const char *own = row_at(i).backend->name;
        if (strlen(own) == length && strncmp(own, name, length) == 0)
            return row_at(i).backend;
    }
    return NULL;
}

/* The number after the colon, 0 without one; -1: no number, or no such device. */
static int device_of(const aac_backend *backend, const char *name)
{
    const char *colon = strchr(name, ':');
    if (!colon)
        return 0;
    char *end = NULL;
    unsigned long device = strtoul(colon + 1, &end, 10);
    bool number = colon[1] >= '0' && colon[1] <= '9' && !*end;
    bool exists = backend->devices && device < (unsigned long)backend->devices->count();
    return number && exists ? (int)device : -1;
}

static aaclip_status check_device(const aac_backend *backend, int device)
{
    const aac_backend_devices *devices = backend->devices;
    return devices && devices->check ? devices->check(device) : AACLIP_OK;
}

bool aaclip_backend_available(const char *name)
{
    const aac_backend *backend = name ? find_name(name) : NULL;
    int device = backend && backend->available() ? device_of(backend, name) : -1;
    const aac_error_text before = aac_error_keep();
    bool found = device >= 0 && !check_device(backend, device);
    aac_error_restore(&before);
    return found;
}

static aaclip_status unknown_backend(const char *name)
{
    char names[128] = "";
    for (size_t i = 0; i < registry_count(); i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, used ? ", %s" : "%s", row_at(i).backend->name);
    }
    return aac_error(AACLIP_ERROR_NOT_FOUND, "backend '%s': not in this build, which has: %s", name,
                     names);
}

static aaclip_status unavailable(const aac_backend *backend)
{
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "backend '%s': %s", backend->name,
                     backend->missing ? backend->missing()
                                      : "this processor or library version cannot run it");
}

static aaclip_status no_device(const aac_backend *backend, const char *name)
{
    if (!backend->devices)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "backend '%s': expected '%s', which has no devices to choose from", name,
                         backend->name);
    return aac_error(AACLIP_ERROR_NOT_FOUND,
                     "backend '%s': expected '%s:' and a device number below %d", name,
                     backend->name, backend->devices->count());
}

aaclip_status aac_backend_find(const aac_backend **found, int *device, const char *name)
{
    *device = 0;
    if (!name || strcmp(name, "auto") == 0) {
        size_t i = 0;
        for (; !row_at(i).automatic() || !row_at(i).backend->available(); i++) /* `reference` is */
            if (row_at(i).automatic() && row_at(i).backend->missing)
                aac_log(AACLIP_LOG_WARNING, "backend '%s' is skipped: %s", row_at(i).backend->name,
                        row_at(i).backend->missing());
        *found = row_at(i).backend;
        return AACLIP_OK;
    }
    *found = find_name(name);
    if (!*found)
        return unknown_backend(name);
    if (!(*found)->available())
        return unavailable(*found);
    *device = device_of(*found, name);
    return *device < 0 ? no_device(*found, name) : check_device(*found, *device);
}

aaclip_status aaclip_backend_limit_memory(const char *name, uint64_t bytes)
{
    const aac_backend *backend;
    int device;
    if (!name)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_backend_limit_memory: the name is NULL");
    aaclip_status status = aac_backend_find(&backend, &device, name);
    if (status)
        return status;
    if (!backend->memory)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "backend '%s': has no memory of its own to limit", backend->name);
    aac_account_set_limit(device, bytes);
    return AACLIP_OK;
}

uint64_t aaclip_backend_memory(const char *name)
{
    const aac_backend *backend = name ? find_name(name) : NULL;
    int device = backend && backend->memory ? device_of(backend, name) : -1;
    return device < 0 ? 0 : aac_account_used(device);
}
