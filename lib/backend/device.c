#include "backend/device.h"

#include <string.h>

#include "backend/account.h"
#include "backend/profiler.h"
#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"

static const aac_backend_memory *memory_of(const aac_dispatch *dispatch)
{
    return dispatch->chain[0]->memory;
}

bool aac_device_is_host(const aac_dispatch *dispatch)
{
    return !memory_of(dispatch);
}

void *aac_device_alloc(const aac_dispatch *dispatch, size_t bytes)
{
    if (!memory_of(dispatch))
        return aac_alloc(bytes);
    int previous = aac_dispatch_enter(dispatch);
    void *memory = memory_of(dispatch)->allocate(bytes);
    aac_dispatch_leave(dispatch, previous);
    return memory;
}

void *aac_device_alloc_array(const aac_dispatch *dispatch, size_t count, size_t size)
{
    size_t bytes;
    return aac_size_multiply(&bytes, count, size) ? aac_device_alloc(dispatch, bytes) : NULL;
}

void aac_device_free(const aac_dispatch *dispatch, void *memory)
{
    if (!memory)
        return;
    if (!memory_of(dispatch)) {
        aac_free(memory);
        return;
    }
    int previous = aac_dispatch_enter(dispatch);
    memory_of(dispatch)->release(memory);
    aac_dispatch_leave(dispatch, previous);
}

void *aac_device_alloc_host(const aac_dispatch *dispatch, size_t bytes)
{
    const aac_backend_memory *memory = memory_of(dispatch);
    if (!memory || !memory->allocate_host)
        return aac_alloc(bytes);
    int previous = aac_dispatch_enter(dispatch);
    void *made = memory->allocate_host(bytes);
    aac_dispatch_leave(dispatch, previous);
    return made;
}

void aac_device_free_host(const aac_dispatch *dispatch, void *host)
{
    const aac_backend_memory *memory = memory_of(dispatch);
    if (!host)
        return;
    if (!memory || !memory->release_host) {
        aac_free(host);
        return;
    }
    int previous = aac_dispatch_enter(dispatch);
    memory->release_host(host);
    aac_dispatch_leave(dispatch, previous);
}

aaclip_status aac_device_error(const aac_dispatch *dispatch)
{
    if (!memory_of(dispatch))
        return aac_error_memory();
    aaclip_status status = aac_dispatch_check_process(dispatch);
    if (status)
        return status;
    uint64_t limit = aac_account_limit(dispatch->device);
    uint64_t used = aac_account_used(dispatch->device);
    if (!limit)
        return aac_error(AACLIP_ERROR_OUT_OF_MEMORY,
                         "backend '%s': out of memory, %llu bytes in use", dispatch->chain[0]->name,
                         (unsigned long long)used);
    return aac_error(AACLIP_ERROR_OUT_OF_MEMORY,
                     "backend '%s': out of memory, %llu of at most %llu bytes in use",
                     dispatch->chain[0]->name, (unsigned long long)used, (unsigned long long)limit);
}

aaclip_status aac_device_host_error(const aac_dispatch *dispatch)
{
    aaclip_status status = aac_dispatch_check_process(dispatch);
    return status ? status : aac_error_memory();
}

aaclip_status aac_device_copy(const aac_dispatch *dispatch, void *to, const void *from,
                              size_t bytes)
{
    if (to == from || !bytes)
        return AACLIP_OK;
    if (!memory_of(dispatch)) {
        memcpy(to, from, bytes);
        return AACLIP_OK;
    }
    aaclip_status status = aac_dispatch_check_process(dispatch);
    if (status)
        return status;
    int previous = aac_dispatch_enter(dispatch);
    status = memory_of(dispatch)->copy(to, from, bytes);
    aac_dispatch_leave(dispatch, previous);
    return status;
}

aaclip_status aac_device_clear(const aac_dispatch *dispatch, void *memory, size_t bytes)
{
    if (!memory_of(dispatch)) {
        memset(memory, 0, bytes);
        return AACLIP_OK;
    }
    aaclip_status status = aac_dispatch_check_process(dispatch);
    if (status)
        return status;
    int previous = aac_dispatch_enter(dispatch);
    status = memory_of(dispatch)->clear(memory, bytes);
    aac_dispatch_leave(dispatch, previous);
    return status;
}

static aaclip_status finish(const aac_dispatch *dispatch)
{
    aaclip_status status = aac_dispatch_check_process(dispatch);
    if (status)
        return status;
    int previous = aac_dispatch_enter(dispatch);
    status = memory_of(dispatch)->finish();
    aac_dispatch_leave(dispatch, previous);
    return status;
}

aaclip_status aac_device_finish(const aac_dispatch *dispatch, aaclip_status status)
{
    if (!memory_of(dispatch) || !memory_of(dispatch)->finish)
        return status;
    const aac_error_text before = aac_error_keep();
    aaclip_status finished = finish(dispatch);
    if (!status)
        return finished;
    aac_error_restore(&before);
    return status;
}

