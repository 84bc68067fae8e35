#include "cancel.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

typedef struct raiser {
    atomic_int flag;
    double delay, raised_at;
} raiser;

static void *raise_later(void *user)
{
    raiser *own = user;
    double whole;
    struct timespec time = {.tv_nsec = (long)(1e9 * modf(own->delay, &whole))};
    time.tv_sec = (time_t)whole;
    nanosleep(&time, NULL);
    own->raised_at = seconds_now();
    atomic_store(&own->flag, 1);
    return NULL;
}

static aaclip_status cancel_after(double delay, aaclip_status (*call)(void *user), void *user,
                                  double *seconds)
{
    raiser other = {.flag = 0, .delay = delay};
    pthread_t thread;
    if (pthread_create(&thread, NULL, raise_later, &other) != 0)
        return AACLIP_ERROR_OUT_OF_MEMORY;
    aaclip_watch_cancel((const volatile int *)&other.flag);
    aaclip_status status = call(user);
    double ended_at = seconds_now();
    aaclip_watch_cancel(NULL);
    pthread_join(thread, NULL);
    *seconds = ended_at - other.raised_at;
    return status;
}

aaclip_status measure_cancels(report *run, const char *figure, aaclip_status (*call)(void *user),
                              void *user)
{
    double started = seconds_now(), seconds;
    aaclip_status status = call(user);
    double length = seconds_now() - started;
    progress_bar bar;
    progress_start(&bar, figure);
    for (int i = 0; !status && i < CANCELS; i++) {
        status = cancel_after(length * (i + 0.5) / CANCELS, call, user, &seconds);
        if (status == AACLIP_ERROR_CANCELLED) {
            report_value(run, figure, "s", "less", seconds);
            status = AACLIP_OK;
        }
        progress_update(&bar, (size_t)i + 1, CANCELS);
    }
    progress_end(&bar);
    return status;
}
