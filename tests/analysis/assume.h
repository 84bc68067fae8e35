/* What an analyser that sees one file at a time cannot know: the status of an error is not
 * AACLIP_OK, and a program's complaint is true. */
#if __has_include("core/error.h")
#include "core/error.h"

#define AAC_NOT_OK(call, status)                                                                   \
    __extension__({                                                                                \
        const aaclip_status status_ = (status);                                                    \
        if (!status_)                                                                              \
            __builtin_unreachable();                                                               \
        (void)call;                                                                                \
        status_;                                                                                   \
    })
#define aac_error(status, ...)        AAC_NOT_OK(aac_error(status_, __VA_ARGS__), status)
#define aac_error_prefix(status, ...) AAC_NOT_OK(aac_error_prefix(status_, __VA_ARGS__), status)
#define aac_error_memory()            AAC_NOT_OK(aac_error_memory(), AACLIP_ERROR_OUT_OF_MEMORY)
#endif

#if __has_include("common.h")
#include "common.h"

#define complain(...) __extension__({ (void)complain(__VA_ARGS__), true; })
#endif
