#define _GNU_SOURCE

#include "faulty_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_FILES  1024
#define SUFFIX_SIZE 7 /* of a file that is still being written */

struct open_file {
    char path[4096];
    bool appended, written;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* loaders read in threads of their own */
static struct open_file files[MOST_FILES];
static struct {
    file_fault fault;
    fault_victim victim;
    int counts[CALL_COUNT], open;
} calls = {.fault = {.at = -1}};

const char *faulty_call_name(faulty_call call)
{
    static const char *const names[CALL_COUNT] = {
        [CALL_OPEN] = "open",      [CALL_FSTAT] = "fstat",  [CALL_STAT] = "stat",
        [CALL_READ] = "read",      [CALL_MAP] = "mmap",     [CALL_WRITE] = "write",
        [CALL_FLUSH] = "fsync",    [CALL_CLOSE] = "close",  [CALL_RENAME] = "rename",
        [CALL_FOLDER] = "opendir", [CALL_LIST] = "readdir", [CALL_RESOLVE] = "realpath",
    };
    return names[call];
}

void faults_arm(const file_fault *fault)
{
    pthread_mutex_lock(&mutex);
    calls.fault = *fault;
    calls.victim = (fault_victim){.hit = false};
    memset(calls.counts, 0, sizeof calls.counts);
    pthread_mutex_unlock(&mutex);
}

fault_victim faults_disarm(int *counts)
{
    pthread_mutex_lock(&mutex);
    calls.fault.at = -1;
    fault_victim victim = calls.victim;
    if (counts)
        memcpy(counts, calls.counts, sizeof calls.counts);
    pthread_mutex_unlock(&mutex);
    return victim;
}

int faults_open_count(void)
{
    pthread_mutex_lock(&mutex);
    int open = calls.open;
    pthread_mutex_unlock(&mutex);
    return open;
}

static void count_open(int change)
{
    pthread_mutex_lock(&mutex);
    calls.open += change;
    pthread_mutex_unlock(&mutex);
}

/* Counts a call; whether it is the one that goes wrong, and how. */
static bool strikes(faulty_call call, const struct open_file *about, fault_kind *kind)
{
    pthread_mutex_lock(&mutex);
    const file_fault *fault = &calls.fault;
    int number = calls.counts[call]++;
    bool hit = call == fault->call && (number == fault->at || (fault->at == -2 && number % 2 == 0));
    bool after_half = call == fault->call && fault->kind == FAULT_HALF && number == fault->at + 1 &&
                      fault->at >= 0;
    if (hit || after_half) {
        *kind = after_half ? FAULT_ERROR : fault->kind;
        calls.victim.hit = true;
        calls.victim.appended = about->appended;
        calls.victim.written = about->written;
        memcpy(calls.victim.path, about->path, sizeof calls.victim.path);
        errno = fault->error;
    }
    pthread_mutex_unlock(&mutex);
    return hit || after_half;
}

static struct open_file about_path(const char *path)
{
    struct open_file about = {.appended = false};
    snprintf(about.path, sizeof about.path, "%s", path);
    return about;
}

static bool strikes_path(faulty_call call, const char *path)
{
    fault_kind kind;
    const struct open_file about = about_path(path);
    return strikes(call, &about, &kind);
}

static bool strikes_file(faulty_call call, int file, fault_kind *kind)
{
    return strikes(call, &files[file], kind);
}

int faulty_open(const char *path, int flags, mode_t mode)
{
    fault_kind kind;
    struct open_file about = about_path(path);
    about.appended = (flags & O_APPEND) != 0;
    about.written = (flags & O_EXCL) != 0;
    if (about.written)
        about.path[strlen(path) - SUFFIX_SIZE] = '\0';
    if (strikes(CALL_OPEN, &about, &kind))
        return -1;
    int file = open(path, flags, mode);
    if (file >= MOST_FILES)
        abort();
    if (file >= 0) {
        files[file] = about;
        count_open(1);
    }
    return file;
}

int faulty_fstat(int file, struct stat *info)
{
    fault_kind kind;
    return strikes_file(CALL_FSTAT, file, &kind) ? -1 : fstat(file, info);
}

int faulty_stat(const char *path, struct stat *info)
{
    return strikes_path(CALL_STAT, path) ? -1 : stat(path, info);
}

ssize_t faulty_read(int file, void *data, size_t size)
{
    fault_kind kind;
    if (!strikes_file(CALL_READ, file, &kind))
        return read(file, data, size);
    if (kind == FAULT_ONE_BYTE)
        return read(file, data, 1);
    if (kind == FAULT_HALF && size > 1)
        return read(file, data, size / 2);
    return kind == FAULT_END ? 0 : -1;
}

ssize_t faulty_write(int file, const void *data, size_t size)
{
    fault_kind kind;
    if (!strikes_file(CALL_WRITE, file, &kind))
        return write(file, data, size);
    if (kind == FAULT_ONE_BYTE)
        return write(file, data, 1);
    return kind == FAULT_HALF && size > 1 ? write(file, data, size / 2) : -1;
}

void *faulty_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset)
{
    fault_kind kind;
    if (strikes_file(CALL_MAP, file, &kind))
        return MAP_FAILED;
    void *mapped = mmap(start, size, protection, flags, file, offset);
    count_open(mapped != MAP_FAILED);
    return mapped;
}

int faulty_munmap(void *start, size_t size)
{
    count_open(-1);
    return munmap(start, size);
}

int faulty_fsync(int file)
{
    fault_kind kind;
    return strikes_file(CALL_FLUSH, file, &kind) ? -1 : fsync(file);
}

/* The descriptor is gone in any case, as on Linux. */
int faulty_close(int file)
{
    fault_kind kind;
    bool struck = strikes_file(CALL_CLOSE, file, &kind);
    int error = errno, result = close(file);
    count_open(-1);
    if (!struck)
        return result;
    errno = error;
    return -1;
}

int faulty_rename(const char *from, const char *to)
{
    return strikes_path(CALL_RENAME, to) ? -1 : rename(from, to);
}

DIR *faulty_opendir(const char *path)
{
    if (strikes_path(CALL_FOLDER, path))
        return NULL;
    DIR *folder = opendir(path);
    if (folder) {
        files[dirfd(folder)] = about_path(path);
        count_open(1);
    }
    return folder;
}

struct dirent *faulty_readdir(DIR *folder)
{
    fault_kind kind;
    return strikes_file(CALL_LIST, dirfd(folder), &kind) ? NULL : readdir(folder);
}

int faulty_closedir(DIR *folder)
{
    count_open(-1);
    return closedir(folder);
}

char *faulty_realpath(const char *path, char *resolved)
{
    return strikes_path(CALL_RESOLVE, path) ? NULL : realpath(path, resolved);
}
