/* The calling thread's error text. Every failure is reported once, where it is found. */
#ifndef AAC_CORE_ERROR_H
#define AAC_CORE_ERROR_H

#include <stddef.h>

#include <aaclip/status.h>

/* Records the text and returns `status`: `return aac_error(...)`. */
aaclip_status aac_error(aaclip_status status, const char *format, ...) AACLIP_PRINTF(2, 3);

/* Puts "<prefix>: " (a path, say) before the recorded text and returns `status`. Leaves the text of
 * OUT_OF_MEMORY unchanged. */
aaclip_status aac_error_prefix(aaclip_status status, const char *format, ...) AACLIP_PRINTF(2, 3);

/* Out of memory: a static text, or that of the limit that the allocation would have exceeded. */
aaclip_status aac_error_memory(void);

/* The recorded text, for callers that recover from a failure: a call that succeeds must leave the
 * text unchanged. */
typedef struct aac_error_text {
    char text[1024];
} aac_error_text;

aac_error_text aac_error_keep(void);
void aac_error_restore(const aac_error_text *kept);

/* Copies what fits. Texts quote names out of files, whose control characters could command a
 * terminal or forge a line of a log: they become \xHH. */
void aac_copy_visible(char *out, size_t size, const char *text);

void aac_log(aaclip_log_level level, const char *format, ...) AACLIP_PRINTF(2, 3);

#endif
