#include "core/threads.h"

#include <omp.h>

/*
 * GCC's runtime keeps a team for each thread that computes, and a forked process would wait for the
 * team of the thread it continues. LLVM's handles forks itself.
 */
static void end_idle_team(void)
{
#ifndef KMP_VERSION_MAJOR
    omp_pause_resource_all(omp_pause_hard);
#endif
}

/* The calling thread's nesting depth of teams, and its signal mask before the first. */
static AAC_THREAD_LOCAL int depth;
static AAC_THREAD_LOCAL aac_signals of_program;

aac_team aac_threads_set(int threads)
{
    aac_forks_watch(end_idle_team);
    aac_team previous = {.threads = omp_get_max_threads(), .dynamic = omp_get_dynamic()};
    aac_signals_block(&previous.signals);
    if (depth++ == 0)
        of_program = previous.signals;
    omp_set_num_threads(threads);
    omp_set_dynamic(0);
    return previous;
}

void aac_threads_restore(aac_team previous)
{
    omp_set_num_threads(previous.threads);
    omp_set_dynamic(previous.dynamic);
    aac_signals_restore(&previous.signals);
    depth--;
}

void aac_threads_admit_signals(void)
{
    if (!depth)
        return;
    aac_signals blocked;
    aac_signals_restore(&of_program);
    aac_signals_block(&blocked);
}

aac_team aac_threads_keep(void)
{
    return aac_threads_set(omp_get_max_threads());
}

int aac_threads_limit(void)
{
    aac_forks_watch(end_idle_team);
    return omp_get_max_active_levels() > 0 ? omp_get_thread_limit() : 1;
}

int aac_threads_index(void)
{
    return omp_get_thread_num();
}
