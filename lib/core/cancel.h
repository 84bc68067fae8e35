/* Cancellation of this thread's calls: checked wherever they run long. */
#ifndef AAC_CORE_CANCEL_H
#define AAC_CORE_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <aaclip/cancel.h>
#include <aaclip/status.h>

#include "core/platform.h"

/* CANCELLED, with an error text, if the flag that this thread watches is raised or its deadline has
 * passed. */
aaclip_status aac_cancel_look(void);
/* The same for loops of small steps, counted from 0: checks every 256th. */
aaclip_status aac_cancel_look_at(size_t step);

/* Whether this thread watches a flag or has a deadline, so that it must not sleep for long. */
bool aac_cancel_is_watched(void);

/*
 * The calling thread's flag and deadline, shared with its helpers in a long operation: each asks
 * before a piece of work whether to skip it. Once one skips, all do, and the operation has no
 * result, even if the flag is lowered again.
 */
typedef struct aac_cancel_watch {
    const volatile int *flag;
    double deadline;
    atomic_int reason; /* why pieces are skipped, if any are */
} aac_cancel_watch;
void aac_cancel_share(aac_cancel_watch *watch);
bool aac_cancel_is_raised(aac_cancel_watch *watch); /* any thread */
/* When all are done: CANCELLED, with an error text, if anything was skipped. */
aaclip_status aac_cancel_end(aac_cancel_watch *watch);

/* Between these the thread ignores both: for work that must not be interrupted. They nest. */
void aac_cancel_hold(void);
void aac_cancel_release(void);

/*
 * Locks the mutex; CANCELLED if that happens while another thread holds it. INVALID_ARGUMENT if the
 * calling thread holds it, in a callback, or if a fork left behind the thread that held it: the
 * state that it guards is then unknown.
 */
aaclip_status aac_mutex_take(aac_mutex *mutex);

/* aac_condition_wait for a thread that may be cancelled: it returns from time to time. */
void aac_condition_wait_watching(aac_condition *condition, aac_mutex *mutex);

#endif
