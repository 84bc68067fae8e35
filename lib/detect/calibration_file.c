/* Calibrations in files: their own JSON, or the metadata of adapters. */
#include "detect/calibration.h"

#include <math.h>
#include <string.h>

#include <jansson.h>

#include "core/error.h"
#include "core/hex_key.h"
#include "core/json_text.h"
#include "core/options.h"
#include "core/memory.h"
#include "core/platform.h"
#include "core/window.h"
#include "files/json.h"
#include "model/adapters.h"
#include "model/save.h"

static const char *const method_names[] = {"quantile", "f1_max"};
static const char *const decide_by_names[] = {"score", "map", "either"};

#define COUNT(names) (int)(sizeof(names) / sizeof *(names))

static bool set_fingerprint(json_t *root, const char *field, uint64_t fingerprint)
{
    char text[AAC_HEX_KEY_SIZE];
    return json_object_set_new(root, field, json_string(aac_hex_key(text, fingerprint))) == 0;
}

/* What the thresholds belong to, if known. */
static bool set_origin(json_t *root, const aaclip_calibration *calibration)
{
    const aac_window window = {calibration->window_low, calibration->window_high};
    bool set = true;
    if (calibration->class_name[0])
        set = json_object_set_new(root, "class_name", json_string(calibration->class_name)) == 0;
    if (calibration->class_fingerprint)
        set = set && set_fingerprint(root, "class_fingerprint", calibration->class_fingerprint);
    if (aac_window_is_given(&window))
        set = set && json_object_set_new(root, "window_low", json_real(window.low)) == 0 &&
              json_object_set_new(root, "window_high", json_real(window.high)) == 0;
    if (!calibration->image_size)
        return set;
    json_t *origin =
        json_pack("{s:i, s:i, s:f, s:s}", "image_size", (int)calibration->image_size, "tile",
                  (int)calibration->tile, "tile_overlap", (double)calibration->tile_overlap,
                  "domain", aaclip_domain_name(calibration->domain));
    set = set && json_object_update(root, origin) == 0 &&
          set_fingerprint(root, "model_fingerprint", calibration->model_fingerprint) &&
          set_fingerprint(root, "adapters_fingerprint", calibration->adapters_fingerprint);
    json_decref(origin);
    return set;
}

/* Text with as many digits as the numbers need; NULL when out of memory. */
static char *to_json(const aaclip_calibration *calibration, size_t layout)
{
    json_t *root = json_pack(
        "{s:f, s:f, s:s, s:f, s:s, s:I}", "image_threshold", (double)calibration->image_threshold,
        "map_threshold", (double)calibration->map_threshold, "decide_by",
        decide_by_names[calibration->decide_by], "false_alarm_rate", calibration->false_alarm_rate,
        "method", method_names[calibration->method], "images", (json_int_t)calibration->images);
    char *text = root && set_origin(root, calibration)
                     ? aac_json_text(root, layout | JSON_REAL_PRECISION(17))
                     : NULL;
    json_decref(root);
    return text;
}

static aaclip_status malformed(const char *name, const char *field, const char *expected)
{
    return aac_error(AACLIP_ERROR_FORMAT, "%s: %s: expected %s", name, field, expected);
}

static bool read_float(const json_t *root, const char *field, float *value)
{
    const json_t *number = json_object_get(root, field);
    *value = (float)json_number_value(number);
    return json_is_number(number) && isfinite(*value);
}

/* The index of a name, `otherwise` if the field is absent, -1 for an unknown name. */
static int read_name(const json_t *root, const char *field, const char *const *names, int count,
                     int otherwise)
{
    const json_t *value = json_object_get(root, field);
    const char *name = json_string_value(value);
    if (!value)
        return otherwise;
    int i = name ? 0 : count;
    while (i < count && strcmp(name, names[i]) != 0)
        i++;
    return i < count ? i : -1;
}

static bool read_size(const json_t *root, const char *field, json_int_t least, uint32_t *value)
{
    const json_t *number = json_object_get(root, field);
    const json_int_t found = json_integer_value(number);
    *value = (uint32_t)found;
    return json_is_integer(number) && found >= least && found <= INT32_MAX;
}

static bool read_fingerprint(const json_t *root, const char *field, uint64_t *value)
{
    return aac_hex_key_read(json_string_value(json_object_get(root, field)), value);
}

static bool read_window(aaclip_calibration *calibration, const json_t *root)
{
    const json_t *low = json_object_get(root, "window_low");
    const json_t *high = json_object_get(root, "window_high");
    const aac_window window = {json_number_value(low), json_number_value(high)};
    if (!aac_window_is_given(&window))
        return (!low || json_is_number(low)) && (!high || json_is_number(high));
    calibration->window_low = window.low;
    calibration->window_high = window.high;
    return json_is_number(low) && json_is_number(high) && aac_window_is_valid(&window);
}

