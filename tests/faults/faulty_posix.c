/*
 * The library's file layer, compiled again with its system calls routed through faulty_calls.c. A
 * program linked with this object does not take the library's own, which has no such hooks.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faulty_calls.h"

#undef open
#undef stat
#undef fstat
#undef read
#undef mmap
#define open(path, flags, mode)        faulty_open(path, flags, mode)
#define fstat(file, info)              faulty_fstat(file, info)
#define stat(path, info)               faulty_stat(path, info)
#define read(file, data, size)         faulty_read(file, data, size)
#define write(file, data, size)        faulty_write(file, data, size)
#define mmap(start, size, a, b, f, at) faulty_mmap(start, size, a, b, f, at)
#define munmap(start, size)            faulty_munmap(start, size)
#define fsync(file)                    faulty_fsync(file)
#define close(file)                    faulty_close(file)
#define rename(from, to)               faulty_rename(from, to)
#define opendir(path)                  faulty_opendir(path)
#define readdir(folder)                faulty_readdir(folder)
#define closedir(folder)               faulty_closedir(folder)
#define realpath(path, resolved)       faulty_realpath(path, resolved)

#include "core/posix/files.c"
