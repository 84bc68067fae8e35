/* An allocator that counts, and fails where it is told to. */
#ifndef TEST_API_FAILING_HEAP_H
#define TEST_API_FAILING_HEAP_H

#include <stdbool.h>

/* Makes the library allocate here, for as long as the process lives. */
void heap_install(void);
int heap_open_count(void); /* allocations that have not been freed */

/* From here on allocation `fail_at` (from 0; -1: none) fails, and with `fail_after` all behind. */
void heap_arm(int fail_at, bool fail_after);
/* Ends that; returns the number of allocations that were asked for. */
int heap_disarm(void);

/* One run of what is tested: prepares, arms, calls, disarms, checks. Returns heap_disarm's. */
typedef int (*heap_run)(int fail_at, bool fail_after, const void *user);

/*
 * Runs with no allocation failing, then with each of the first ones and evenly chosen later ones
 * (all, where the environment has AACLIP_TEST_EVERY_ALLOCATION) failing, alone and with all behind
 * it.
 */
void fail_each_allocation(const char *name, heap_run run, const void *user);

#endif
