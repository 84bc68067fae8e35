#include "scratch_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/platform.h"

int scratch_folder_make(void **state)
{
    char *folder = aac_strdup("/tmp/aaclip-text-XXXXXX");
    *state = folder;
    return folder && mkdtemp(folder) ? 0 : -1;
}

int scratch_folder_remove(void **state)
{
    char **names;
    size_t count;
    if (aac_list_folder(&names, &count, *state))
        return -1;
    for (size_t i = 0; i < count; i++) {
        char *path = aac_format("%s/%s", (char *)*state, names[i]);
        remove(path);
        aac_free(path);
    }
    aac_list_free(names, count);
    remove(*state);
    aac_free(*state);
    return 0;
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
