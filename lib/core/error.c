#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "core/memory.h"
#include "core/platform.h"

#define ERROR_TEXT_SIZE sizeof(aac_error_text)

static AAC_THREAD_LOCAL char error_text[ERROR_TEXT_SIZE];
static const char memory_text[] = "out of memory";

static const char *const status_names[] = {
    [AACLIP_OK] = "ok",
    [AACLIP_ERROR_INVALID_ARGUMENT] = "invalid argument",
    [AACLIP_ERROR_OUT_OF_MEMORY] = "out of memory",
    [AACLIP_ERROR_IO] = "input/output error",
    [AACLIP_ERROR_FORMAT] = "malformed file",
    [AACLIP_ERROR_UNSUPPORTED] = "unsupported",
    [AACLIP_ERROR_MISMATCH] = "mismatch",
    [AACLIP_ERROR_NOT_FOUND] = "not found",
    [AACLIP_ERROR_CANCELLED] = "cancelled",
    [AACLIP_ERROR_BACKEND] = "backend failure",
};

const char *aaclip_status_string(aaclip_status status)
{
    size_t index = (size_t)status;
    return index < sizeof status_names / sizeof *status_names ? status_names[index]
                                                              : "unknown status";
}

const char *aaclip_last_error(void)
{
    return error_text;
}

/* Whether a control character starts here, and its bytes: 0 to 1f, 7f, and 80 to 9f in UTF-8. */
static int control_bytes(const char *text)
{
    const unsigned char first = (unsigned char)text[0], second = (unsigned char)text[1];
    if (first < 0x20 || first == 0x7f)
        return 1;
    return first == 0xc2 && second >= 0x80 && second <= 0x9f ? 2 : 0;
}

void aac_copy_visible(char *out, size_t size, const char *text)
{
    char *const end = out + size - 1;
    while (*text && out < end) {
        const int controls = control_bytes(text);
        if (!controls)
            *out++ = *text++;
        else if (end - out < 4 * controls)
            break;
        for (int i = 0; i < controls; i++)
            out += snprintf(out, sizeof "\\xff", "\\x%02x", (unsigned char)*text++);
    }
    *out = '\0';
}

aaclip_status aac_error(aaclip_status status, const char *format, ...)
{
    char text[ERROR_TEXT_SIZE]; /* an argument may point into error_text itself */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    aac_copy_visible(error_text, sizeof error_text, text);
    return status;
}

aac_error_text aac_error_keep(void)
{
    aac_error_text kept;
    memcpy(kept.text, error_text, sizeof kept.text);
    return kept;
}

void aac_error_restore(const aac_error_text *kept)
{
    memcpy(error_text, kept->text, sizeof kept->text);
}

aaclip_status aac_error_prefix(aaclip_status status, const char *format, ...)
{
    if (strcmp(error_text, memory_text) == 0)
        return status;
    char prefix[ERROR_TEXT_SIZE], text[2 * ERROR_TEXT_SIZE + 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    snprintf(text, sizeof text, "%s: %s", prefix, error_text);
    aac_copy_visible(error_text, sizeof error_text, text);
    return status;
}

aaclip_status aac_error_memory(void)
{
    const aac_refusal refusal = aac_alloc_take_refusal();
    if (refusal.limit)
        return aac_error(AACLIP_ERROR_OUT_OF_MEMORY,
                         "out of memory: expected at most %llu bytes, found %llu" AAC_LIMIT_HINT,
                         (unsigned long long)refusal.limit, (unsigned long long)refusal.needed);
    memcpy(error_text, memory_text, sizeof memory_text);
    return AACLIP_ERROR_OUT_OF_MEMORY;
}
