/* Whether calls of this thread shall end: looked at wherever they run long. */
#ifndef AAC_CORE_CANCEL_H
#define AAC_CORE_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <aaclip/cancel.h>
#include <aaclip/status.h>

#include "core/platform.h"

/* CANCELLED, with a text, when the flag that this thread watches is raised. */
aaclip_status aac_cancel_look(void);
/* The same for loops of small steps, counted from 0: it looks at every 256th. */
aaclip_status aac_cancel_look_at(size_t step);

/* Whether this thread watches a flag, so that it must not sleep for long. */
bool aac_cancel_is_watched(void);

/*
 * What the calling thread watches, for those that help it in a long operation: each asks before a
 * piece of work whether it is to be left out. Once that is so for one, it is so for all, and the
 * operation's result is none, whatever becomes of the flag.
 */
typedef struct aac_cancel_watch {
    const volatile int *flag;
    atomic_bool raised;
} aac_cancel_watch;
void aac_cancel_share(aac_cancel_watch *watch);
bool aac_cancel_is_raised(aac_cancel_watch *watch); /* any thread */
/* When all are done: CANCELLED, with a text, if something was left out. */
aaclip_status aac_cancel_end(aac_cancel_watch *watch);

/* Between them the thread sees no flag: for what must not be left half done. They nest. */
void aac_cancel_hold(void);
void aac_cancel_release(void);

/*
 * The mutex, locked; or CANCELLED, where another thread keeps it meanwhile. INVALID_ARGUMENT when a
 * fork left behind the thread that had it: nobody knows in what state.
 */
aaclip_status aac_mutex_take(aac_mutex *mutex);

/* aac_condition_wait for a thread that may watch a flag: it ends every now and then. */
void aac_condition_wait_watching(aac_condition *condition, aac_mutex *mutex);

#endif
