/* What a system gives to platform.c. On failure errno tells why, on Windows as well. */
#ifndef AAC_CORE_PLATFORM_PARTS_H
#define AAC_CORE_PLATFORM_PARTS_H

#include <stdbool.h>
#include <stdio.h>

typedef struct aac_folder aac_folder;
aac_folder *aac_folder_open(const char *path);
/* A name that lives until the next call, "." and ".." among them; NULL with errno 0 at the end. */
const char *aac_folder_next(aac_folder *folder);
void aac_folder_close(aac_folder *folder);

/* What stands at the path that no file may replace, in words; NULL when nothing does. */
const char *aac_path_obstacle(const char *path);
/*
 * Creates a file whose name is `path` with a suffix that no other file there has, open to write
 * bytes. `name` has room for AAC_SUFFIX_SIZE more than the path.
 */
#define AAC_SUFFIX_SIZE 16
FILE *aac_file_create_beside(char *name, const char *path);
/* From the buffers of the program and of the system to the disk. */
bool aac_file_flush(FILE *file);
/* Renames in one step over a file that may stand there. */
bool aac_file_replace(const char *from, const char *to);
void aac_file_remove(const char *path);

#endif
