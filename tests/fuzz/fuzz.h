/* What every fuzz target defines; called by libfuzzer.c or replay.c. */
#ifndef AAC_TESTS_FUZZ_H
#define AAC_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* One input. The first call has an empty input and does the one-time setup. */
void fuzz_one(const uint8_t *data, size_t size);

/* Bytes before the tensor file in the input of a target that uses mutate_tensors.c. */
size_t fuzz_prefix(const uint8_t *data, size_t size);

#endif
