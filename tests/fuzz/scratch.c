#include "scratch.h"

#include <stdio.h>
#include <stdlib.h>

#include "../unit/text/scratch_folder.h"

static void *folder;

static void remove_folder(void)
{
    scratch_folder_remove(&folder);
}

const char *fuzz_folder(void)
{
    if (folder)
        return folder;
    if (scratch_folder_make(&folder)) {
        perror("a temporary folder");
        exit(1);
    }
    atexit(remove_folder);
    return folder;
}

char *fuzz_write(const char *name, const uint8_t *data, size_t size)
{
    return scratch_file(fuzz_folder(), name, data, size);
}

uint8_t *fuzz_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size + !*size); /* exact size, so that a sanitizer sees every overrun */
    if (!data || fread(data, 1, *size, file) != *size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return data;
}
