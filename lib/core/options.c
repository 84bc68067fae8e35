#include "core/options.h"

#include <string.h>

#include "core/error.h"

bool aac_options_has_size(size_t size)
{
    return size >= sizeof size && size <= AAC_OPTIONS_LARGEST;
}

aaclip_status aac_options_read(void *own, size_t own_size, const void *caller, const char *what)
{
    if (!caller)
        return AACLIP_OK;
    size_t size;
    memcpy(&size, caller, sizeof size);
    if (!aac_options_has_size(size))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "%s: size is %zu; initialise the struct with %s_init", what, size, what);
    const unsigned char *bytes = caller;
    for (size_t i = own_size; i < size; i++)
        if (bytes[i])
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "%s: uses a field that this version of the library does not have",
                             what);
    memcpy(own, caller, size < own_size ? size : own_size);
    memcpy(own, &own_size, sizeof own_size);
    return AACLIP_OK;
}

aaclip_status aac_options_write(void *caller, size_t caller_size, const void *own, size_t own_size,
                                const char *what)
{
    if (!caller)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: is NULL", what);
    if (!aac_options_has_size(caller_size))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: set size before the call", what);
    memset(caller, 0, caller_size);
    memcpy(caller, own, caller_size < own_size ? caller_size : own_size);
    memcpy(caller, &caller_size, sizeof caller_size);
    return AACLIP_OK;
}
