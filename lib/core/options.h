/* Extensible structs: the caller's may be older or newer than the library's. */
#ifndef AAC_CORE_OPTIONS_H
#define AAC_CORE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include <aaclip/status.h>

/* No version's struct is larger; a larger size was never set. */
#define AAC_OPTIONS_LARGEST ((size_t)1 << 16)

/* False if the program cannot have set this size. */
bool aac_options_has_size(size_t size);

/*
 * `own` (own_size bytes) already holds the defaults; both structs begin with their size_t size.
 * Copies what the caller gave. INVALID_ARGUMENT, naming `what`, if the caller's size was not set or
 * if a tail unknown to this version is not zero. NULL keeps the defaults.
 */
aaclip_status aac_options_read(void *own, size_t own_size, const void *caller, const char *what);

/* Fills the caller's struct of `caller_size` bytes from `own`; a longer rest is zeroed.
 * INVALID_ARGUMENT for NULL and for a size that was not set. */
aaclip_status aac_options_write(void *caller, size_t caller_size, const void *own, size_t own_size,
                                const char *what);

#endif
