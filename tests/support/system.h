/*
 * Operating system services that tests need and the library does not: temporary folders, special
 * files, limits. Missing ones are reported, so that tests can skip themselves by name.
 */
#ifndef TEST_SYSTEM_H
#define TEST_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>

/* A new empty folder in the system's temporary folder; free with free(). NULL on failure. */
char *system_temporary_folder(const char *stem);
/* 0, or -1 with errno. */
int system_make_folder(const char *path);
/* Removes a file, or a folder with its contents; 0 or -1. */
int system_remove(const char *path);
/* Files in a folder. */
size_t system_count_files(const char *folder);
/* Truncates a file or extends it with zeros; 0 or -1. */
int system_resize_file(const char *path, size_t size);

/* Whether the system has named pipes, file size limits and file names that are not UTF-8. */
bool system_is_posix(void);
/* A named pipe; 0 or -1. */
int system_make_pipe(const char *path);
/* Limits the size of this process's files, 0 for no limit; returns 0 or -1. */
int system_limit_files(size_t bytes);

#endif
