#include "core/cancel.h"

#include "core/error.h"
#include "core/threads.h"

#define NAP 0.01 /* seconds between checks while waiting */

static AAC_THREAD_LOCAL const volatile int *watched;
static AAC_THREAD_LOCAL int holds;

const volatile int *aaclip_watch_cancel(const volatile int *flag)
{
    const volatile int *before = watched;
    watched = flag;
    return before;
}

static bool is_raised(void)
{
    return watched && !holds && __atomic_load_n(watched, __ATOMIC_RELAXED) != 0;
}

static aaclip_status cancelled(void)
{
    return aac_error(AACLIP_ERROR_CANCELLED, "cancelled");
}

aaclip_status aac_cancel_look(void)
{
    return is_raised() ? cancelled() : AACLIP_OK;
}

aaclip_status aac_cancel_look_at(size_t step)
{
    return step % 256 ? AACLIP_OK : aac_cancel_look();
}

void aac_cancel_share(aac_cancel_watch *watch)
{
    watch->flag = holds ? NULL : watched;
    atomic_init(&watch->raised, false);
}

bool aac_cancel_is_raised(aac_cancel_watch *watch)
{
    if (!watch->flag)
        return false;
    if (atomic_load_explicit(&watch->raised, memory_order_relaxed))
        return true;
    aac_threads_admit_signals(); /* the flag may be raised by a signal handler */
    if (__atomic_load_n(watch->flag, __ATOMIC_RELAXED) == 0)
        return false;
    atomic_store_explicit(&watch->raised, true, memory_order_relaxed);
    return true;
}

aaclip_status aac_cancel_end(aac_cancel_watch *watch)
{
    return atomic_load(&watch->raised) ? cancelled() : AACLIP_OK;
}

bool aac_cancel_is_watched(void)
{
    return watched && !holds;
}

void aac_cancel_hold(void)
{
    holds++;
}

void aac_cancel_release(void)
{
    holds--;
}

aaclip_status aac_mutex_take(aac_mutex *mutex)
{
    if (aac_mutex_is_orphan(mutex))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "this process was forked while another thread was using the handle; open "
                         "it in this process");
    if (aac_mutex_is_own(mutex))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "a callback cannot make this call: the one that runs it is still using "
                         "the handle");
    if (!aac_cancel_is_watched()) {
        aac_mutex_lock(mutex);
        return AACLIP_OK;
    }
    aaclip_status status = AACLIP_OK;
    while (!status && !aac_mutex_try(mutex)) {
        aac_sleep(NAP);
        status = aac_cancel_look();
    }
    return status;
}

void aac_condition_wait_watching(aac_condition *condition, aac_mutex *mutex)
{
    if (aac_cancel_is_watched())
        aac_condition_wait_for(condition, mutex, NAP);
    else
        aac_condition_wait(condition, mutex);
}
