/* How many threads the parallel loops of a call use. OpenMP underneath, shared with oneDNN. */
#ifndef AAC_CORE_THREADS_H
#define AAC_CORE_THREADS_H

/* Sets the number for parallel regions that the calling thread starts; returns the previous one. */
int aac_threads_set(int threads);
int aac_threads_index(void); /* of the calling thread within its parallel region */

#endif
