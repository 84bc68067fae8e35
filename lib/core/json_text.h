/* JSON values to text in the library's memory, and from text that may be long. */
#ifndef AAC_CORE_JSON_TEXT_H
#define AAC_CORE_JSON_TEXT_H

#include <stdbool.h>

#include <jansson.h>

#include <aaclip/status.h>

/*
 * As json_dumps, but freed with aac_free instead of the `free` that a program gives jansson. NULL
 * for NULL, when out of memory, or when jansson cannot write the value.
 */
char *aac_json_text(const json_t *value, size_t flags);

/* What was made of several values: `value`, or NULL, with it freed, where one of them failed. */
json_t *aac_json_made(json_t *value, bool failed);

/*
 * As json_loadb, but can be cancelled. *value is NULL on failure, and with AACLIP_OK if jansson
 * rejected the text: *error says why.
 */
aaclip_status aac_json_parse(json_t **value, const void *text, size_t size, size_t flags,
                             json_error_t *error);

/* Bytes of JSON inside of another file, where a thousand are usual; parsed, text takes up to eighty
 * times its size. */
#define AAC_EMBEDDED_JSON ((size_t)64 << 10)

/*
 * A value that metadata of a file has as text. FORMAT, naming `where`, if it is too long or not
 * JSON; release with json_decref.
 */
aaclip_status aac_json_embedded(json_t **value, const char *text, const char *where);

/* Whether `text` is one number; *value is unchanged if not. */
bool aac_json_number_read(const char *text, double *value);

#endif
