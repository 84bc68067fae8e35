/* What a system gives to platform.c. On failure errno tells why, on Windows as well. */
#ifndef AAC_CORE_PLATFORM_PARTS_H
#define AAC_CORE_PLATFORM_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/platform.h"

typedef struct aac_folder aac_folder;
aac_folder *aac_folder_open(const char *path);
/* A name that lives until the next call, "." and ".." among them; NULL with errno 0 at the end. */
const char *aac_folder_next(aac_folder *folder);
void aac_folder_close(aac_folder *folder);

/* What stands at the path; errno is 0, or tells why nothing is seen there. */
aac_path_kind aac_path_look(const char *path);
/* What stands at the path that no file may replace, in words; NULL when nothing does. */
const char *aac_path_obstacle(const char *path);
/* Bytes of the path that name a drive: 2 for "C:" on Windows, else 0. */
size_t aac_path_drive(const char *path);
/* The file that a path stands for: where links lead, unless nothing is there. NULL when out of
 * memory. For aac_free. */
char *aac_path_target(const char *path);
/* A new file, open to write bytes; -1 when that fails, with EEXIST where something stands. */
int aac_file_create(const char *name);
/* The rights of the file that stands at `from`, if one does and the system keeps any. */
void aac_file_take_rights(int file, const char *from);
/* Open to write bytes at the end; made if it is not there; -1 when that fails. */
int aac_file_open_end(const char *path);
/* How many bytes were written, from 1 to `size`, which is at most 2^30; -1 when that fails. */
long aac_file_write(int file, const void *data, size_t size);
/* From the buffers of the system to the disk. */
bool aac_file_flush(int file);
/* The file is closed in any case. */
bool aac_file_close(int file);
/* Where the file ends; -1 when it has no end, as a pipe has none. */
int64_t aac_file_end(int file);
bool aac_file_cut(int file, int64_t end);
/* Renames in one step over a file that may stand there. */
bool aac_file_replace(const char *from, const char *to);
void aac_file_remove(const char *path);

#endif
