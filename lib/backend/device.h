/*
 * Memory that the operations of a dispatch read and write: "device memory", even where it is host
 * memory, as for most backends. The host accesses it through these calls only.
 */
#ifndef AAC_BACKEND_DEVICE_H
#define AAC_BACKEND_DEVICE_H

#include "backend/backend.h"

/* Whether device memory is host memory: pointers of either kind may be the same. */
bool aac_device_is_host(const aac_dispatch *dispatch);

/* 64-byte aligned; NULL: out of memory, no error is set. */
void *aac_device_alloc(const aac_dispatch *dispatch, size_t bytes);
void *aac_device_alloc_array(const aac_dispatch *dispatch, size_t count, size_t size);
void aac_device_free(const aac_dispatch *dispatch, void *memory); /* may be NULL */
/* The error for a failed allocation: out of memory, naming the backend, or the process was forked
 * from the one that opened the device. */
aaclip_status aac_device_error(const aac_dispatch *dispatch);

/* Host memory for frequent copies to and from the device; NULL: out of memory, no error is set. */
void *aac_device_alloc_host(const aac_dispatch *dispatch, size_t bytes);
/* The same for host memory. */
aaclip_status aac_device_host_error(const aac_dispatch *dispatch);
void aac_device_free_host(const aac_dispatch *dispatch, void *memory); /* may be NULL */

/* Either side may be host memory. Nothing is done when both sides are the same. */
aaclip_status aac_device_copy(const aac_dispatch *dispatch, void *to, const void *from,
                              size_t bytes);
aaclip_status aac_device_clear(const aac_dispatch *dispatch, void *memory, size_t bytes);

/*
 * For the end of a call that leaves queued work to a later call, or failed half-way: waits for it,
 * as one thread's operations are not ordered with another's. `status` is the call's outcome so far;
 * if it is an error, it is returned with its text, whatever the wait gives.
 */
aaclip_status aac_device_finish(const aac_dispatch *dispatch, aaclip_status status);

/*
 * Device memory with the contents of `host`, which comes from aac_alloc and is taken over; NULL
 * means out of memory. *memory is NULL on failure.
 */
aaclip_status aac_device_adopt(const aac_dispatch *dispatch, void **memory, void *host,
                               size_t bytes);

/* A tensor's values as float32 in device memory; *values is NULL on failure. */
aaclip_status aac_device_vector(const aac_dispatch *dispatch, float **values,
                                const aac_tensor *tensor);

/*
 * Operations that are repeated with the same memory. If the backend can, they are recorded the
 * second time and replayed from then on, but never while a profiler runs. Starts as zeros. For one
 * thread at a time.
 */
typedef struct aac_device_routine {
    bool ran;
    int failed; /* recordings; after a few none is tried again */
    void *recording;
} aac_device_routine;

/* `operations` does exactly the same each time, and nothing else. */
aaclip_status aac_device_repeat(const aac_dispatch *dispatch, aac_device_routine *routine,
                                aaclip_status (*operations)(void *user), void *user);
void aac_device_routine_clear(const aac_dispatch *dispatch, aac_device_routine *routine);

/* Memory that host and device both use: a single block where the host can access device memory. */
typedef struct aac_mirror {
    void *host, *device;
    size_t bytes;
} aac_mirror;

/* After a failure there is nothing to free. */
aaclip_status aac_mirror_new(const aac_dispatch *dispatch, aac_mirror *mirror, size_t bytes);
void aac_mirror_free(const aac_dispatch *dispatch, aac_mirror *mirror);
aaclip_status aac_mirror_send(const aac_dispatch *dispatch, const aac_mirror *mirror);
aaclip_status aac_mirror_fetch(const aac_dispatch *dispatch, const aac_mirror *mirror);

#endif
