#include "core/utf8.h"

#include <string.h>

#include <utf8proc.h>

bool aac_utf8_is_valid(const char *utf8)
{
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(utf8);
    while (left > 0) {
        utf8proc_int32_t codepoint;
        utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)utf8, left, &codepoint);
        if (used <= 0)
            return false;
        utf8 += used;
        left -= used;
    }
    return true;
}

int aac_utf8_excerpt(const char *utf8, int limit)
{
    int length = 0;
    while (length < limit && utf8[length])
        length++;
    while (length > 0 && ((unsigned char)utf8[length] & 0xc0) == 0x80)
        length--;
    return length;
}
