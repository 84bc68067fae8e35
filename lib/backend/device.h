/*
 * Memory that the operations of a dispatch read and write ("device memory", below too where it is
 * host memory, as it is for most backends). The host touches it through these calls alone.
 */
#ifndef AAC_BACKEND_DEVICE_H
#define AAC_BACKEND_DEVICE_H

#include "backend/backend.h"

/* Device memory is host memory: both may point to the same. */
bool aac_device_is_host(const aac_dispatch *dispatch);

/* 64-byte aligned; NULL: out of memory, no error is set. */
void *aac_device_alloc(const aac_dispatch *dispatch, size_t bytes);
void *aac_device_alloc_array(const aac_dispatch *dispatch, size_t count, size_t size);
void aac_device_free(const aac_dispatch *dispatch, void *memory); /* may be NULL */
/* Out of memory, naming the backend whose memory it is, or forked away from the device. */
aaclip_status aac_device_error(const aac_dispatch *dispatch);

/* Host memory for what is often copied to and from the device; NULL: out of memory, no error is
 * set. */
void *aac_device_alloc_host(const aac_dispatch *dispatch, size_t bytes);
/* Out of memory, or forked away from the device. */
aaclip_status aac_device_host_error(const aac_dispatch *dispatch);
void aac_device_free_host(const aac_dispatch *dispatch, void *memory); /* may be NULL */

/* Either side may be host memory. Nothing is done when both sides are the same. */
aaclip_status aac_device_copy(const aac_dispatch *dispatch, void *to, const void *from,
                              size_t bytes);
aaclip_status aac_device_clear(const aac_dispatch *dispatch, void *memory, size_t bytes);

/*
 * For the end of a call that leaves what it has asked for to another one, or has failed half-way:
 * waits, as operations of one thread are not ordered with those of another. `status` is what the
 * call comes to so far, and the error text its own; returned unless waiting fails first.
 */
aaclip_status aac_device_finish(const aac_dispatch *dispatch, aaclip_status status);

/*
 * Device memory with the contents of `host`, memory of aac_alloc that it takes over; NULL is out of
 * memory. *memory is NULL on failure.
 */
aaclip_status aac_device_adopt(const aac_dispatch *dispatch, void **memory, void *host,
                               size_t bytes);

/* A tensor's values as float32 in device memory; *values is NULL on failure. */
aaclip_status aac_device_vector(const aac_dispatch *dispatch, float **values,
                                const aac_tensor *tensor);

/*
 * Operations that are asked for again and again with the same memory. The second time they are
 * recorded where the backend can, from then on the recording is played; never while a profiler
 * runs. Zeros to begin with. For one thread at a time.
 */
typedef struct aac_device_routine {
    bool ran;
    int failed; /* recordings; after some it is not tried again */
    void *recording;
} aac_device_routine;

/* `operations` does what is always the same, and nothing else. */
aaclip_status aac_device_repeat(const aac_dispatch *dispatch, aac_device_routine *routine,
                                aaclip_status (*operations)(void *user), void *user);
void aac_device_routine_clear(const aac_dispatch *dispatch, aac_device_routine *routine);

/* Memory that both sides use: one and the same where the host reaches device memory. */
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
