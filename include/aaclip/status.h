/**
 * @file
 * Status codes, per-thread error text, logging and memory hooks.
 */
#ifndef AACLIP_STATUS_H
#define AACLIP_STATUS_H

#include <stddef.h>

#include <aaclip/export.h>

AACLIP_BEGIN_DECLS

/** Returned by calls. Values are part of the ABI: new codes are appended. */
typedef enum aaclip_status {
    AACLIP_OK = 0,                     /**< success */
    AACLIP_ERROR_INVALID_ARGUMENT = 1, /**< the caller broke the contract of the call */
    AACLIP_ERROR_OUT_OF_MEMORY = 2,    /**< an allocation failed, or a size exceeds memory */
    AACLIP_ERROR_IO = 3,               /**< the operating system refused: open, read, write, map */
    AACLIP_ERROR_FORMAT = 4,           /**< a file is damaged, truncated or inconsistent */
    AACLIP_ERROR_UNSUPPORTED = 5,      /**< valid, but outside what the library or backend does */
    AACLIP_ERROR_MISMATCH = 6,  /**< two inputs do not belong together (shapes, fingerprints) */
    AACLIP_ERROR_NOT_FOUND = 7, /**< no such file, tensor, class or backend */
    AACLIP_ERROR_CANCELLED = 8, /**< a callback or a flag asked to stop */
    AACLIP_ERROR_BACKEND = 9    /**< a compute library failed */
} aaclip_status;

/** Short name of a status, for example "out of memory". Static text; any thread. */
AACLIP_API const char *aaclip_status_string(aaclip_status status);

/**
 * Text of the last error in the calling thread: names the file, the tensor, what was expected and
 * what was found. Never NULL; empty before the first error. Successful calls do not change it.
 * Owned by the library; valid until the next library call of this thread.
 */
AACLIP_API const char *aaclip_last_error(void);

/** Severity of a message; messages less severe than the level set are dropped. */
typedef enum aaclip_log_level {
    AACLIP_LOG_ERROR = 0,   /**< none in this version: calls return errors */
    AACLIP_LOG_WARNING = 1, /**< the call continues, perhaps not as intended */
    AACLIP_LOG_INFO = 2,    /**< none in this version */
    AACLIP_LOG_DEBUG = 3    /**< what runs where, and messages of underlying libraries */
} aaclip_log_level;

/**
 * Receives one message without a trailing newline. May be called from any thread, and from several
 * at a time. It may call the library; a call with a handle that its own call is using gives
 * INVALID_ARGUMENT.
 */
typedef void (*aaclip_log_function)(aaclip_log_level level, const char *message, void *user);

/**
 * Sends messages up to `level` to `function`; NULL turns logging off (the default). The library
 * itself prints nothing. May be called at any time: when it returns, no other thread is in a call
 * of the former function or begins one, so what `user` points to may be freed. Until then it waits
 * for such calls; do not hold a lock that the function takes. It may be called in a log function,
 * whose own call then goes on afterwards; two that do so at a time do not wait for each other.
 */
AACLIP_API void aaclip_set_log(aaclip_log_function function, aaclip_log_level level, void *user);

/** Memory hooks. All members are required; each must be callable from any thread. */
typedef struct aaclip_allocator {
    void *(*allocate)(size_t size, void *user);    /**< like malloc; NULL when out of memory */
    void (*deallocate)(void *pointer, void *user); /**< like free; never gets NULL */
    void *user;                                    /**< passed to both */
} aaclip_allocator;

/**
 * Makes the library allocate through `allocator` (copied); NULL restores malloc and free. Call it
 * before anything else: memory must be freed by the allocator that it came from. Underlying
 * libraries (oneDNN, libpng, OpenMP ...) keep their own allocators.
 */
AACLIP_API void aaclip_set_allocator(const aaclip_allocator *allocator);

AACLIP_END_DECLS

#endif
