/* A temporary folder for the files that a test writes. */
#ifndef TEST_API_SCRATCH_H
#define TEST_API_SCRATCH_H

#include <stddef.h>

/* cmocka setup and teardown: *state is the folder's path; it is removed with all files. */
int scratch_make(void **state);
int scratch_remove(void **state);

typedef struct scratch_file {
    char path[300];
} scratch_file;

scratch_file scratch_path(const char *folder, const char *name);
void scratch_write(const char *path, const char *text);
/* Overwrites the first value of a float32 tensor of a safetensors file. */
void scratch_write_value(const char *path, const char *tensor, float value);
/* Number of files in the folder. */
size_t scratch_count(const char *folder);

#endif
