/* Extensible structs: the caller's may be older or newer than the library's. */
#ifndef AAC_CORE_OPTIONS_H
#define AAC_CORE_OPTIONS_H

#include <stddef.h>

#include <aaclip/status.h>

/*
 * `own` (own_size bytes) already holds the defaults; both structs begin with their size_t size.
 * Copies what the caller gave. INVALID_ARGUMENT, naming `what`, if the caller's size cuts off the
 * first fields, or if a tail unknown to this version is not zero. NULL keeps the defaults.
 */
aaclip_status aac_options_read(void *own, size_t own_size, const void *caller, const char *what);

/* Fills the caller's struct of `caller_size` bytes from `own`; a longer rest is zeroed. */
aaclip_status aac_options_write(void *caller, size_t caller_size, const void *own, size_t own_size,
                                const char *what);

#endif
