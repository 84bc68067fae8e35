/* An allocator whose n-th allocation fails: every caller must then report and leak nothing. */
#ifndef TEST_FAILING_ALLOCATOR_H
#define TEST_FAILING_ALLOCATOR_H

#include <aaclip/status.h>

/*
 * Runs `work` with the first, the second, the third ... allocation failing, until it succeeds.
 * Asserts that each failure is OUT_OF_MEMORY and that all memory came back; returns the number of
 * runs that failed.
 */
int fail_each_allocation(aaclip_status (*work)(void *user), void *user);

#endif
