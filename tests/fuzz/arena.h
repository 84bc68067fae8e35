/*
 * Memory for one input, used by the library and jansson: malloc would take most of an input's time.
 * Detects what AddressSanitizer's allocator does: everything but the requested bytes is poisoned,
 * nothing is reused until the input ends, and nothing may be left then. It knows the exact end of
 * the library's blocks, which the library's alignment hides from other allocators. For one thread.
 */
#ifndef AAC_TESTS_FUZZ_ARENA_H
#define AAC_TESTS_FUZZ_ARENA_H

/* Starts now; existing blocks are still freed by their own allocator. */
void arena_start(void);
/* After an input: aborts the program if a block is left. */
void arena_reset(void);

#endif
