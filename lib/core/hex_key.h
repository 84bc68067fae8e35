/* 64-bit keys as files hold them: 16 hexadecimal digits. */
#ifndef AAC_CORE_HEX_KEY_H
#define AAC_CORE_HEX_KEY_H

#include <stdbool.h>
#include <stdint.h>

#define AAC_HEX_KEY_SIZE 17 /* with the terminator */

/* In lower case; returns `text`. */
const char *aac_hex_key(char text[AAC_HEX_KEY_SIZE], uint64_t key);
/* In either case; false, and *key stays, where `text` is NULL or anything else. */
bool aac_hex_key_read(const char *text, uint64_t *key);

#endif
