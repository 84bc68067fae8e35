#include "core/threads.h"

#include <omp.h>

aac_team aac_threads_set(int threads)
{
    const aac_team previous = {omp_get_max_threads(), omp_get_dynamic()};
    omp_set_num_threads(threads);
    omp_set_dynamic(0);
    return previous;
}

void aac_threads_restore(aac_team previous)
{
    omp_set_num_threads(previous.threads);
    omp_set_dynamic(previous.dynamic);
}

int aac_threads_limit(void)
{
    return omp_get_max_active_levels() > 0 ? omp_get_thread_limit() : 1;
}

int aac_threads_index(void)
{
    return omp_get_thread_num();
}
