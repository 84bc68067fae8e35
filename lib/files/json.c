#include "files/json.h"

#include "core/error.h"
#include "core/json_text.h"
#include "core/platform.h"

/* A configuration has a few kilobytes; parsed, a file takes up to eighty times its size. */
#define LARGEST_FILE (4u << 20)

aaclip_status aac_json_read(json_t **root, const char *path)
{
    *root = NULL;
    aac_mapping file;
    aaclip_status status = aac_read_file(&file, path);
    if (status)
        return status;
    json_error_t error = {0};
    if (file.size > LARGEST_FILE)
        status = aac_error(AACLIP_ERROR_FORMAT, "%s: expected at most %u bytes, found %zu", path,
                           LARGEST_FILE, file.size);
    else
        status = aac_json_parse(root, file.data, file.size, JSON_REJECT_DUPLICATES, &error);
    aac_unmap_file(&file);
    if (status)
        return status;
    if (json_is_object(*root))
        return AACLIP_OK;
    status = *root
                 ? aac_error(AACLIP_ERROR_FORMAT, "%s: expected a JSON object", path)
                 : aac_error(AACLIP_ERROR_FORMAT, "%s: line %d: %s", path, error.line, error.text);
    json_decref(*root);
    *root = NULL;
    return status;
}

char *aac_json_number(double value)
{
    json_t *number = json_real(value);
    char *text = aac_json_text(number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    json_decref(number);
    return text;
}
