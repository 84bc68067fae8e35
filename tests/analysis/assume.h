/* What an analyser that sees one file at a time cannot know: an error status is not AACLIP_OK. */
#include "core/error.h"

#define AAC_NOT_OK(call, status)                                                                   \
    __extension__({                                                                                \
        const aaclip_status status_ = (status);                                                    \
        if (!status_)                                                                              \
            __builtin_unreachable();                                                               \
        (void)(call);                                                                              \
        status_;                                                                                   \
    })
#define aac_error(status, ...)        AAC_NOT_OK(aac_error(status_, __VA_ARGS__), status)
#define aac_error_prefix(status, ...) AAC_NOT_OK(aac_error_prefix(status_, __VA_ARGS__), status)
#define aac_error_memory()            AAC_NOT_OK(aac_error_memory(), AACLIP_ERROR_OUT_OF_MEMORY)
