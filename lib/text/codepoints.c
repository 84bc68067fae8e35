#include "text/codepoints.h"

#include <string.h>

#include <utf8proc.h>

#include "core/memory.h"

void aac_codepoints_append(aac_codepoints *text, int32_t codepoint)
{
    if (text->failed)
        return;
    int32_t *data = aac_grow(text->data, &text->capacity, text->count + 1, sizeof *data);
    text->failed = !data;
    if (!data)
        return;
    text->data = data;
    data[text->count++] = codepoint;
}

bool aac_codepoints_append_utf8(aac_codepoints *text, const char *utf8)
{
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)utf8;
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(utf8);
    while (left > 0) {
        utf8proc_int32_t codepoint;
        utf8proc_ssize_t used = utf8proc_iterate(bytes, left, &codepoint);
        if (used <= 0)
            return false;
        aac_codepoints_append(text, codepoint);
        bytes += used;
        left -= used;
    }
    return true;
}

bool aac_codepoints_equal(const aac_codepoints *a, const aac_codepoints *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->data, b->data, a->count * sizeof *a->data) == 0);
}

void aac_codepoints_free(aac_codepoints *text)
{
    aac_free(text->data);
    *text = (aac_codepoints){0};
}
