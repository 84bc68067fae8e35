/* Mutators that keep lengths and checksums valid, which random bytes never would. */
#ifndef AAC_TESTS_FUZZ_MUTATE_H
#define AAC_TESTS_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's own. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed);

/* Mutators for one kind of file each; 0 if the data are not of that kind. */
size_t fuzz_mutate_safetensors(uint8_t *data, size_t size, size_t capacity, unsigned seed);
size_t fuzz_mutate_zip(uint8_t *data, size_t size, size_t capacity, unsigned seed);

#endif
