#include "core/json_text.h"

#include "core/memory.h"

char *aac_json_text(const json_t *value, size_t flags)
{
    const size_t size = value ? json_dumpb(value, NULL, 0, flags) : 0;
    char *text = size ? aac_alloc(size + 1) : NULL;
    if (!text)
        return NULL;
    if (json_dumpb(value, text, size, flags) != size) {
        aac_free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}
