/* System-independent parts on top of platform_parts.h: names, listings, whole files, processors. */
#include "core/platform.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/platform_parts.h"
#include "core/utf8.h"

const char *aac_path_name(const char *path)
{
    const char *name = path += aac_path_drive(path);
    for (; *path; path++)
        if (aac_is_separator(*path))
            name = path + 1;
    return name;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool aac_path_has_ending(const char *path, const char *ending)
{
    size_t length = strlen(path), count = strlen(ending);
    for (size_t i = 1; i <= count; i++)
        if (i > length || lower(path[length - i]) != lower(ending[count - i]))
            return false;
    return true;
}

/* After a path was not found: whether nothing exists there. Otherwise the system cannot tell. */
static bool is_missing(void)
{
    return errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP;
}

aac_path_kind aac_path_kind_of(const char *path)
{
    aac_path_kind kind = aac_path_look(path);
    return kind == AAC_PATH_MISSING && !is_missing() ? AAC_PATH_FILE : kind;
}

aaclip_status aac_path_is_folder(bool *is_folder, const char *path)
{
    aac_path_kind kind = aac_path_look(path);
    *is_folder = kind == AAC_PATH_DIRECTORY;
    if (kind != AAC_PATH_MISSING || is_missing())
        return AACLIP_OK;
    int failure = errno;
    aac_error(AACLIP_ERROR_IO, "%s: %s", path, strerror(failure));
    errno = failure;
    return AACLIP_ERROR_IO;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static aaclip_status append_name(char ***names, size_t *count, size_t *capacity, const char *name)
{
    char **grown = aac_grow(*names, capacity, *count + 1, sizeof *grown);
    if (!grown)
        return aac_error_memory();
    *names = grown;
    char *copy = aac_strdup(name);
    if (!copy)
        return aac_error_memory();
    (*names)[(*count)++] = copy;
    return AACLIP_OK;
}

static aaclip_status read_names(char ***names, size_t *count, aac_folder *folder, const char *path)
{
    size_t capacity = 0;
    for (const char *name; (name = aac_folder_next(folder));) {
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        aaclip_status status = aac_cancel_look();
        if (!status)
            status = append_name(names, count, &capacity, name);
        if (status)
            return status;
    }
    if (errno)
        return aac_error(AACLIP_ERROR_IO, "%s: cannot list: %s", path, strerror(errno));
    return AACLIP_OK;
}

aaclip_status aac_list_folder(char ***names, size_t *count, const char *path)
{
    *names = NULL;
    *count = 0;
    aac_folder *folder = aac_folder_open(path);
    if (!folder)
        return aac_error(errno == ENOENT ? AACLIP_ERROR_NOT_FOUND : AACLIP_ERROR_IO, "%s: %s", path,
                         strerror(errno));
    aaclip_status status = read_names(names, count, folder, path);
    aac_folder_close(folder);
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

#define MOST_AT_ONCE ((size_t)1 << 24) /* bytes between cancellation checks */
#define BUFFER_SIZE  ((size_t)1 << 16)
#define SUFFIX_SIZE  16
#define LONGEST_STEM 200 /* of a name; systems allow 255 bytes, suffix included */
#define MOST_TRIES   1000

struct aac_writer {
    int file;
    char *path;   /* for error texts */
    char *target; /* what it resolves to */
    char *temporary;
    aaclip_status failure;
    size_t filled;
    unsigned char buffer[BUFFER_SIZE];
};

/* Continues after partial writes. `done` is the number of bytes written, even on failure. */
static bool write_all(int file, const void *data, size_t size, size_t *done)
{
    for (*done = 0; *done < size;) {
        size_t left = size - *done;
        long written = aac_file_write(file, (const unsigned char *)data + *done,
                                      left < MOST_AT_ONCE ? left : MOST_AT_ONCE);
        if (written < 0 && errno == EINTR)
            continue;
        if (written == 0)
            errno = EIO; /* would loop forever */
        if (written <= 0)
            return false;
        *done += (size_t)written;
    }
    return true;
}

static aaclip_status writer_failure(aac_writer *writer, const char *action)
{
    writer->failure = AACLIP_ERROR_IO;
    return aac_error(AACLIP_ERROR_IO, "%s: cannot %s: %s", writer->path, action, strerror(errno));
}

static void writer_free(aac_writer **writer)
{
    aac_free((*writer)->path);
    aac_free((*writer)->target);
    aac_free((*writer)->temporary);
    aac_free(*writer);
    *writer = NULL;
}

/* Beside the target, with a suffix unique there; names depend on time and attempt. */
static bool create_temporary(aac_writer *writer)
{
    const char *name = aac_path_name(writer->target);
    const int length = (int)(name - writer->target) + aac_utf8_excerpt(name, LONGEST_STEM);
    uint64_t now = (uint64_t)(aac_seconds_now() * 1e9);
    writer->file = -1;
    for (uint64_t try = 0; writer->file < 0 && try < MOST_TRIES; try++) {
        uint64_t mix = (now + try) * UINT64_C(0x9e3779b97f4a7c15);
        sprintf(writer->temporary, "%.*s.%06x", length, writer->target, (unsigned)(mix >> 40));
        writer->file = aac_file_create(writer->temporary, writer->target);
        if (writer->file < 0 && errno != EEXIST && errno != EINTR)
            return false;
    }
    return writer->file >= 0;
}

aaclip_status aac_writer_open(aac_writer **out, const char *path)
{
    *out = NULL;
    const char *obstacle = aac_path_obstacle(path);
    if (obstacle)
        return aac_error(AACLIP_ERROR_IO, "%s: cannot write: %s", path, obstacle);
    aac_writer *writer = aac_calloc(1, sizeof *writer);
    if (!writer)
        return aac_error_memory();
    writer->path = aac_strdup(path);
    writer->target = aac_path_target(path);
    writer->temporary = writer->target ? aac_alloc(strlen(writer->target) + SUFFIX_SIZE) : NULL;
    if (!writer->path || !writer->temporary) {
        writer_free(&writer);
        return aac_error_memory();
    }
    if (!create_temporary(writer)) {
        aaclip_status status = writer_failure(writer, "write");
        writer_free(&writer);
        return status;
    }
    *out = writer;
    return AACLIP_OK;
}

static bool empty_buffer(aac_writer *writer)
{
    size_t size = writer->filled, done;
    writer->filled = 0;
    return write_all(writer->file, writer->buffer, size, &done);
}

static aaclip_status write_pieces(aac_writer *writer, const unsigned char *data, size_t size)
{
    aaclip_status status = AACLIP_OK;
    for (size_t some; !status && size; data += some, size -= some) {
        size_t done;
        some = size < MOST_AT_ONCE ? size : MOST_AT_ONCE;
        if (!write_all(writer->file, data, some, &done))
            return writer_failure(writer, "write");
        status = writer->failure = aac_cancel_look();
    }
    return status;
}

aaclip_status aac_writer_write(aac_writer *writer, const void *data, size_t size)
{
    if (writer->failure)
        return writer->failure;
    if (size > BUFFER_SIZE - writer->filled) {
        if (!empty_buffer(writer))
            return writer_failure(writer, "write");
        writer->failure = aac_cancel_look();
        if (writer->failure)
            return writer->failure;
    }
    if (size > BUFFER_SIZE)
        return write_pieces(writer, data, size);
    if (size)
        memcpy(writer->buffer + writer->filled, data, size);
    writer->filled += size;
    return AACLIP_OK;
}

aaclip_status aac_writer_amend(aac_writer *writer, uint64_t offset, const void *data, size_t size)
{
    size_t done;
    if (writer->failure)
        return writer->failure;
    if (!empty_buffer(writer) || !aac_file_seek(writer->file, (int64_t)offset) ||
        !write_all(writer->file, data, size, &done))
        return writer_failure(writer, "write");
    return AACLIP_OK;
}

aaclip_status aac_writer_commit(aac_writer **out)
{
    aac_writer *writer = *out;
    aaclip_status status = writer->failure; /* the failed write recorded its text */
    if (!status)
        status = aac_cancel_look();
    if (!status && (!empty_buffer(writer) || !aac_file_flush(writer->file)))
        status = writer_failure(writer, "write");
    if (!aac_file_close(writer->file) && !status)
        status = writer_failure(writer, "close");
    if (!status && !aac_file_replace(writer->temporary, writer->target))
        status = writer_failure(writer, "rename the finished file");
    if (status)
        aac_file_remove(writer->temporary);
    writer_free(out);
    return status;
}

void aac_writer_discard(aac_writer **writer)
{
    if (!*writer)
        return;
    aac_file_close((*writer)->file);
    aac_file_remove((*writer)->temporary);
    writer_free(writer);
}

struct aac_appender {
    int file;
    char *path;
};

aaclip_status aac_appender_open(aac_appender **out, const char *path)
{
    *out = NULL;
    aac_appender *appender = aac_calloc(1, sizeof *appender);
    char *copy = aac_strdup(path);
    if (!appender || !copy) {
        aac_free(appender);
        aac_free(copy);
        return aac_error_memory();
    }
    *appender = (aac_appender){aac_file_open_end(path), copy};
    if (appender->file < 0) {
        aaclip_status status =
            aac_error(AACLIP_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
        aac_free(copy);
        aac_free(appender);
        return status;
    }
    *out = appender;
    return AACLIP_OK;
}

aaclip_status aac_appender_write(aac_appender *appender, const void *data, size_t size)
{
    int64_t end = aac_file_end(appender->file);
    size_t written;
    if (write_all(appender->file, data, size, &written))
        return AACLIP_OK;
    aaclip_status status =
        aac_error(AACLIP_ERROR_IO, "%s: cannot write: %s", appender->path, strerror(errno));
    if (end >= 0 && written)
        aac_file_cut(appender->file, end);
    return status;
}

void aac_appender_close(aac_appender **appender)
{
    if (!*appender)
        return;
    aac_file_close((*appender)->file);
    aac_free((*appender)->path);
    aac_free(*appender);
    *appender = NULL;
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

bool aac_processor_has_vnni(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

bool aac_processor_multiplies_narrow(void)
{
#if defined(__x86_64__)
    return aac_processor_has_vnni() && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}