/* Older files have none of this. */
static aaclip_status read_origin(aaclip_calibration *calibration, const json_t *root,
                                 const char *name)
{
    const json_t *class_name = json_object_get(root, "class_name");
    const char *text = class_name ? json_string_value(class_name) : "";
    if (!text || strlen(text) >= sizeof calibration->class_name)
        return malformed(name, "class_name", "a string of at most 127 bytes");
    memcpy(calibration->class_name, text, strlen(text) + 1);
    if (json_object_get(root, "class_fingerprint") &&
        !read_fingerprint(root, "class_fingerprint", &calibration->class_fingerprint))
        return malformed(name, "class_fingerprint", "16 hexadecimal digits");
    if (!read_window(calibration, root))
        return malformed(name, "window_low", "two numbers with window_high, the smaller first");
    if (!json_object_get(root, "image_size"))
        return AACLIP_OK;
    const char *const domain_names[] = {aaclip_domain_name(AACLIP_DOMAIN_INDUSTRIAL),
                                        aaclip_domain_name(AACLIP_DOMAIN_MEDICAL)};
    const int domain = read_name(root, "domain", domain_names, COUNT(domain_names), -1);
    calibration->domain = domain < 0 ? AACLIP_DOMAIN_INDUSTRIAL : (aaclip_domain)domain;
    if (domain < 0)
        return malformed(name, "domain", "industrial or medical");
    if (!read_size(root, "image_size", 1, &calibration->image_size))
        return malformed(name, "image_size", "a number of pixels");
    if (!read_size(root, "tile", 0, &calibration->tile))
        return malformed(name, "tile", "a number of pixels");
    if (!read_float(root, "tile_overlap", &calibration->tile_overlap))
        return malformed(name, "tile_overlap", "a number");
    if (!read_fingerprint(root, "model_fingerprint", &calibration->model_fingerprint))
        return malformed(name, "model_fingerprint", "16 hexadecimal digits");
    if (!read_fingerprint(root, "adapters_fingerprint", &calibration->adapters_fingerprint))
        return malformed(name, "adapters_fingerprint", "16 hexadecimal digits");
    return AACLIP_OK;
}

/* Unknown fields, which a later version may add, are ignored. */
static aaclip_status from_json(aaclip_calibration *calibration, const json_t *root,
                               const char *name)
{
    const json_t *rate = json_object_get(root, "false_alarm_rate");
    const json_t *images = json_object_get(root, "images");
    const json_int_t count = json_integer_value(images);
    const int method = read_name(root, "method", method_names, COUNT(method_names), -1);
    const int decide_by = read_name(root, "decide_by", decide_by_names, COUNT(decide_by_names),
                                    AACLIP_DECIDE_BY_SCORE);
    aaclip_calibration_init(calibration);
    calibration->false_alarm_rate = json_number_value(rate);
    calibration->images = (uint64_t)count;
    if (!read_float(root, "image_threshold", &calibration->image_threshold))
        return malformed(name, "image_threshold", "a number");
    if (!read_float(root, "map_threshold", &calibration->map_threshold))
        return malformed(name, "map_threshold", "a number");
    if (!json_is_number(rate) || !aac_is_rate(calibration->false_alarm_rate))
        return malformed(name, "false_alarm_rate", "0 or more, below 1");
    if (method < 0)
        return malformed(name, "method", "quantile or f1_max");
    if (decide_by < 0)
        return malformed(name, "decide_by", "score, map or either");
    if (!json_is_integer(images) || count < 0 || (uint64_t)count > AAC_CALIBRATION_IMAGES)
        return malformed(name, "images", "an integer from 0 to 2^53");
    calibration->method = (aaclip_calibration_method)method;
    calibration->decide_by = (aaclip_decide_by)decide_by;
    return read_origin(calibration, root, name);
}

static aaclip_status hand_out(aaclip_calibration *calibration, const aaclip_calibration *own)
{
    return aac_options_write(calibration, calibration->size, own, sizeof *own,
                             "aaclip_calibration");
}

aaclip_status aaclip_calibration_save(const aaclip_calibration *calibration, const char *path)
{
    aaclip_calibration own;
    aac_writer *writer = NULL;
    if (!path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_calibration_save: path is NULL");
    aaclip_status status = aac_calibration_read(&own, calibration);
    if (status)
        return status;
    char *text = to_json(&own, JSON_INDENT(2));
    status = text ? aac_writer_open(&writer, path) : aac_error_memory();
    if (!status) {
        aac_writer_write(writer, text, strlen(text));
        aac_writer_write(writer, "\n", 1);
        status = aac_writer_commit(&writer); /* fails if a write has failed */
    }
    aac_free(text);
    return status;
}

aaclip_status aaclip_calibration_load(aaclip_calibration *calibration, const char *path)
{
    aaclip_calibration own;
    json_t *root;
    if (!calibration || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_calibration_load: NULL argument");
    aaclip_status status = aac_json_read(&root, path);
    if (status)
        return status;
    status = from_json(&own, root, path);
    json_decref(root);
    return status ? status : hand_out(calibration, &own);
}

aaclip_status aaclip_adapters_save_calibrated(const aaclip_adapters *adapters,
                                              const aaclip_calibration *calibration,
                                              const char *path)
{
    aaclip_calibration own;
    aac_save_list list = {0};
    if (!adapters || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_adapters_save_calibrated: NULL argument");
    aaclip_status status = aac_calibration_read(&own, calibration);
    if (status)
        return status;
    char *text = to_json(&own, JSON_COMPACT);
    status = aac_adapters_save_entries(adapters, &list, true);
    if (!status)
        status = aac_save_text(&list, AAC_CALIBRATION_KEY, text);
    if (!status)
        status = aac_save_write(&list, path);
    aac_save_clear(&list);
    aac_free(text);
    return status;
}

aaclip_status aaclip_adapters_get_calibration(const aaclip_adapters *adapters,
                                              aaclip_calibration *calibration)
{
    aaclip_calibration own;
    const char *path, *name = "metadata " AAC_CALIBRATION_KEY;
    if (!adapters || !calibration)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_adapters_get_calibration: NULL argument");
    const char *text = aac_adapters_calibration(adapters, &path);
    if (!text)
        return aac_error(AACLIP_ERROR_NOT_FOUND, "these adapters have no calibration");
    json_t *root;
    aaclip_status status = aac_json_embedded(&root, text, name);
    if (!status)
        status = from_json(&own, root, name);
    json_decref(root);
    return status ? aac_error_prefix(status, "%s", path) : hand_out(calibration, &own);
}
