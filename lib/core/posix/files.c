/* Files on Linux, macOS and similar systems. */
#define _GNU_SOURCE

#include "core/platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "core/error.h"
#include "core/memory.h"
#include "core/platform_parts.h"

#define MOST_READ ((off_t)64 << 20)

static const unsigned char empty_file[1];

/* Nanoseconds since 1970; from 2262 on they wrap, which still tells two times apart. */
static int64_t changed_at(const struct stat *info)
{
#ifdef __APPLE__
    const struct timespec *time = &info->st_mtimespec;
#else
    const struct timespec *time = &info->st_mtim;
#endif
    return (int64_t)((uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_nsec);
}

/* Retries when interrupted by a signal. */
static int open_file_as(const char *path, int flags, mode_t mode)
{
    int file;
    do
        file = open(path, flags | O_CLOEXEC, mode);
    while (file < 0 && errno == EINTR);
    return file;
}

static int open_file(const char *path, int flags)
{
    return open_file_as(path, flags, 0666);
}

/* A regular file to read; *file is -1 on failure. */
static aaclip_status open_regular(int *file, struct stat *info, const char *path)
{
    *file = open_file(path, O_RDONLY | O_NONBLOCK); /* a pipe must not hang here */
    if (*file < 0)
        return aac_error(errno == ENOENT ? AACLIP_ERROR_NOT_FOUND : AACLIP_ERROR_IO, "%s: %s",
                         *path ? path : "the empty path", strerror(errno));
    aaclip_status status = AACLIP_OK;
    if (fstat(*file, info) != 0)
        status = aac_error(AACLIP_ERROR_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(info->st_mode))
        status = aac_error(AACLIP_ERROR_IO, "%s: expected a regular file", path);
    if (status) {
        close(*file);
        *file = -1;
    }
    return status;
}

static aaclip_status map(aac_mapping *mapping, int file, const char *path)
{
    void *data = mmap(NULL, mapping->size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED)
        return aac_error(AACLIP_ERROR_IO, "%s: cannot map: %s", path, strerror(errno));
    mapping->data = data;
    return AACLIP_OK;
}

static aaclip_status wrong_size(const char *path, size_t expected, size_t found)
{
    return aac_error(AACLIP_ERROR_IO, "%s: expected %zu bytes, found %zu", path, expected, found);
}

static aaclip_status read_whole(aac_mapping *mapping, int file, const char *path)
{
    unsigned char *copy = aac_alloc(mapping->size);
    if (!copy)
        return aac_error_prefix(aac_error_memory(), "%s", path);
    size_t done = 0;
    ssize_t more = 1;
    while (done < mapping->size && more) {
        more = read(file, copy + done, mapping->size - done);
        if (more > 0)
            done += (size_t)more;
        else if (more < 0 && errno != EINTR)
            break;
    }
    mapping->data = mapping->copy = copy;
    if (done == mapping->size)
        return AACLIP_OK;
    return more < 0 ? aac_error(AACLIP_ERROR_IO, "%s: cannot read: %s", path, strerror(errno))
                    : wrong_size(path, mapping->size, done);
}

static aaclip_status take_file(aac_mapping *mapping, const char *path, off_t most_read)
{
    struct stat info;
    int file;
    *mapping = (aac_mapping){0};
    aaclip_status status = open_regular(&file, &info, path);
    if (status)
        return status;
    aac_mapping whole = {.data = empty_file,
                         .size = (size_t)info.st_size,
                         .changed = changed_at(&info),
                         .device = (uint64_t)info.st_dev,
                         .number = (uint64_t)info.st_ino};
    if (whole.size)
        status =
            info.st_size <= most_read ? read_whole(&whole, file, path) : map(&whole, file, path);
    close(file);
    if (status)
        aac_free(whole.copy);
    else
        *mapping = whole;
    return status;
}

aaclip_status aac_map_file(aac_mapping *mapping, const char *path)
{
    return take_file(mapping, path, 0);
}

aaclip_status aac_read_file(aac_mapping *mapping, const char *path)
{
    return take_file(mapping, path, MOST_READ);
}

/* Up to the `size` bytes that it had when it was opened. */
static aaclip_status read_pieces(int file, size_t size, const char *path, unsigned char *piece,
                                 aac_file_take take, void *user)
{
    for (size_t done = 0; done < size;) {
        const size_t most = size - done < AAC_FILE_PIECE ? size - done : AAC_FILE_PIECE;
        const ssize_t more = read(file, piece, most);
        if (more < 0 && errno != EINTR)
            return aac_error(AACLIP_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
        if (!more)
            return wrong_size(path, size, done);
        const aaclip_status status = more > 0 ? take(user, piece, (size_t)more) : AACLIP_OK;
        if (status)
            return status;
        done += more > 0 ? (size_t)more : 0;
    }
    return AACLIP_OK;
}

aaclip_status aac_read_pieces(const char *path, aac_file_take take, void *user)
{
    struct stat info;
    int file;
    aaclip_status status = open_regular(&file, &info, path);
    if (status)
        return status;
    unsigned char *piece = aac_alloc(AAC_FILE_PIECE);
    status = piece ? read_pieces(file, (size_t)info.st_size, path, piece, take, user)
                   : aac_error_prefix(aac_error_memory(), "%s", path);
    aac_free(piece);
    close(file);
    return status;
}

void aac_unmap_file(aac_mapping *mapping)
{
    if (mapping->copy)
        aac_free(mapping->copy);
    else if (mapping->size)
        munmap((void *)mapping->data, mapping->size);
    *mapping = (aac_mapping){0};
}

bool aac_mapping_is_stale(const aac_mapping *mapping, const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && (uint64_t)info.st_dev == mapping->device &&
           (uint64_t)info.st_ino == mapping->number &&
           ((size_t)info.st_size != mapping->size || changed_at(&info) != mapping->changed);
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

void aac_heap_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

aac_path_kind aac_path_look(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return AAC_PATH_MISSING;
    errno = 0;
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

size_t aac_path_drive(const char *path)
{
    (void)path;
    return 0;
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

/* The final rename would replace a device or a pipe with a file. */
const char *aac_path_obstacle(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || S_ISREG(info.st_mode))
        return NULL;
    return S_ISDIR(info.st_mode) ? strerror(EISDIR) : "not a regular file";
}

char *aac_path_target(const char *path)
{
    struct stat info;
    bool is_link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    char *resolved = is_link ? realpath(path, NULL) : NULL;
    char *target = aac_strdup(resolved ? resolved : path);
    free(resolved);
    return target;
}

int aac_file_create(const char *name, const char *from)
{
    struct stat info;
    const bool exists = stat(from, &info) == 0;
    const int file = open_file_as(name, O_WRONLY | O_CREAT | O_EXCL, exists ? 0600 : 0666);
    if (file >= 0 && exists) /* some file systems have fixed permissions: no reason to fail */
        (void)fchmod(file, info.st_mode & 0777);
    return file;
}

int aac_file_open_end(const char *path)
{
    return open_file(path, O_WRONLY | O_CREAT | O_APPEND);
}

long aac_file_write(int file, const void *data, size_t size)
{
    return (long)write(file, data, size);
}

bool aac_file_seek(int file, int64_t offset)
{
    return lseek(file, (off_t)offset, SEEK_SET) == (off_t)offset;
}

bool aac_file_flush(int file)
{
    int result;
    do
        result = fsync(file);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

/* EINTR needs no retry: the file was flushed, and a second close may hit another thread's file. */
bool aac_file_close(int file)
{
    return close(file) == 0 || errno == EINTR;
}

int64_t aac_file_end(int file)
{
    struct stat info;
    return fstat(file, &info) == 0 && S_ISREG(info.st_mode) ? (int64_t)info.st_size : -1;
}

bool aac_file_cut(int file, int64_t end)
{
    int result;
    do
        result = ftruncate(file, (off_t)end);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

bool aac_file_replace(const char *from, const char *to)
{
    return rename(from, to) == 0;
}

void aac_file_remove(const char *path)
{
    remove(path);
}
