/* What each system provides for platform.c. On failure errno tells why, also on Windows. */
#ifndef AAC_CORE_PLATFORM_PARTS_H
#define AAC_CORE_PLATFORM_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/platform.h"

typedef struct aac_folder aac_folder;
aac_folder *aac_folder_open(const char *path);
/* The next name, "." and ".." included, valid until the next call; NULL with errno 0 at the end. */
const char *aac_folder_next(aac_folder *folder);
void aac_folder_close(aac_folder *folder);

/* What is at the path; errno is 0, or tells why nothing is found there. */
aac_path_kind aac_path_look(const char *path);
/* A description of what is at the path if no file may replace it; else NULL. */
const char *aac_path_obstacle(const char *path);
/* Bytes of the path that name a drive: 2 for "C:" on Windows, else 0. */
size_t aac_path_drive(const char *path);
/* The file that a path resolves to: links are followed unless they are broken. NULL when out of
 * memory. Free with aac_free. */
char *aac_path_target(const char *path);
/* A new file, open for binary writing; -1 on failure, with EEXIST if the name is taken. It has the
 * permissions of the file at `from`, if there is one and the system has them, and never more. */
int aac_file_create(const char *name, const char *from);
/* Opens for binary appending, creating the file if needed; -1 on failure. */
int aac_file_open_end(const char *path);
/* The number of bytes written, from 1 to `size`, which is at most 2^30; -1 on failure. */
long aac_file_write(int file, const void *data, size_t size);
/* The next write goes to `offset` from the beginning. */
bool aac_file_seek(int file, int64_t offset);
/* Flushes the system's buffers to disk. */
bool aac_file_flush(int file);
/* The file is closed in any case. */
bool aac_file_close(int file);
/* The file's end; -1 if it has none, such as a pipe. */
int64_t aac_file_end(int file);
bool aac_file_cut(int file, int64_t end);
/* Renames atomically, replacing any file there. */
bool aac_file_replace(const char *from, const char *to);
void aac_file_remove(const char *path);

#endif
