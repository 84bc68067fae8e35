#include "scratch_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/platform.h"
#include "system.h"

int scratch_folder_make(void **state)
{
    *state = system_temporary_folder("aaclip-text");
    return *state ? 0 : -1;
}

int scratch_folder_remove(void **state)
{
    int result = system_remove(*state);
    free(*state);
    return result;
}

char *scratch_file(const char *folder, const char *name, const void *data, size_t size)
{
    char *path = aac_format("%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        abort();
    }
    return path;
}

char *scratch_text(const char *folder, const char *name, const char *text)
{
    return scratch_file(folder, name, text, strlen(text));
}

void scratch_write_over(const char *path)
{
    aac_sleep(0.05); /* systems count in steps */
    FILE *file = fopen(path, "r+b");
    int first = file ? fgetc(file) : EOF;
    if (first == EOF || fseek(file, 0, SEEK_SET) != 0 || fputc(first, file) == EOF ||
        fclose(file) != 0) {
        perror(path);
        abort();
    }
}
