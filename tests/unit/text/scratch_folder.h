/* A temporary folder for the files that a test writes. */
#ifndef TEST_SCRATCH_FOLDER_H
#define TEST_SCRATCH_FOLDER_H

#include <stddef.h>

/* cmocka setup and teardown: *state is the folder's path; it is removed with all files. */
int scratch_folder_make(void **state);
int scratch_folder_remove(void **state);

/* Writes a file and returns its path; free with aac_free. */
char *scratch_file(const char *folder, const char *name, const void *data, size_t size);
char *scratch_text(const char *folder, const char *name, const char *text);

/* Overwrites an existing file as `cp` does: rewrites its first byte, which updates its time. */
void scratch_write_over(const char *path);

#endif
