/* How many threads the parallel loops of a call use. OpenMP underneath, shared with oneDNN. */
#ifndef AAC_CORE_THREADS_H
#define AAC_CORE_THREADS_H

/* What the calling thread's parallel regions were like before. */
typedef struct aac_team {
    int threads, dynamic;
} aac_team;

/*
 * Sets the number for parallel regions that the calling thread starts. They get exactly that many:
 * oneDNN's products are wrong when fewer threads come than it was told.
 */
aac_team aac_threads_set(int threads);
void aac_threads_restore(aac_team previous);
int aac_threads_limit(void); /* the most that OpenMP would start */
int aac_threads_index(void); /* of the calling thread within its parallel region */

#endif
