/* A growing text of Unicode code points. */
#ifndef AAC_TEXT_CODEPOINTS_H
#define AAC_TEXT_CODEPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins as {0}. */
typedef struct aac_codepoints {
    int32_t *data;
    size_t count, capacity;
    bool failed; /* out of memory: the content is incomplete and appending does nothing */
} aac_codepoints;

void aac_codepoints_append(aac_codepoints *text, int32_t codepoint);
/* `utf8` is NUL-terminated. false when it is not UTF-8. */
bool aac_codepoints_append_utf8(aac_codepoints *text, const char *utf8);
bool aac_codepoints_equal(const aac_codepoints *a, const aac_codepoints *b);
void aac_codepoints_free(aac_codepoints *text);

#endif
