/*
 * The library's cancellation code, compiled again with each check of the flag counted. A program
 * linked with this object does not take the library's own.
 */
#include "counted_looks.h"

static int raised, looks, raising;

static int look_at(const volatile int *watched)
{
    if (watched == &raised && __atomic_fetch_add(&looks, 1, __ATOMIC_RELAXED) == raising)
        __atomic_store_n(&raised, 1, __ATOMIC_RELAXED);
    return __atomic_load_n(watched, __ATOMIC_RELAXED);
}

#define __atomic_load_n(pointer, order) look_at(pointer)
#include "core/cancel.c"

void looks_arm(int raised_at)
{
    raised = looks = 0;
    raising = raised_at;
    aaclip_watch_cancel(&raised);
}

int looks_disarm(void)
{
    aaclip_watch_cancel(NULL);
    return looks;
}
