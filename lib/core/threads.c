#include "core/threads.h"

#include <omp.h>
#include <pthread.h>

/* All that come from outside; a fault of the thread itself must end it as ever. */
static void block_signals(sigset_t *previous)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t signals;
    sigfillset(&signals);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&signals, own[i]);
    pthread_sigmask(SIG_BLOCK, &signals, previous);
}

aac_team aac_threads_set(int threads)
{
    aac_team previous = {.threads = omp_get_max_threads(), .dynamic = omp_get_dynamic()};
    block_signals(&previous.signals);
    omp_set_num_threads(threads);
    omp_set_dynamic(0);
    return previous;
}

void aac_threads_restore(aac_team previous)
{
    omp_set_num_threads(previous.threads);
    omp_set_dynamic(previous.dynamic);
    pthread_sigmask(SIG_SETMASK, &previous.signals, NULL);
}

aac_team aac_threads_keep(void)
{
    return aac_threads_set(omp_get_max_threads());
}

int aac_threads_limit(void)
{
    return omp_get_max_active_levels() > 0 ? omp_get_thread_limit() : 1;
}

int aac_threads_index(void)
{
    return omp_get_thread_num();
}
