/* Text from files and callers. */
#ifndef AAC_CORE_UTF8_H
#define AAC_CORE_UTF8_H

#include <stdbool.h>

bool aac_utf8_is_valid(const char *utf8);
/* Bytes, at most `limit`, of the start of `utf8` without cutting a character: for messages. */
int aac_utf8_excerpt(const char *utf8, int limit);

#endif
