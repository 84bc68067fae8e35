/* The folder where a fuzz target writes its input as a file. */
#ifndef AAC_TESTS_FUZZ_SCRATCH_H
#define AAC_TESTS_FUZZ_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

/* Created at the first call, removed with all files when the process ends. */
const char *fuzz_folder(void);
/* Writes a file into it; the path is for aac_free. */
char *fuzz_write(const char *name, const uint8_t *data, size_t size);
/* Bytes of a file, to be freed with free(); ends the program if it cannot be read. */
uint8_t *fuzz_read(const char *path, size_t *size);

#endif
