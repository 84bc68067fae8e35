#include "scratch.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int scratch_make(void **state)
{
    char *folder = strdup("/tmp/aaclip-api-XXXXXX");
    *state = folder;
    return folder && mkdtemp(folder) ? 0 : -1;
}

/* The next file in a folder, or NULL. */
static const char *next_file(DIR *folder)
{
    struct dirent *entry;
    while ((entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return entry->d_name;
    return NULL;
}

int scratch_remove(void **state)
{
    char *path = *state;
    DIR *folder = opendir(path);
    for (const char *name; folder && (name = next_file(folder));)
        remove(scratch_path(path, name).path);
    if (folder)
        closedir(folder);
    int result = remove(path);
    free(path);
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
    size_t count = 0;
    DIR *files = opendir(folder);
    while (files && next_file(files))
        count++;
    if (files)
        closedir(files);
    return count;
}
