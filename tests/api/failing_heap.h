/* An allocator that counts, and fails where told to. */
#ifndef TEST_API_FAILING_HEAP_H
#define TEST_API_FAILING_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* Makes the library allocate here for the life of the process. */
void heap_install(void);
/* Its two calls, for another library's hooks. */
void *heap_allocate(size_t size, void *user);
void heap_free(void *pointer, void *user);
int heap_open_count(void); /* allocations that have not been freed */

/* From now on allocation `fail_at` (from 0; -1: none) fails; `fail_after`: all later ones, too. */
void heap_arm(int fail_at, bool fail_after);
/* Ends that; returns the number of allocations requested. */
int heap_disarm(void);

/* One run of a test: prepares, arms, calls, disarms, checks. Returns the result of heap_disarm. */
typedef int (*heap_run)(int fail_at, bool fail_after, const void *user);

/*
 * Runs without failures, then with each of the first allocations and evenly spaced later ones (all,
 * if AACLIP_TEST_EVERY_ALLOCATION is in the environment) failing, alone and with all after it.
 */
void fail_each_allocation(const char *name, heap_run run, const void *user);

#endif
