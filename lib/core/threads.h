/* How many threads the parallel loops of a call use. OpenMP underneath, shared with oneDNN. */
#ifndef AAC_CORE_THREADS_H
#define AAC_CORE_THREADS_H

#include "core/platform.h"

/* The previous settings of the calling thread's parallel regions. */
typedef struct aac_team {
    int threads, dynamic;
    aac_signals signals; /* blocked */
} aac_team;

/*
 * Sets the number for parallel regions that the calling thread starts. They get exactly that many,
 * or as many as aac_threads_granted says: fewer if the system does not allow the thread more now.
 * Signals are blocked until aac_threads_restore, and permanently in threads that start meanwhile:
 * kernels of oneDNN 2 keep data below the stack pointer, beyond the red zone that signal handlers
 * respect.
 */
aac_team aac_threads_set(int threads);
aac_team aac_threads_keep(void); /* keeps the current number */
void aac_threads_restore(aac_team previous);
int aac_threads_granted(void);
/* As many of these as the system allows the calling thread now; none stays. */
int aac_threads_possible(int threads);
/* Delivers pending signals while no such kernel runs in the calling thread; does nothing in other
 * threads. */
void aac_threads_admit_signals(void);
int aac_threads_limit(void); /* the most that OpenMP would use */
int aac_threads_index(void); /* of the calling thread within its parallel region */

#endif
