/* JSON values as text in the library's memory. */
#ifndef AAC_CORE_JSON_TEXT_H
#define AAC_CORE_JSON_TEXT_H

#include <jansson.h>

/*
 * As json_dumps, whose text would be for the `free` that a program gives jansson; this one is for
 * aac_free. NULL for NULL, when out of memory, or when jansson cannot write the value.
 */
char *aac_json_text(const json_t *value, size_t flags);

#endif
