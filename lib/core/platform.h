/*
 * All that differs between operating systems: files, mapping, threads, processors. The systems' own
 * calls are in posix/ and windows/, what follows from them in platform.c. Paths are UTF-8 on
 * Windows and bytes elsewhere.
 */
#ifndef AAC_CORE_PLATFORM_H
#define AAC_CORE_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

#define AAC_THREAD_LOCAL _Thread_local

/* A whole file, read-only. An empty file has size 0 and a data pointer that is not NULL. */
typedef struct aac_mapping {
    const unsigned char *data;
    size_t size;
    int64_t changed;         /* when the file was written last, in the system's own count */
    uint64_t device, number; /* what the system knows the file by, whatever its name */
    void *copy;              /* what holds the data when it was read, else NULL */
} aac_mapping;

/*
 * Mapped: its pages come when they are touched, and a disk that fails then, or a file that somebody
 * cuts short, ends the process. For weights. Errors name the path: NOT_FOUND, IO; a directory is an
 * IO error.
 */
aaclip_status aac_map_file(aac_mapping *mapping, const char *path);
/* For what is used at once: read, so that both are errors; above 64 MB, and on Windows, mapped. */
aaclip_status aac_read_file(aac_mapping *mapping, const char *path);
void aac_unmap_file(aac_mapping *mapping);
/*
 * Whether the mapped file was written to since, so that the data is no longer what it was. Only to
 * be told while it stands at `path`: one that took its place by a rename is another file.
 */
bool aac_mapping_is_stale(const aac_mapping *mapping, const char *path);
/* Part of a mapped file that may leave memory; it comes back when read. Never for other memory. */
void aac_mapping_release(const void *start, size_t size);
/* Tells that the whole file will be read soon. */
void aac_mapping_prefetch(const aac_mapping *mapping);

/* Asks for large pages where whole ones fit: much cheaper to touch for the first time. */
void aac_prefer_large_pages(void *start, size_t size);

/* What the system cannot look at counts as a file: opening it tells why. */
typedef enum aac_path_kind { AAC_PATH_MISSING, AAC_PATH_FILE, AAC_PATH_DIRECTORY } aac_path_kind;
aac_path_kind aac_path_kind_of(const char *path);
/* An IO error, and errno, where the system cannot tell. */
aaclip_status aac_path_is_folder(bool *is_folder, const char *path);

/* '/', on Windows '\\' too. */
bool aac_is_separator(char c);
/* Whether it begins at the root, on Windows at a drive or a share, and is joined to no folder. */
bool aac_path_is_absolute(const char *path);
/* From the root, without "." and ".."; NULL when that fails. For aac_free. */
char *aac_path_resolve(const char *path);
/* The part behind the last separator, on Windows behind a drive's ':', too. */
const char *aac_path_name(const char *path);
bool aac_path_has_ending(const char *path, const char *ending); /* case is ignored */

/* Names in a folder, sorted by byte value, without "." and "..". Free with aac_list_free. */
aaclip_status aac_list_folder(char ***names, size_t *count, const char *path);
void aac_list_free(char **names, size_t count);

/*
 * A file that appears whole or not at all: written under a temporary name beside `path`, flushed
 * to disk and renamed by commit; removed by discard. After a failed write, commit fails too and
 * leaves nothing behind. Both free the writer and null the pointer. Where `path` is a link, all
 * that is done to the file that it leads to. A file that is replaced leaves its permissions to the
 * new one; both not on Windows.
 */
typedef struct aac_writer aac_writer;
aaclip_status aac_writer_open(aac_writer **writer, const char *path);
aaclip_status aac_writer_write(aac_writer *writer, const void *data, size_t size);
aaclip_status aac_writer_commit(aac_writer **writer);
void aac_writer_discard(aac_writer **writer);

/* A file that grows at its end: each write is there whole, or as far as the system allows not at
 * all. Accepts NULL to close. */
typedef struct aac_appender aac_appender;
aaclip_status aac_appender_open(aac_appender **appender, const char *path);
aaclip_status aac_appender_write(aac_appender *appender, const void *data, size_t size);
void aac_appender_close(aac_appender **appender);

typedef struct aac_mutex aac_mutex;
aac_mutex *aac_mutex_new(void); /* NULL when out of memory */
void aac_mutex_free(aac_mutex *mutex);
void aac_mutex_lock(aac_mutex *mutex);
bool aac_mutex_try(aac_mutex *mutex); /* false: another thread has it */
void aac_mutex_unlock(aac_mutex *mutex);
/* Held by a thread that is not in this process, as it was forked meanwhile: never to be had. */
bool aac_mutex_is_orphan(const aac_mutex *mutex);

/* Waiting gives the mutex up and takes it back; it may end without a wake. */
typedef struct aac_condition aac_condition;
aac_condition *aac_condition_new(void); /* NULL when out of memory */
void aac_condition_free(aac_condition *condition);
void aac_condition_wait(aac_condition *condition, aac_mutex *mutex);
void aac_condition_wait_for(aac_condition *condition, aac_mutex *mutex, double seconds);
void aac_condition_wake_all(aac_condition *condition);

typedef struct aac_thread aac_thread;
/* Runs work(user) in a new thread; NULL when the system gives none. */
aac_thread *aac_thread_start(void (*work)(void *user), void *user);
/* Waits for its end and frees it; accepts NULL. Of a thread before a fork only the memory is left.
 */
void aac_thread_join(aac_thread *thread);

/*
 * Lets a process that was forked work: before a fork `prepare` runs in the thread that forks. How
 * many forks lie between this process and the one that called it first; 0 where there are none.
 */
void aac_forks_watch(void (*prepare)(void));
unsigned aac_forks(void);

/*
 * Blocks for the calling thread, and for those that it starts, the signals that come from outside;
 * a fault of the thread itself ends it as ever. Nothing where a handler has a stack of its own.
 */
typedef struct aac_signals {
    uint64_t mask[16];
} aac_signals;
void aac_signals_block(aac_signals *previous);
void aac_signals_restore(const aac_signals *previous);

/* Of a clock that only goes forward. */
double aac_seconds_now(void);
void aac_sleep(double seconds);

/* Bytes that nobody can foresee; false when the system gives none. */
bool aac_system_random(void *bytes, size_t size);

/* Processors that this process may run on. */
unsigned aac_processor_count(void);

/* Vector instructions that both the processor and the operating system allow. */
typedef enum aac_isa { AAC_ISA_BASELINE, AAC_ISA_AVX2, AAC_ISA_AVX512 } aac_isa;
aac_isa aac_processor_isa(void);
/* Whether AVX-512 has products of bfloat16 and of 8-bit integers. */
bool aac_processor_multiplies_narrow(void);

#endif
