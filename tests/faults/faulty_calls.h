/* The file system calls of the library's file layer, failing where told to. */
#ifndef TEST_FAULTS_FAULTY_CALLS_H
#define TEST_FAULTS_FAULTY_CALLS_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

typedef enum faulty_call {
    CALL_OPEN,
    CALL_FSTAT,
    CALL_STAT,
    CALL_READ,
    CALL_MAP,
    CALL_WRITE,
    CALL_FLUSH,
    CALL_CLOSE,
    CALL_RENAME,
    CALL_FOLDER, /* opendir */
    CALL_LIST,   /* readdir */
    CALL_RESOLVE,
    CALL_COUNT
} faulty_call;

typedef enum fault_kind {
    FAULT_ERROR,       /* the call does nothing and fails */
    FAULT_HALF,        /* the call does half, and the next of its kind fails */
    FAULT_END,         /* a read finds the end of the file */
    FAULT_ONE_BYTE,    /* it reads or writes one byte */
    FAULT_INTERRUPTED, /* once, by a signal */
} fault_kind;

typedef struct file_fault {
    faulty_call call;
    fault_kind kind;
    int at;    /* which call, from 0; -1: none, -2: every second one */
    int error; /* what errno becomes */
} file_fault;

/* What the call that failed was about. */
typedef struct fault_victim {
    bool hit, appended, written; /* written: a file that is to appear whole */
    char path[4096];             /* without the suffix of a file that is still being written */
} fault_victim;

const char *faulty_call_name(faulty_call call);
/* From here on. Counting starts at 0. */
void faults_arm(const file_fault *fault);
/* Ends that. `counts` (CALL_COUNT, may be NULL): how many calls there were. */
fault_victim faults_disarm(int *counts);
/* Descriptors, folders and mappings that the library has open. */
int faults_open_count(void);

int faulty_open(const char *path, int flags, mode_t mode);
int faulty_fstat(int file, struct stat *info);
int faulty_stat(const char *path, struct stat *info);
ssize_t faulty_read(int file, void *data, size_t size);
ssize_t faulty_write(int file, const void *data, size_t size);
void *faulty_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset);
int faulty_munmap(void *start, size_t size);
int faulty_fsync(int file);
int faulty_close(int file);
int faulty_rename(const char *from, const char *to);
DIR *faulty_opendir(const char *path);
struct dirent *faulty_readdir(DIR *folder);
int faulty_closedir(DIR *folder);
char *faulty_realpath(const char *path, char *resolved);

#endif
