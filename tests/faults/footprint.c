#include "footprint.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "failing_heap.h"
#include "faulty_calls.h"

static file_content read_content(const char *path)
{
    file_content read = {.size = 0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    read.size = (size_t)ftell(file);
    read.bytes = malloc(read.size + 1);
    assert_non_null(read.bytes);
    rewind(file);
    assert_int_equal(fread(read.bytes, 1, read.size, file), read.size);
    read.bytes[read.size] = '\0';
    fclose(file);
    return read;
}

static bool holds(const char *path, const file_content *expected)
{
    file_content found = read_content(path);
    bool same =
        found.size == expected->size && memcmp(found.bytes, expected->bytes, found.size) == 0;
    free(found.bytes);
    return same;
}

/* Each line of the log is a whole object. */
static bool log_is_whole(const session *all)
{
    file_content log = read_content(all->log.path);
    bool whole = true;
    for (char *line = (char *)log.bytes, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        whole = whole && end && *line == '{' && end[-1] == '}';
        if (!end)
            break;
    }
    free(log.bytes);
    return whole;
}

/* Files there are whole: none has a temporary name. */
static bool has_whole_files(const char *folder)
{
    bool whole = true;
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing));) {
        const char *end = strrchr(entry->d_name, '.');
        whole = whole && (!end[1] || strcmp(end, ".packed") == 0);
    }
    closedir(listing);
    return whole;
}

void footprint_write_old(const session *all)
{
    scratch_write(all->out.path, "old");
    scratch_write(all->torch_out.path, "old");
}

footprint footprint_look(const session *all)
{
    return (footprint){read_content(all->out.path), read_content(all->torch_out.path),
                       scratch_count(all->folder), heap_open_count(), faults_open_count()};
}

void footprint_forget(footprint *seen)
{
    free(seen->out.bytes);
    free(seen->torch_out.bytes);
}

const char *footprint_difference(const session *all, const footprint *expected)
{
    return !holds(all->out.path, &expected->out) ||
                   !holds(all->torch_out.path, &expected->torch_out)
               ? "other bytes in what it writes"
           : scratch_count(all->folder) != expected->files ? "a file more or less in the folder"
           : heap_open_count() != expected->heap           ? "memory is kept"
           : faults_open_count() != expected->open         ? "a file is kept open"
           : !has_whole_files(all->packed.path) || !has_whole_files(all->kept_packed.path)
               ? "a half file of packed weights"
           : !log_is_whole(all) ? "half a line in the log"
                                : NULL;
}

int footprint_open_session(session *all, void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    heap_install();
    session_open(all, *state);
    footprint_write_old(all);
    return 0;
}

int footprint_close_session(session *all, void **state)
{
    session_close(all);
    return scratch_remove(state);
}
