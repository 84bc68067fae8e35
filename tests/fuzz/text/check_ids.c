#include "check_ids.h"

#include <stdlib.h>
#include <string.h>

static void check(const int32_t *ids, size_t count, int32_t limit)
{
    if (count < 2 || count > CONTEXT)
        abort();
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= limit)
            abort();
}

void check_ids(const aac_tokenizer *tokenizer, const uint8_t *bytes, size_t size, int32_t limit)
{
    int32_t ids[CONTEXT];
    size_t count;
    char *text = malloc(size + 1);
    if (!text)
        return;
    memcpy(text, bytes, size);
    text[size] = '\0';
    if (aac_tokenizer_encode(tokenizer, text, true, ids, CONTEXT, &count) == AACLIP_OK) {
        check(ids, count, limit);
        /* Text that was cut, or just fits: only then does not cutting make a difference. */
        if (count == CONTEXT &&
            aac_tokenizer_encode(tokenizer, text, false, ids, CONTEXT, &count) == AACLIP_OK)
            check(ids, count, limit);
    }
    free(text);
}
