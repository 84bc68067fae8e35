#include "core/json_text.h"

#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"

#define LONGEST_NUMBER 64 /* bytes; the library writes at most 24 */

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

json_t *aac_json_made(json_t *value, bool failed)
{
    if (!failed)
        return value;
    json_decref(value);
    return NULL;
}

struct feed {
    const char *at;
    size_t left, pieces;
    aaclip_status status;
};

static size_t next_piece(void *buffer, size_t size, void *user)
{
    struct feed *feed = user;
    feed->status = aac_cancel_look_at(feed->pieces++); /* pieces of 1 kB */
    if (feed->status)
        return (size_t)-1;
    const size_t some = size < feed->left ? size : feed->left;
    memcpy(buffer, feed->at, some);
    feed->at += some;
    feed->left -= some;
    return some;
}

aaclip_status aac_json_parse(json_t **value, const void *text, size_t size, size_t flags,
                             json_error_t *error)
{
    struct feed feed = {.at = text, .left = size};
    *value = json_load_callback(next_piece, &feed, flags, error);
    if (feed.status) { /* jansson takes this for the end of the text, which it may have been */
        json_decref(*value);
        *value = NULL;
    }
    return feed.status;
}

aaclip_status aac_json_embedded(json_t **value, const char *text, const char *where)
{
    json_error_t error = {0};
    const size_t size = strlen(text);
    *value = NULL;
    if (size > AAC_EMBEDDED_JSON)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: expected at most %zu bytes, found %zu", where,
                         AAC_EMBEDDED_JSON, size);
    aaclip_status status = aac_json_parse(value, text, size, JSON_REJECT_DUPLICATES, &error);
    if (status || *value)
        return status;
    return aac_error(AACLIP_ERROR_FORMAT, "%s: %s", where, error.text);
}

bool aac_json_number_read(const char *text, double *value)
{
    const size_t size = strlen(text);
    json_t *number = size <= LONGEST_NUMBER ? json_loadb(text, size, JSON_DECODE_ANY, NULL) : NULL;
    const bool found = json_is_number(number);
    if (found)
        *value = json_number_value(number);
    json_decref(number);
    return found;
}
