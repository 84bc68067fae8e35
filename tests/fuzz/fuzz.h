/* What every fuzz target defines. libfuzzer.c calls it, or replay.c. */
#ifndef AAC_TESTS_FUZZ_H
#define AAC_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* One input. What the target makes once, it makes at the first call, whose input is empty. */
void fuzz_one(const uint8_t *data, size_t size);

/* What a target with mutate_tensors.c has in front of its file of tensors, in bytes. */
size_t fuzz_prefix(const uint8_t *data, size_t size);

#endif
