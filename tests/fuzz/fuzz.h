/* The entry point that every fuzz target defines: libFuzzer's, or that of the replay. */
#ifndef AAC_TESTS_FUZZ_H
#define AAC_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a target with mutate_tensors.c has in front of its file of tensors, in bytes. */
size_t fuzz_prefix(const uint8_t *data, size_t size);

#endif
