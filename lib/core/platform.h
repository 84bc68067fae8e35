/*
 * Everything that differs between operating systems: files, mapping, threads, processors. System
 * calls are in posix/ and windows/, what builds on them in platform.c. Paths are UTF-8 on Windows
 * and bytes elsewhere.
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
    int64_t changed;         /* when the file was last written, in the system's own units */
    uint64_t device, number; /* the file's identity in the system, whatever its name */
    void *copy;              /* owns the data if it was read, else NULL */
} aac_mapping;

/*
 * Mapped: pages are loaded when touched, and a disk error then, or a truncated file, ends the
 * process. For weights. Errors name the path: NOT_FOUND, IO (also for a directory).
 */
aaclip_status aac_map_file(aac_mapping *mapping, const char *path);
/* For files used right away: read, so that both cases are errors; above 64 MB, and on Windows,
 * mapped. */
aaclip_status aac_read_file(aac_mapping *mapping, const char *path);
void aac_unmap_file(aac_mapping *mapping);
/*
 * Passes the bytes of a whole file on in order, in pieces of at most AAC_FILE_PIECE, none of them
 * kept; a disk error is an error, except on Windows, where the file is mapped. Errors: as above,
 * and the first one of `take`, which ends it.
 */
#define AAC_FILE_PIECE ((size_t)1 << 20)
typedef aaclip_status (*aac_file_take)(void *user, const unsigned char *bytes, size_t size);
aaclip_status aac_read_pieces(const char *path, aac_file_take take, void *user);
/*
 * Whether the mapped file has been written to since, so that the data has changed. Can only be told
 * while it is at `path`: a file renamed over it is another file.
 */
bool aac_mapping_is_stale(const aac_mapping *mapping, const char *path);
/* Lets part of a mapped file leave memory; it is loaded again when read. Never for other memory. */
void aac_mapping_release(const void *start, size_t size);
/* Announces that the whole file will be read soon. */
void aac_mapping_prefetch(const aac_mapping *mapping);

/* Asks for large pages where whole ones fit: the first access is much cheaper. */
void aac_prefer_large_pages(void *start, size_t size);

/* Returns what was freed to the system, where free does not do that by itself. */
void aac_heap_trim(void);

/* A path that the system cannot inspect counts as a file: opening it tells why. */
typedef enum aac_path_kind { AAC_PATH_MISSING, AAC_PATH_FILE, AAC_PATH_DIRECTORY } aac_path_kind;
aac_path_kind aac_path_kind_of(const char *path);
/* IO, with errno set, if the system cannot tell. */
aaclip_status aac_path_is_folder(bool *is_folder, const char *path);

/* '/', on Windows also '\\'. */
bool aac_is_separator(char c);
/* Whether it begins at the root (on Windows: a drive or a share), so that it is not joined to a
 * folder. */
bool aac_path_is_absolute(const char *path);
/* The absolute path, without "." and ".."; NULL on failure. Free with aac_free. */
char *aac_path_resolve(const char *path);
/* The part after the last separator (on Windows also after a drive's ':'). */
const char *aac_path_name(const char *path);
bool aac_path_has_ending(const char *path, const char *ending); /* case is ignored */

/* Names in a folder, sorted by byte value, without "." and "..". Free with aac_list_free. */
aaclip_status aac_list_folder(char ***names, size_t *count, const char *path);
void aac_list_free(char **names, size_t count);

/*
 * A file that appears whole or not at all: written under a temporary name beside `path`, flushed to
 * disk and renamed by commit; removed by discard. After a failed write, commit fails too and leaves
 * nothing behind. Both free the writer and null the pointer. If `path` is a link, all this applies
 * to its target. A replaced file's permissions carry over to the new one. Neither of these on
 * Windows.
 */
typedef struct aac_writer aac_writer;
aaclip_status aac_writer_open(aac_writer **writer, const char *path);
aaclip_status aac_writer_write(aac_writer *writer, const void *data, size_t size);
/* Replaces bytes that were written; the last write before commit. */
aaclip_status aac_writer_amend(aac_writer *writer, uint64_t offset, const void *data, size_t size);
aaclip_status aac_writer_commit(aac_writer **writer);
void aac_writer_discard(aac_writer **writer);

/* An append-only file: each write is complete or, as far as the system allows, undone. Close
 * accepts NULL. */
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
/* Whether it is held by a thread that a fork left behind: it can never be locked. */
bool aac_mutex_is_orphan(const aac_mutex *mutex);
/* Whether the calling thread holds it, so that locking it would never return. */
bool aac_mutex_is_own(const aac_mutex *mutex);

/* Waiting releases the mutex and takes it back; wakeups may be spurious. */
typedef struct aac_condition aac_condition;
aac_condition *aac_condition_new(void); /* NULL when out of memory */
void aac_condition_free(aac_condition *condition);
void aac_condition_wait(aac_condition *condition, aac_mutex *mutex);
void aac_condition_wait_for(aac_condition *condition, aac_mutex *mutex, double seconds);
void aac_condition_wake_all(aac_condition *condition);

typedef struct aac_thread aac_thread;
/* Runs work(user) in a new thread; NULL if the system cannot create one. */
aac_thread *aac_thread_start(void (*work)(void *user), void *user);
/* Waits for its end and frees it; accepts NULL. A thread left behind by a fork is only freed. */
void aac_thread_join(aac_thread *thread);

/*
 * Starts that many threads, all alive at once, and waits until the system no longer counts them:
 * how many there were. Where nothing bad comes of a thread that cannot be created, the answer is
 * `count`.
 */
int aac_threads_try(int count);

/*
 * Lets forked processes work: before a fork, `prepare` (NULL: that of another call, if any) runs in
 * the forking thread. aac_forks: the number of forks between this process and the one that called
 * aac_forks_watch first; 0 where processes do not fork.
 */
void aac_forks_watch(void (*prepare)(void));
unsigned aac_forks(void);

/*
 * Blocks asynchronous signals for the calling thread and those that it starts; a fault of the
 * thread itself is still delivered. Does nothing where there are no signals.
 */
typedef struct aac_signals {
    uint64_t mask[16];
} aac_signals;
void aac_signals_block(aac_signals *previous);
void aac_signals_restore(const aac_signals *previous);

/* Monotonic clock. */
double aac_seconds_now(void);
void aac_sleep(double seconds);

/* Unpredictable bytes; false if the system gives none. */
bool aac_system_random(void *bytes, size_t size);

/* Processors that this process may run on. */
unsigned aac_processor_count(void);

/* Vector instructions that both the processor and the operating system allow. */
typedef enum aac_isa { AAC_ISA_BASELINE, AAC_ISA_AVX2, AAC_ISA_AVX512 } aac_isa;
aac_isa aac_processor_isa(void);
/* Whether AVX-512 has products of 8-bit integers (VNNI); of those and of bfloat16. */
bool aac_processor_has_vnni(void);
bool aac_processor_multiplies_narrow(void);

#endif
