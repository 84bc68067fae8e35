#include "core/cancel.h"

#include <math.h>

#include "core/error.h"
#include "core/threads.h"

#define NAP 0.01 /* seconds between checks while waiting */

/* Why a call ends. */
enum { GOES_ON, BY_FLAG, BY_DEADLINE };

static AAC_THREAD_LOCAL const volatile int *watched;
static AAC_THREAD_LOCAL double deadline = INFINITY; /* by aac_seconds_now */
static AAC_THREAD_LOCAL int holds;

const volatile int *aaclip_watch_cancel(const volatile int *flag)
{
    const volatile int *before = watched;
    watched = flag;
    return before;
}

double aaclip_set_deadline(double seconds)
{
    const double now = aac_seconds_now(), left = deadline - now;
    deadline = isnan(seconds) ? INFINITY : now + seconds;
    return left;
}

static int reason_of(const volatile int *flag, double end)
{
    if (flag && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0)
        return BY_FLAG;
    return end < INFINITY && aac_seconds_now() >= end ? BY_DEADLINE : GOES_ON;
}

static aaclip_status end_for(int reason)
{
    if (reason == GOES_ON)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_CANCELLED, "cancelled: %s",
                     reason == BY_FLAG ? "the flag was raised" : "the deadline passed");
}

aaclip_status aac_cancel_look(void)
{
    return holds ? AACLIP_OK : end_for(reason_of(watched, deadline));
}

aaclip_status aac_cancel_look_at(size_t step)
{
    return step % 256 ? AACLIP_OK : aac_cancel_look();
}

void aac_cancel_share(aac_cancel_watch *watch)
{
    watch->flag = holds ? NULL : watched;
    watch->deadline = holds ? INFINITY : deadline;
    atomic_init(&watch->reason, GOES_ON);
}

bool aac_cancel_is_raised(aac_cancel_watch *watch)
{
    if (!watch->flag && !(watch->deadline < INFINITY))
        return false;
    if (atomic_load_explicit(&watch->reason, memory_order_relaxed) != GOES_ON)
        return true;
    if (watch->flag)
        aac_threads_admit_signals(); /* it may be raised by a signal handler */
    const int reason = reason_of(watch->flag, watch->deadline);
    if (reason == GOES_ON)
        return false;
    atomic_store_explicit(&watch->reason, reason, memory_order_relaxed);
    return true;
}

aaclip_status aac_cancel_end(aac_cancel_watch *watch)
{
    return end_for(atomic_load(&watch->reason));
}

bool aac_cancel_is_watched(void)
{
    return (watched || deadline < INFINITY) && !holds;
}

void aac_cancel_hold(void)
{
    holds++;
}

void aac_cancel_release(void)
{
    holds--;
}

/* Not beyond the deadline. */
static double next_nap(void)
{
    const double left = deadline < INFINITY ? deadline - aac_seconds_now() : NAP;
    return left < 0 ? 0 : left < NAP ? left : NAP;
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
        aac_sleep(next_nap());
        status = aac_cancel_look();
    }
    return status;
}

void aac_condition_wait_watching(aac_condition *condition, aac_mutex *mutex)
{
    if (aac_cancel_is_watched())
        aac_condition_wait_for(condition, mutex, next_nap());
    else
        aac_condition_wait(condition, mutex);
}
