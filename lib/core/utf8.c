#include "core/utf8.h"

#include <string.h>

#include <utf8proc.h>

bool aac_utf8_is_valid(const char *utf8)
{
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(utf8), used = 1;
    for (utf8proc_int32_t codepoint; left > 0 && used > 0; left -= used, utf8 += used)
        used = utf8proc_iterate((const utf8proc_uint8_t *)utf8, left, &codepoint);
    return used > 0;
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
