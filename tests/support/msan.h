/* Included before everything by tests/memory.sh: clang 14 does not know that in glibc 2.33 and
 * newer stat, lstat and fstat are functions, which write to their argument. */
#include <sanitizer/msan_interface.h>
#include <sys/stat.h>

static inline int msan_fstat(int file, struct stat *info)
{
    int result = fstat(file, info);
    if (result == 0)
        __msan_unpoison(info, sizeof *info);
    return result;
}

static inline int msan_lstat(const char *path, struct stat *info)
{
    int result = lstat(path, info);
    if (result == 0)
        __msan_unpoison(info, sizeof *info);
    return result;
}

static inline int msan_stat(const char *path, struct stat *info)
{
    int result = stat(path, info);
    if (result == 0)
        __msan_unpoison(info, sizeof *info);
    return result;
}

#define fstat(file, info) msan_fstat(file, info)
#define lstat(path, info) msan_lstat(path, info)
#define stat(path, info)  msan_stat(path, info)
