/* Files on Linux, macOS and their kin. */
#define _GNU_SOURCE

#include "core/platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform_parts.h"

static const unsigned char empty_file[1];

/* Nanoseconds since 1970. */
static int64_t changed_at(const struct stat *info)
{
#ifdef __APPLE__
    const struct timespec *time = &info->st_mtimespec;
#else
    const struct timespec *time = &info->st_mtim;
#endif
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

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
    mapping->changed = changed_at(&info);
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
#ifdef MADV_HUGEPAGE
    const uintptr_t page = (uintptr_t)2 << 20;
    uintptr_t first = ((uintptr_t)start + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)start + size) & ~(page - 1);
    if (first < end)
        madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)start, (void)size;
#endif
}

aac_path_kind aac_path_kind_of(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return AAC_PATH_MISSING;
    return S_ISDIR(info.st_mode) ? AAC_PATH_DIRECTORY : AAC_PATH_FILE;
}

bool aac_is_separator(char c)
{
    return c == '/';
}

bool aac_path_is_absolute(const char *path)
{
    return *path == '/';
}

char *aac_path_resolve(const char *path)
{
    char *resolved = realpath(path, NULL);
    char *copy = resolved ? aac_strdup(resolved) : NULL;
    free(resolved);
    return copy;
}

aac_folder *aac_folder_open(const char *path)
{
    return (aac_folder *)opendir(path);
}

const char *aac_folder_next(aac_folder *folder)
{
    errno = 0;
    struct dirent *entry = readdir((DIR *)folder);
    return entry ? entry->d_name : NULL;
}

void aac_folder_close(aac_folder *folder)
{
    closedir((DIR *)folder);
}

FILE *aac_file_append(const char *path)
{
    return fopen(path, "a");
}

/* The rename at the end would put a file in the place of a device or a pipe. */
const char *aac_path_obstacle(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || S_ISREG(info.st_mode))
        return NULL;
    return S_ISDIR(info.st_mode) ? strerror(EISDIR) : "not a regular file";
}

/* mkstemp makes private files; a result gets the mode that open() would have given it. */
static void apply_umask(int file)
{
    mode_t mask = umask(0);
    umask(mask);
    fchmod(file, 0666 & ~mask);
}

FILE *aac_file_create_beside(char *name, const char *path)
{
    strcpy(name, path);
    strcat(name, ".XXXXXX");
    int file = mkstemp(name);
    if (file < 0)
        return NULL;
    apply_umask(file);
    FILE *stream = fdopen(file, "wb");
    if (!stream) {
        int failure = errno;
        close(file);
        remove(name);
        errno = failure;
    }
    return stream;
}

bool aac_file_flush(FILE *file)
{
    return fflush(file) == 0 && fsync(fileno(file)) == 0;
}

bool aac_file_replace(const char *from, const char *to)
{
    return rename(from, to) == 0;
}

void aac_file_remove(const char *path)
{
    remove(path);
}
