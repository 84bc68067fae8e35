/**
 * @file
 * Where the time goes: calls, seconds, FLOP and bytes of every kind of operation.
 */
#ifndef AACLIP_PROFILER_H
#define AACLIP_PROFILER_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/**
 * @file
 *
 * A profiler counts what the backends run for one thread's calls, with any model:
 *
 *     aaclip_profiler *profiler = NULL;
 *     aaclip_profiler_start(&profiler);
 *     aaclip_detector_detect(detector, &view, "nut", &result);
 *     aaclip_profiler_stop(profiler);
 *     aaclip_profiler_entry entry = {.size = sizeof entry};
 *     for (size_t i = 0; !aaclip_profiler_get(profiler, i, &entry); i++)
 *         printf("%s %s: %.3f s\n", entry.operation, entry.shape, entry.seconds);
 *     aaclip_profiler_close(&profiler);
 *
 * Without one, each operation costs one comparison more; with one, about a microsecond more.
 */

/**
 * Belongs to the thread that started it: only this thread may call the functions below, and only
 * its library calls are counted, with all threads that work for them. Other threads may run
 * profilers of their own at the same time. One thread may run several; each counts.
 */
typedef struct aaclip_profiler aaclip_profiler;

/**
 * All runs of one operation with one shape on one backend. Texts belong to the profiler.
 */
typedef struct aaclip_profiler_entry {
    size_t size;           /**< sizeof the struct, set by the caller */
    const char *operation; /**< as in aaclip_model_operation_backend; static */
    const char *shape;     /**< informational text; distinguishes entries of an operation */
    const char *backend;   /**< that ran it; static */
    uint32_t threads;      /**< that a run may use; 1 for work too small to share */
    uint64_t calls;        /**< runs */
    double seconds;        /**< of all runs, as seen by the calling thread */
    /** Multiplications and additions of the matrix products, in all runs; 0 for operations without
     * one. What a run recomputes, as the backward pass of attention does, counts once. */
    double flop;
    /** The least that all runs must read or write: every operand once, whatever stays in caches. */
    double bytes;
} aaclip_profiler_entry;

/**
 * Starts a profiler. Close it with aaclip_profiler_close.
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_profiler_start(aaclip_profiler **profiler);

/**
 * Stops counting; what was counted stays. Does nothing if already stopped.
 * Errors: INVALID_ARGUMENT; OUT_OF_MEMORY when an entry could not be allocated and is missing;
 * BACKEND when a device's clock failed and times are too short.
 */
AACLIP_API aaclip_status aaclip_profiler_stop(aaclip_profiler *profiler);

/** Number of entries so far; 0 for NULL. */
AACLIP_API size_t aaclip_profiler_count(const aaclip_profiler *profiler);

/**
 * Copies an entry, in order of first runs. Set entry->size first; running or stopped.
 * Errors: INVALID_ARGUMENT; NOT_FOUND past the end.
 */
AACLIP_API aaclip_status aaclip_profiler_get(const aaclip_profiler *profiler, size_t index,
                                             aaclip_profiler_entry *entry);

/** Stops and frees the profiler and sets *profiler to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_profiler_close(aaclip_profiler **profiler);

AACLIP_END_DECLS

#endif
