/* How many threads the parallel loops of a call use. OpenMP underneath, shared with oneDNN. */
#ifndef AAC_CORE_THREADS_H
#define AAC_CORE_THREADS_H

#include "core/platform.h"

/* What the calling thread's parallel regions were like before. */
typedef struct aac_team {
    int threads, dynamic;
    aac_signals signals; /* blocked */
} aac_team;

/*
 * Sets the number for parallel regions that the calling thread starts. They get exactly that many:
 * oneDNN's products are wrong when fewer threads come than it was told. Until aac_threads_restore
 * signals wait, and so they do for good in threads that start meanwhile: kernels of oneDNN 2 keep
 * numbers further below the stack pointer than a signal handler's frame respects.
 */
aac_team aac_threads_set(int threads);
aac_team aac_threads_keep(void); /* the number as it is */
void aac_threads_restore(aac_team previous);
/* Lets those in that wait, where no such kernel runs in the calling thread; nothing in others. */
void aac_threads_admit_signals(void);
int aac_threads_limit(void); /* the most that OpenMP would start */
int aac_threads_index(void); /* of the calling thread within its parallel region */

#endif
