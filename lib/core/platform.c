/* The same on every system, over platform_parts.h: names, listings, whole files, processors. */
#include "core/platform.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform_parts.h"

const char *aac_path_name(const char *path)
{
    const char *name = path;
    for (; *path; path++)
        if (aac_is_separator(*path))
            name = path + 1;
    return name;
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

static aaclip_status read_names(char ***names, size_t *count, aac_folder *folder, const char *path)
{
    size_t capacity = 0;
    for (const char *name; (name = aac_folder_next(folder));) {
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        aaclip_status status = append_name(names, count, &capacity, name);
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
    writer->temporary = aac_alloc(strlen(path) + AAC_SUFFIX_SIZE);
    if (!writer->path || !writer->temporary) {
        writer_free(&writer);
        return aac_error_memory();
    }
    writer->file = aac_file_create_beside(writer->temporary, path);
    if (!writer->file) {
        aaclip_status status = writer_failure(writer, "write");
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
    else if (!aac_file_flush(writer->file))
        status = writer_failure(writer, "write");
    if (fclose(writer->file) != 0 && !status)
        status = writer_failure(writer, "close");
    if (!status && !aac_file_replace(writer->temporary, writer->path))
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
    fclose((*writer)->file);
    aac_file_remove((*writer)->temporary);
    writer_free(writer);
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

bool aac_processor_multiplies_narrow(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}
