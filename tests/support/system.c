#define _GNU_SOURCE

#include "system.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef _WIN32

#include <direct.h>
#include <windows.h>

char *system_temporary_folder(const char *stem)
{
    char base[MAX_PATH + 1], *path = malloc(MAX_PATH + 100);
    DWORD length = GetTempPathA(sizeof base, base);
    if (!path || !length)
        return NULL;
    for (char *c = base; *c; c++)
        if (*c == '\\')
            *c = '/'; /* tests compare with paths they join themselves */
    for (unsigned try = 0; try < 1000; try++) {
        snprintf(path, MAX_PATH + 100, "%s%s-%lx-%x", base, stem, GetCurrentProcessId(), try);
        if (_mkdir(path) == 0)
            return path;
    }
    free(path);
    return NULL;
}

int system_make_folder(const char *path)
{
    return _mkdir(path);
}

bool system_is_posix(void)
{
    return false;
}

int system_make_pipe(const char *path)
{
    (void)path;
    return -1;
}

int system_limit_files(size_t bytes)
{
    (void)bytes;
    return -1;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

#define O_BYTES O_BINARY

#else

#include <sys/resource.h>

char *system_temporary_folder(const char *stem)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/%s-XXXXXX", base && *base ? base : "/tmp", stem) < 0)
        return NULL;
    if (mkdtemp(path))
        return path;
    free(path);
    return NULL;
}

int system_make_folder(const char *path)
{
    return mkdir(path, 0777);
}

bool system_is_posix(void)
{
    return true;
}

int system_make_pipe(const char *path)
{
    return mkfifo(path, 0600);
}

int system_limit_files(size_t bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0)
        return -1;
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    signal(SIGXFSZ, bytes ? SIG_IGN : SIG_DFL);
    return setrlimit(RLIMIT_FSIZE, &limit);
}

static bool is_folder(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

#define O_BYTES 0

#endif

/* The next name in a folder, or NULL. */
static const char *next_name(DIR *folder)
{
    struct dirent *entry;
    while ((entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return entry->d_name;
    return NULL;
}

static int remove_content(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder)
        return -1;
    int result = 0;
    char inner[4096];
    for (const char *name; !result && (name = next_name(folder));) {
        snprintf(inner, sizeof inner, "%s/%s", path, name);
        result = system_remove(inner);
    }
    closedir(folder);
    return result;
}

int system_remove(const char *path)
{
    if (!is_folder(path))
        return remove(path);
    return remove_content(path) == 0 ? rmdir(path) : -1;
}

size_t system_count_files(const char *path)
{
    size_t count = 0;
    DIR *folder = opendir(path);
    while (folder && next_name(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

int system_resize_file(const char *path, size_t size)
{
    int file = open(path, O_WRONLY | O_BYTES);
    if (file < 0)
        return -1;
    int result = ftruncate(file, (off_t)size);
    return close(file) == 0 ? result : -1;
}
