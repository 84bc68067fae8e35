#include "scratch.h"

#include <stdio.h>
#include <stdlib.h>

#include "system.h"

int scratch_make(void **state)
{
    *state = system_temporary_folder("aaclip-api");
    return *state ? 0 : -1;
}

int scratch_remove(void **state)
{
    int result = system_remove(*state);
    free(*state);
    return result;
}

scratch_file scratch_path(const char *folder, const char *name)
{
    scratch_file file;
    snprintf(file.path, sizeof file.path, "%s/%s", folder, name);
    return file;
}

void scratch_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) {
        perror(path);
        abort();
    }
}

size_t scratch_count(const char *folder)
{
    return system_count_files(folder);
}
