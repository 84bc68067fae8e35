/* Runs a fuzz target over the files of folders, without a fuzzer: a regression test. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "scratch.h"

static int replay_file(const char *path)
{
    size_t size;
    uint8_t *data = fuzz_read(path, &size);
    fuzz_one(data, size);
    free(data);
    return 1;
}

static int replay_folder(const char *folder)
{
    int count = 0;
    DIR *listing = opendir(folder);
    if (!listing) {
        perror(folder);
        exit(1);
    }
    for (struct dirent *entry; (entry = readdir(listing));) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        struct stat info;
        bool nested = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
        count += nested ? replay_folder(path) : replay_file(path);
    }
    closedir(listing);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++)
        count += replay_folder(argv[i]);
    printf("%d files\n", count);
    return count == 0;
}
