/* An allocator whose n-th allocation fails: callers must report it and leak nothing. */
#ifndef TEST_FAILING_ALLOCATOR_H
#define TEST_FAILING_ALLOCATOR_H

#include <aaclip/status.h>

/*
 * Runs `work` with the first, second, third ... allocation failing, until it succeeds. Asserts that
 * each failure is OUT_OF_MEMORY and that all memory is freed; returns the number of failed runs.
 */
int fail_each_allocation(aaclip_status (*work)(void *user), void *user);

#endif
