/*
 * What tests ask of the operating system and the library does not: folders to write in, special
 * files, limits. What a system lacks is told, so that the test skips itself by name.
 */
#ifndef TEST_SYSTEM_H
#define TEST_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>

/* A new empty folder among the system's temporary ones; free with free(). NULL on failure. */
char *system_temporary_folder(const char *stem);
/* 0, or -1 with errno. */
int system_make_folder(const char *path);
/* A file, or a folder with all in it; 0 or -1. */
int system_remove(const char *path);
/* Files in a folder. */
size_t system_count_files(const char *folder);
/* Cuts a file or fills it with zeros; 0 or -1. */
int system_resize_file(const char *path, size_t size);

/* Whether there are named pipes among files, limits to their size, names that are not UTF-8. */
bool system_is_posix(void);
/* A named pipe; 0 or -1. */
int system_make_pipe(const char *path);
/* The most bytes that a file of this process may have, 0 for no limit; 0 or -1. */
int system_limit_files(size_t bytes);

#endif
