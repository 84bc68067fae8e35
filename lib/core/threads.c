#include "core/threads.h"

#include <omp.h>
#include <stdatomic.h>

#include "core/error.h"
#include "core/static_lock.h"

/*
 * OpenMP's runtimes end the process when a thread cannot be created, so the first regions of a
 * calling thread are tried beforehand with plain threads. `proved` is the largest team that it has
 * had since; `kept`, the smallest, is what its runtime still has threads for.
 */
static AAC_THREAD_LOCAL int proved, kept;
static AAC_THREAD_LOCAL double refused; /* when the system last allowed fewer; 0: never */

#define SECONDS_BETWEEN_TRIALS 0.1

/*
 * GCC's runtime keeps a team for each thread that computes, and a forked process would wait for the
 * team of the thread it continues. LLVM's handles forks itself.
 */
static void end_idle_team(void)
{
    proved = kept = 0;
    refused = 0;
#ifndef KMP_VERSION_MAJOR
    omp_pause_resource_all(omp_pause_hard);
#endif
}

/* The calling thread's nesting depth of teams, and its signal mask before the first. */
static AAC_THREAD_LOCAL int depth;
static AAC_THREAD_LOCAL aac_signals of_program;

/* One trial at a time, until its team is there: two could count on the same threads. */
static aac_static_lock trying; /* guards nothing that could be half done */

/* The largest team up to `threads` that the calling thread can have now. */
static int largest_team(int threads)
{
    const int ready = kept > 1 ? kept : 1;
    return threads <= ready ? threads : ready + aac_threads_try(threads - ready);
}

static void start_team(int threads)
{
    int running = 0;
#pragma omp parallel num_threads(threads) reduction(+ : running)
    running++;
    (void)running, (void)threads; /* without OpenMP */
}

static void grow_team(int threads)
{
    aac_static_lock_take(&trying);
    proved = kept = largest_team(threads);
    start_team(proved);
    aac_static_lock_release(&trying);
    refused = proved < threads ? aac_seconds_now() : 0;
}

/* Once per process. */
static void tell(int possible, int threads)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    if (possible < threads && !atomic_flag_test_and_set(&told))
        aac_log(AACLIP_LOG_WARNING,
                "the system allows %d of %d threads (limits of processes, tasks or memory): "
                "continuing with %d",
                possible, threads, possible);
}

/* The size of the team for which `threads` are wanted. */
static int grant(int threads)
{
    if (threads <= 1 || omp_in_parallel())
        return threads;
    if (threads > proved &&
        (refused <= 0 || aac_seconds_now() >= refused + SECONDS_BETWEEN_TRIALS)) {
        grow_team(threads);
        tell(proved, threads);
    }
    const int granted = threads < proved ? threads : proved;
    if (granted < kept)
        kept = granted;
    return granted;
}

aac_team aac_threads_set(int threads)
{
    aac_forks_watch(end_idle_team);
    aac_team previous = {.threads = omp_get_max_threads(), .dynamic = omp_get_dynamic()};
    aac_signals_block(&previous.signals);
    if (depth++ == 0)
        of_program = previous.signals;
    omp_set_dynamic(0);
    omp_set_num_threads(grant(threads));
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

int aac_threads_granted(void)
{
    return omp_get_max_threads();
}

int aac_threads_possible(int threads)
{
    aac_signals previous;
    aac_signals_block(&previous);
    aac_static_lock_take(&trying);
    const int possible = largest_team(threads);
    aac_static_lock_release(&trying);
    aac_signals_restore(&previous);
    tell(possible, threads);
    return possible;
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
