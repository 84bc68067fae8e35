/* Reading JSON files with errors that name file and key. */
#ifndef AAC_FILES_JSON_H
#define AAC_FILES_JSON_H

#include <jansson.h>

#include <aaclip/status.h>

/* An object; release with json_decref. Files over 64 MB are refused. */
aaclip_status aac_json_read(json_t **root, const char *path);

#endif
