#include "core/threads.h"

#include <omp.h>

int aac_threads_set(int threads)
{
    int previous = omp_get_max_threads();
    omp_set_num_threads(threads);
    return previous;
}

int aac_threads_index(void)
{
    return omp_get_thread_num();
}
