/*
 * Memory of one input, for the library and jansson: most of an input's time would be malloc's. It
 * finds what AddressSanitizer's finds: all but the bytes asked for is poisoned, nothing is used
 * again before the input ends, and nothing may be left then. Of the library's blocks it knows the
 * end, which the library's own alignment hides from others. For one thread.
 */
#ifndef AAC_TESTS_FUZZ_ARENA_H
#define AAC_TESTS_FUZZ_ARENA_H

/* From now on; what there is already is freed as it was made. */
void arena_start(void);
/* After an input: ends the program if it left a block. */
void arena_reset(void);

#endif