aaclip_status aac_device_adopt(const aac_dispatch *dispatch, void **memory, void *host,
                               size_t bytes)
{
    *memory = NULL;
    if (!host)
        return aac_error_memory();
    if (!memory_of(dispatch)) {
        *memory = host;
        return AACLIP_OK;
    }
    void *made = aac_device_alloc(dispatch, bytes);
    aaclip_status status =
        made ? aac_device_copy(dispatch, made, host, bytes) : aac_device_error(dispatch);
    aac_free(host);
    if (status)
        aac_device_free(dispatch, made);
    else
        *memory = made;
    return status;
}

aaclip_status aac_device_vector(const aac_dispatch *dispatch, float **values,
                                const aac_tensor *tensor)
{
    size_t count = (size_t)aac_tensor_elements(tensor);
    void *memory;
    float *host = aac_alloc_array(count, sizeof *host);
    if (host)
        aac_tensor_to_f32(tensor, host);
    aaclip_status status = aac_device_adopt(dispatch, &memory, host, count * sizeof *host);
    *values = memory;
    return status;
}

aaclip_status aac_mirror_new(const aac_dispatch *dispatch, aac_mirror *mirror, size_t bytes)
{
    *mirror = (aac_mirror){.host = aac_alloc(bytes), .bytes = bytes};
    if (!mirror->host)
        return aac_error_memory();
    bool shared = aac_device_is_host(dispatch);
    mirror->device = shared ? mirror->host : aac_device_alloc(dispatch, bytes);
    if (mirror->device)
        return AACLIP_OK;
    aac_mirror_free(dispatch, mirror);
    return aac_device_error(dispatch);
}

void aac_mirror_free(const aac_dispatch *dispatch, aac_mirror *mirror)
{
    if (mirror->device != mirror->host)
        aac_device_free(dispatch, mirror->device);
    aac_free(mirror->host);
    *mirror = (aac_mirror){0};
}

aaclip_status aac_mirror_send(const aac_dispatch *dispatch, const aac_mirror *mirror)
{
    return aac_device_copy(dispatch, mirror->device, mirror->host, mirror->bytes);
}

aaclip_status aac_mirror_fetch(const aac_dispatch *dispatch, const aac_mirror *mirror)
{
    return aac_device_copy(dispatch, mirror->host, mirror->device, mirror->bytes);
}

/* Failed recordings after which none is tried any more: another user of the device in this process
 * can break one. */
#define MOST_FAILED 3

/* Leaves routine->recording NULL on failure. */
static void try_recording(const aac_backend_recorder *recorder, aac_device_routine *routine,
                          aaclip_status (*operations)(void *user), void *user)
{
    if (recorder->begin())
        return;
    aac_cancel_hold(); /* nothing is executed, so it is short */
    aaclip_status asked = operations(user);
    aac_cancel_release();
    aaclip_status ended = recorder->end(&routine->recording);
    if (!asked && !ended)
        return;
    recorder->release(routine->recording);
    routine->recording = NULL;
}

/* A failure is not reported: without a recording the operations are called directly. */
static void record(const aac_backend_recorder *recorder, aac_device_routine *routine,
                   aaclip_status (*operations)(void *user), void *user)
{
    const aac_error_text before = aac_error_keep();
    try_recording(recorder, routine, operations, user);
    if (!routine->recording)
        aac_error_restore(&before);
}

aaclip_status aac_device_repeat(const aac_dispatch *dispatch, aac_device_routine *routine,
                                aaclip_status (*operations)(void *user), void *user)
{
    const aac_backend_recorder *recorder = dispatch->chain[0]->recorder;
    bool first = !routine->ran; /* loads modules and chooses algorithms, which must not happen while
                                   recording */
    if (!recorder || first || routine->failed == MOST_FAILED || aac_profiler_is_running()) {
        aaclip_status status = operations(user);
        routine->ran = !status;
        return status;
    }
    aaclip_status status = aac_cancel_look();
    if (!status)
        status = aac_dispatch_check_process(dispatch);
    if (status)
        return status;
    int previous = aac_dispatch_enter(dispatch);
    if (!routine->recording)
        record(recorder, routine, operations, user);
    routine->failed += !routine->recording;
    status = routine->recording ? recorder->play(routine->recording) : operations(user);
    aac_dispatch_leave(dispatch, previous);
    return status;
}

void aac_device_routine_clear(const aac_dispatch *dispatch, aac_device_routine *routine)
{
    if (routine->recording) {
        int previous = aac_dispatch_enter(dispatch);
        dispatch->chain[0]->recorder->release(routine->recording);
        aac_dispatch_leave(dispatch, previous);
    }
    *routine = (aac_device_routine){0};
}
