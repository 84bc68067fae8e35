#define _GNU_SOURCE

#include "core/platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "core/memory.h"

static const unsigned char empty_file[1];

aaclip_status aac_map_file(aac_mapping *mapping, const char *path)
{
    *mapping = (aac_mapping){0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang here */
    if (file < 0)
        return aac_error(errno == ENOENT ? AACLIP_ERROR_NOT_FOUND : AACLIP_ERROR_IO, "%s: %s", path,
                         strerror(errno));
    struct stat info;
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(file);
        return aac_error(AACLIP_ERROR_IO, "%s: expected a regular file", path);
    }
    if (info.st_size == 0) {
        close(file);
        mapping->data = empty_file;
        return AACLIP_OK;
    }
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    int failure = errno;
    close(file);
    if (data == MAP_FAILED)
        return aac_error(AACLIP_ERROR_IO, "%s: cannot map: %s", path, strerror(failure));
    mapping->data = data;
    mapping->size = (size_t)info.st_size;
    return AACLIP_OK;
}

void aac_unmap_file(aac_mapping *mapping)
{
    if (mapping->size)
        munmap((void *)mapping->data, mapping->size);
    *mapping = (aac_mapping){0};
}

void aac_mapping_release(const void *start, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)start + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)start + size) & ~(page - 1);
    if (first < end)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

void aac_mapping_prefetch(const aac_mapping *mapping)
{
    if (mapping->size)
        madvise((void *)mapping->data, mapping->size, MADV_WILLNEED);
}

void aac_prefer_large_pages(void *start, size_t size)
{
    const uintptr_t page = (uintptr_t)2 << 20;
    uintptr_t first = ((uintptr_t)start + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)start + size) & ~(page - 1);
    if (first < end)
        madvise((void *)first, end - first, MADV_HUGEPAGE);
}

aac_path_kind aac_path_kind_of(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return AAC_PATH_MISSING;
    return S_ISDIR(info.st_mode) ? AAC_PATH_DIRECTORY : AAC_PATH_FILE;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static aaclip_status append_name(char ***names, size_t *count, size_t *capacity, const char *name)
{
    if (*count == *capacity) {
        size_t larger = *capacity ? 2 * *capacity : 64;
        char **moved = aac_realloc(*names, larger * sizeof *moved);
        if (!moved)
            return aac_error_memory();
        *names = moved;
        *capacity = larger;
    }
    char *copy = aac_strdup(name);
    if (!copy)
        return aac_error_memory();
    (*names)[(*count)++] = copy;
    return AACLIP_OK;
}

aaclip_status aac_list_folder(char ***names, size_t *count, const char *path)
{
    *names = NULL;
    *count = 0;
    size_t capacity = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return aac_error(errno == ENOENT ? AACLIP_ERROR_NOT_FOUND : AACLIP_ERROR_IO, "%s: %s", path,
                         strerror(errno));
    aaclip_status status = AACLIP_OK;
    for (struct dirent *entry; !status && (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = append_name(names, count, &capacity, entry->d_name);
    closedir(folder);
    if (status) {
        aac_list_free(*names, *count);
        *names = NULL;
        *count = 0;
    } else if (*count) {
        qsort(*names, *count, sizeof **names, compare_names);
    }
    return status;
}

void aac_list_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        aac_free(names[i]);
    aac_free(names);
}

struct aac_writer {
    FILE *file;
    char *path;
    char *temporary;
    bool failed;
};

static aaclip_status writer_failure(aac_writer *writer, const char *action)
{
    writer->failed = true;
    return aac_error(AACLIP_ERROR_IO, "%s: cannot %s: %s", writer->path, action, strerror(errno));
}

static void writer_free(aac_writer **writer)
{
    aac_free((*writer)->path);
    aac_free((*writer)->temporary);
    aac_free(*writer);
    *writer = NULL;
}

/* mkstemp makes private files; a result gets the mode that open() would have given it. */
static void apply_umask(int file)
{
    mode_t mask = umask(0);
    umask(mask);
    fchmod(file, 0666 & ~mask);
}

/* The rename at the end would put a file in the place of a device or a pipe. */
static aaclip_status check_target(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || S_ISREG(info.st_mode))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_IO, "%s: cannot write: %s", path,
                     S_ISDIR(info.st_mode) ? strerror(EISDIR) : "not a regular file");
}

