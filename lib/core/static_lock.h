/* A lock in static storage that a fork cannot leave closed. */
#ifndef AAC_CORE_STATIC_LOCK_H
#define AAC_CORE_STATIC_LOCK_H

#include <stdatomic.h>

#include "core/platform.h"

/* Zero: open; else 1 + the number of forks of the process whose thread holds it. */
typedef atomic_uint aac_static_lock;

/* Waits in short naps, for what takes moments. What a thread left behind by a fork has locked is
 * taken over: what the lock guards must be whole at any time. */
static inline void aac_static_lock_take(aac_static_lock *lock)
{
    const double nap = 1e-6;
    const unsigned own = aac_forks() + 1;
    unsigned found = 0;
    while (!atomic_compare_exchange_weak(lock, &found, own))
        if (found == own) {
            aac_sleep(nap);
            found = 0;
        }
}

static inline void aac_static_lock_release(aac_static_lock *lock)
{
    atomic_store(lock, 0);
}

#endif
