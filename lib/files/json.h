/* JSON files, and locale-independent numbers as text. */
#ifndef AAC_FILES_JSON_H
#define AAC_FILES_JSON_H

#include <jansson.h>

#include <aaclip/status.h>

/* An object; release with json_decref. Files over 4 MB are refused. */
aaclip_status aac_json_read(json_t **root, const char *path);

/* A number as JSON writes it; the caller frees it with aac_free. NULL when out of memory. */
char *aac_json_number(double value);

#endif
