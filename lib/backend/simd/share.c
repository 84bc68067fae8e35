/* How the tasks of an operation are shared out among threads. */
#include <stdatomic.h>

#include "backend/simd/simd.h"

#define MOST_SHARES 64

void aac_simd_share_out(int threads, int64_t groups, int64_t count, aac_simd_task *run,
                        const void *context)
{
    _Atomic int64_t next[MOST_SHARES] = {0}; /* next task of each share */
    int64_t shares = threads < MOST_SHARES ? threads : MOST_SHARES;
    shares = groups < shares ? groups : shares;
#pragma omp parallel
    for (int64_t i = 0, own = aac_threads_index(); i < shares; i++) {
        int64_t share = (own + i) % shares, first = groups * share / shares;
        int64_t tasks = (groups * (share + 1) / shares - first) * count;
        for (int64_t task = atomic_fetch_add(&next[share], 1); task < tasks;
             task = atomic_fetch_add(&next[share], 1))
            run(context, first + task / count, task % count);
    }
}
