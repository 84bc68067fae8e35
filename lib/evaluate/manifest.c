/* Manifests: one JSON object per line, as in the published release. */
#include <string.h>

#include <jansson.h>

#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/platform.h"
#include "core/utf8.h"
#include "evaluate/dataset.h"
#include "evaluate/dataset_types.h"

/* Far more than three paths need; parsed, a line takes up to eighty times its size. */
#define LONGEST_LINE ((size_t)1 << 20)

static bool is_blank(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t\r", line[i]))
            return false;
    return true;
}

/* A non-empty text; absent or null gives NULL if it is optional. */
static aaclip_status read_text(const char **text, const json_t *line, const char *key,
                               bool optional)
{
    const json_t *value = json_object_get(line, key);
    *text = json_string_value(value);
    if (optional && (!value || json_is_null(value) || (*text && !**text))) {
        *text = NULL;
        return AACLIP_OK;
    }
    if (*text && **text)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_FORMAT, "\"%s\": expected a %sstring%s", key,
                     optional ? "" : "non-empty ", optional ? " or null" : "");
}

/* Without the key the label is unknown. */
static aaclip_status read_label(int *label, const json_t *line)
{
    const json_t *value = json_object_get(line, "label");
    *label = -1;
    if (!value)
        return AACLIP_OK;
    const json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    *label = number == 1;
    if (number == 0 || number == 1)
        return AACLIP_OK;
    char *found = aac_json_text(value, JSON_ENCODE_ANY);
    aaclip_status status = aac_error(AACLIP_ERROR_FORMAT, "\"label\": expected 0 or 1, found %.40s",
                                     found ? found : "something else");
    aac_free(found);
    return status;
}

static aaclip_status read_object(aac_dataset_reader *reader, const json_t *line)
{
    aaclip_sample sample = {0};
    aaclip_status status = read_text(&sample.image_path, line, "image_path", false);
    if (!status)
        status = read_text(&sample.class_name, line, "class_name", false);
    if (!status)
        status = read_text(&sample.mask_path, line, "mask_path", true);
    if (!status)
        status = read_label(&sample.label, line);
    return status ? status : aac_dataset_add_listed(reader, &sample);
}

static aaclip_status read_line(aac_dataset_reader *reader, const char *text, size_t length)
{
    json_error_t error;
    json_t *line = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    aaclip_status status;
    if (json_is_object(line))
        status = read_object(reader, line);
    else if (line)
        status = aac_error(AACLIP_ERROR_FORMAT, "expected a JSON object");
    else if (json_error_code(&error) == json_error_out_of_memory)
        status = aac_error_memory();
    else
        status = aac_error(AACLIP_ERROR_FORMAT, "column %d: %s", error.column, error.text);
    json_decref(line);
    return status;
}

aaclip_status aac_dataset_read_manifest(aac_dataset_reader *reader, const char *path)
{
    aac_mapping file;
    aaclip_status status = aac_read_file(&file, path);
    if (status)
        return status;
    const char *text = (const char *)file.data, *end = text + file.size;
    const char *next = aac_skip_byte_order_mark(text, end);
    for (size_t number = 1; !status && next < end; number++) {
        const char *stop = memchr(next, '\n', (size_t)(end - next));
        size_t length = (size_t)((stop ? stop : end) - next);
        if (length > LONGEST_LINE)
            status = aac_error(AACLIP_ERROR_FORMAT, "expected at most %zu bytes, found %zu",
                               LONGEST_LINE, length);
        else if (!is_blank(next, length))
            status = read_line(reader, next, length);
        if (status)
            aac_error_prefix(status, "%s:%zu", path, number);
        next += length + (stop != NULL);
    }
    aac_unmap_file(&file);
    return status;
}

/* The path relative to the root, if it lies below it. */
static const char *below_root(const aaclip_dataset *dataset, const char *path)
{
    size_t length = strlen(dataset->root);
    bool below = strncmp(path, dataset->root, length) == 0 && aac_is_separator(path[length]);
    return below ? path + length + 1 : path;
}

/* NULL: out of memory. */
static json_t *object_of(const aaclip_dataset *dataset, const aaclip_sample *sample)
{
    json_t *object = json_object();
    int failed = json_object_set_new(object, "image_path",
                                     json_string(below_root(dataset, sample->image_path)));
    if (sample->label >= 0)
        failed |= json_object_set_new(object, "label", json_integer(sample->label));
    failed |= json_object_set_new(object, "class_name", json_string(sample->class_name));
    if (sample->mask_path)
        failed |= json_object_set_new(object, "mask_path",
                                      json_string(below_root(dataset, sample->mask_path)));
    return aac_json_made(object, failed);
}

static aaclip_status write_sample(aac_writer *writer, const aaclip_dataset *dataset,
                                  const aaclip_sample *sample)
{
    const char *const texts[] = {sample->image_path, sample->class_name,
                                 sample->mask_path ? sample->mask_path : ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!aac_utf8_is_valid(texts[i]))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "%s: expected paths and a class name in UTF-8", sample->image_path);
    json_t *object = object_of(dataset, sample);
    if (!object)
        return aac_error_memory();
    char *line = aac_json_text(object, 0);
    json_decref(object);
    if (!line)
        return aac_error_memory();
    aaclip_status status = aac_writer_write(writer, line, strlen(line));
    aac_free(line);
    return status ? status : aac_writer_write(writer, "\n", 1);
}

aaclip_status aaclip_dataset_save_manifest(const aaclip_dataset *dataset, const char *path)
{
    if (!dataset || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_dataset_save_manifest: NULL argument");
    aac_writer *writer;
    aaclip_status status = aac_writer_open(&writer, path);
    for (size_t i = 0; !status && i < dataset->count; i++)
        status = write_sample(writer, dataset, &dataset->samples[i]);
    if (!status)
        return aac_writer_commit(&writer);
    aac_writer_discard(&writer);
    return status;
}
