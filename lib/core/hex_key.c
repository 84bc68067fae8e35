#include "core/hex_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS (AAC_HEX_KEY_SIZE - 1)

const char *aac_hex_key(char text[AAC_HEX_KEY_SIZE], uint64_t key)
{
    snprintf(text, AAC_HEX_KEY_SIZE, "%016llx", (unsigned long long)key);
    return text;
}

bool aac_hex_key_read(const char *text, uint64_t *key)
{
    if (!text || strlen(text) != DIGITS || strspn(text, "0123456789abcdefABCDEF") != DIGITS)
        return false;
    *key = strtoull(text, NULL, 16);
    return true;
}