aaclip_status aac_writer_open(aac_writer **out, const char *path)
{
    *out = NULL;
    aaclip_status status = check_target(path);
    if (status)
        return status;
    aac_writer *writer = aac_calloc(1, sizeof *writer);
    if (!writer)
        return aac_error_memory();
    writer->path = aac_strdup(path);
    writer->temporary = aac_format("%s.XXXXXX", path);
    if (!writer->path || !writer->temporary) {
        writer_free(&writer);
        return aac_error_memory();
    }
    int file = mkstemp(writer->temporary);
    if (file >= 0) {
        apply_umask(file);
        writer->file = fdopen(file, "wb");
    }
    if (!writer->file) {
        status = writer_failure(writer, "write");
        if (file >= 0) {
            close(file);
            remove(writer->temporary);
        }
        writer_free(&writer);
        return status;
    }
    *out = writer;
    return AACLIP_OK;
}

aaclip_status aac_writer_write(aac_writer *writer, const void *data, size_t size)
{
    if (size && fwrite(data, 1, size, writer->file) != size)
        return writer_failure(writer, "write");
    return AACLIP_OK;
}

aaclip_status aac_writer_commit(aac_writer **out)
{
    aac_writer *writer = *out;
    aaclip_status status = AACLIP_OK;
    if (writer->failed)
        status = AACLIP_ERROR_IO; /* the text was recorded by the write that failed */
    else if (fflush(writer->file) != 0 || fsync(fileno(writer->file)) != 0)
        status = writer_failure(writer, "write");
    if (fclose(writer->file) != 0 && !status)
        status = writer_failure(writer, "close");
    if (!status && rename(writer->temporary, writer->path) != 0)
        status = writer_failure(writer, "rename the finished file");
    if (status)
        remove(writer->temporary);
    writer_free(out);
    return status;
}

void aac_writer_discard(aac_writer **writer)
{
    if (!*writer)
        return;
    fclose((*writer)->file);
    remove((*writer)->temporary);
    writer_free(writer);
}

struct aac_mutex {
    pthread_mutex_t native;
};

aac_mutex *aac_mutex_new(void)
{
    aac_mutex *mutex = aac_alloc(sizeof *mutex);
    if (mutex && pthread_mutex_init(&mutex->native, NULL) != 0) {
        aac_free(mutex);
        return NULL;
    }
    return mutex;
}

void aac_mutex_free(aac_mutex *mutex)
{
    if (!mutex)
        return;
    pthread_mutex_destroy(&mutex->native);
    aac_free(mutex);
}

void aac_mutex_lock(aac_mutex *mutex)
{
    pthread_mutex_lock(&mutex->native);
}

void aac_mutex_unlock(aac_mutex *mutex)
{
    pthread_mutex_unlock(&mutex->native);
}

struct aac_condition {
    pthread_cond_t native;
};

aac_condition *aac_condition_new(void)
{
    aac_condition *condition = aac_alloc(sizeof *condition);
    if (condition && pthread_cond_init(&condition->native, NULL) != 0) {
        aac_free(condition);
        return NULL;
    }
    return condition;
}

void aac_condition_free(aac_condition *condition)
{
    if (!condition)
        return;
    pthread_cond_destroy(&condition->native);
    aac_free(condition);
}

void aac_condition_wait(aac_condition *condition, aac_mutex *mutex)
{
    pthread_cond_wait(&condition->native, &mutex->native);
}

void aac_condition_wake_all(aac_condition *condition)
{
    pthread_cond_broadcast(&condition->native);
}

struct aac_thread {
    pthread_t native;
    void (*work)(void *user);
    void *user;
};

static void *run_thread(void *argument)
{
    aac_thread *thread = argument;
    thread->work(thread->user);
    return NULL;
}

aac_thread *aac_thread_start(void (*work)(void *user), void *user)
{
    aac_thread *thread = aac_alloc(sizeof *thread);
    if (!thread)
        return NULL;
    thread->work = work;
    thread->user = user;
    if (pthread_create(&thread->native, NULL, run_thread, thread) != 0) {
        aac_free(thread);
        return NULL;
    }
    return thread;
}

void aac_thread_join(aac_thread *thread)
{
    if (!thread)
        return;
    pthread_join(thread->native, NULL);
    aac_free(thread);
}

double aac_seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

unsigned aac_processor_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}

aac_isa aac_processor_isa(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return AAC_ISA_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return AAC_ISA_AVX2;
#endif
    return AAC_ISA_BASELINE;
}

bool aac_processor_has_bf16(void)
{
#if defined(__x86_64__)
    return aac_processor_isa() == AAC_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}
