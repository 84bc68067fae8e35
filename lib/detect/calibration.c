/* Thresholds: how they are chosen, kept and used. */
#include "detect/calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/metrics.h>
#include <aaclip/regions.h>
#include <jansson.h>

#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/platform.h"
#include "files/json.h"
#include "model/adapters.h"
#include "model/save.h"

#define MOST_IMAGES (1ull << 53) /* what other readers of JSON take exactly */

static const char *const method_names[] = {"quantile", "f1_max"};

aaclip_status aaclip_calibration_init_sized(aaclip_calibration *calibration, size_t struct_size)
{
    const aaclip_calibration own = {
        .size = sizeof own, .image_threshold = 0.5f, .map_threshold = 0.5f};
    return aac_options_write(calibration, struct_size, &own, sizeof own, "aaclip_calibration");
}

static bool is_rate(double rate)
{
    return rate >= 0 && rate < 1;
}

static aaclip_status invalid(const char *field, double value, const char *expected)
{
    return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_calibration.%s: expected %s, found %g",
                     field, expected, value);
}

static aaclip_status check(const aaclip_calibration *calibration)
{
    if (!isfinite(calibration->image_threshold))
        return invalid("image_threshold", calibration->image_threshold, "a finite number");
    if (!isfinite(calibration->map_threshold))
        return invalid("map_threshold", calibration->map_threshold, "a finite number");
    if (!is_rate(calibration->false_alarm_rate))
        return invalid("false_alarm_rate", calibration->false_alarm_rate, "0 or more, below 1");
    if ((unsigned)calibration->method > AACLIP_CALIBRATION_F1_MAX)
        return invalid("method", calibration->method, "a method");
    if (calibration->images > MOST_IMAGES)
        return invalid("images", (double)calibration->images, "at most 2^53");
    return AACLIP_OK;
}

aaclip_status aac_calibration_read(aaclip_calibration *own, const aaclip_calibration *calibration)
{
    if (!calibration)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_calibration: NULL");
    aaclip_calibration_init(own);
    aaclip_status status = aac_options_read(own, sizeof *own, calibration, "aaclip_calibration");
    return status ? status : check(own);
}

static int compare_falling(const void *left, const void *right)
{
    const float a = *(const float *)left, b = *(const float *)right;
    return (a < b) - (a > b);
}

/* The largest k with k / count <= rate; the product alone may round to the wrong side. */
static size_t allowed_alarms(size_t count, double rate)
{
    size_t allowed = (size_t)(rate * (double)count);
    while (allowed && (double)allowed / (double)count > rate)
        allowed--;
    while ((double)(allowed + 1) / (double)count <= rate)
        allowed++;
    return allowed;
}

static aaclip_status check_scores(const char *function, const float *scores, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(scores[i]))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "%s: score %zu: expected a finite number, found %g", function, i,
                             (double)scores[i]);
    return AACLIP_OK;
}

aaclip_status aaclip_calibrate_quantile(const float *good_scores, size_t count,
                                        double false_alarm_rate, float *threshold)
{
    static const char name[] = "aaclip_calibrate_quantile";
    if (!good_scores || !count || !threshold)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: expected at least one score", name);
    if (!is_rate(false_alarm_rate))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "%s: false alarm rate: expected 0 or more, below 1, found %g", name,
                         false_alarm_rate);
    aaclip_status status = check_scores(name, good_scores, count);
    if (status)
        return status;
    float *sorted = aac_alloc_array(count, sizeof *sorted);
    if (!sorted)
        return aac_error_memory();
    memcpy(sorted, good_scores, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_falling);
    const float above = nextafterf(sorted[allowed_alarms(count, false_alarm_rate)], INFINITY);
    aac_free(sorted);
    if (!isfinite(above))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: no float is above the scores", name);
    *threshold = above;
    return AACLIP_OK;
}

static aaclip_status check_labels(const char *function, const int *labels, size_t count)
{
    size_t abnormal = 0;
    for (size_t i = 0; i < count; i++) {
        if (labels[i] != 0 && labels[i] != 1)
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "%s: label %zu: expected 0 or 1, found %d", function, i, labels[i]);
        abnormal += labels[i] == 1;
    }
    if (!abnormal || abnormal == count)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "%s: labels: expected normal and abnormal images, found %zu and %zu",
                         function, count - abnormal, abnormal);
    return AACLIP_OK;
}

/* The metrics' own F1-max, so that an evaluation tells the same threshold. */
static aaclip_status find_f1(const float *scores, const int *labels, size_t count,
                             aaclip_metric_values *values)
{
    aaclip_metrics *metrics = NULL;
    aaclip_metrics_options options;
    aaclip_metrics_options_init(&options);
    options.wanted = AACLIP_METRICS_IMAGES;
    aaclip_status status = aaclip_metrics_new(&metrics, &options);
    for (size_t i = 0; !status && i < count; i++)
        status = aaclip_metrics_add(metrics, "calibration", NULL, NULL, 0, 0, scores[i], labels[i]);
    if (!status)
        status = aaclip_metrics_compute(metrics, 0, values);
    aaclip_metrics_close(&metrics);
    return status;
}

aaclip_status aaclip_calibrate_f1(const float *scores, const int *labels, size_t count,
                                  float *threshold, double *f1)
{
    static const char name[] = "aaclip_calibrate_f1";
    aaclip_metric_values values = {.size = sizeof values};
    if (!scores || !labels || !threshold)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: NULL argument", name);
    aaclip_status status = check_labels(name, labels, count);
    if (!status)
        status = find_f1(scores, labels, count, &values);
    if (status)
        return status;
    *threshold = (float)values.image_f1_threshold;
    if (f1)
        *f1 = values.image_f1_max;
    return AACLIP_OK;
}

aaclip_status aaclip_decide(const aaclip_calibration *calibration, float score, const float *map,
                            const uint8_t *roi, uint32_t width, uint32_t height, bool *defective)
{
    aaclip_calibration own;
    float peak;
    if (!defective)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_decide: defective is NULL");
    aaclip_status status = aac_calibration_read(&own, calibration);
    if (!status && !roi && isnan(score))
        status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                           "aaclip_decide: score: expected a number, found NaN");
    if (!status && roi)
        status = aaclip_map_peak(map, roi, width, height, &peak);
    if (!status)
        *defective = roi ? peak >= own.map_threshold : score >= own.image_threshold;
    return status;
}

/* Text with all digits that numbers need; NULL when out of memory. */
static char *to_json(const aaclip_calibration *calibration, size_t layout)
{
    json_t *root = json_pack(
        "{s:f, s:f, s:f, s:s, s:I}", "image_threshold", (double)calibration->image_threshold,
        "map_threshold", (double)calibration->map_threshold, "false_alarm_rate",
        calibration->false_alarm_rate, "method", method_names[calibration->method], "images",
        (json_int_t)calibration->images);
    char *text = aac_json_text(root, layout | JSON_REAL_PRECISION(17));
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

static bool read_method(const json_t *root, aaclip_calibration_method *method)
{
    const char *name = json_string_value(json_object_get(root, "method"));
    *method = AACLIP_CALIBRATION_QUANTILE;
    while (name && *method < AACLIP_CALIBRATION_F1_MAX && strcmp(name, method_names[*method]) != 0)
        *method = *method + 1;
    return name && strcmp(name, method_names[*method]) == 0;
}

/* Fields that a later version may add are passed over. */
static aaclip_status from_json(aaclip_calibration *calibration, const json_t *root,
                               const char *name)
{
    const json_t *rate = json_object_get(root, "false_alarm_rate");
    const json_t *images = json_object_get(root, "images");
    const json_int_t count = json_integer_value(images);
    aaclip_calibration_init(calibration);
    calibration->false_alarm_rate = json_number_value(rate);
    calibration->images = (uint64_t)count;
    if (!read_float(root, "image_threshold", &calibration->image_threshold))
        return malformed(name, "image_threshold", "a number");
    if (!read_float(root, "map_threshold", &calibration->map_threshold))
        return malformed(name, "map_threshold", "a number");
    if (!json_is_number(rate) || !is_rate(calibration->false_alarm_rate))
        return malformed(name, "false_alarm_rate", "0 or more, below 1");
    if (!read_method(root, &calibration->method))
        return malformed(name, "method", "quantile or f1_max");
    if (!json_is_integer(images) || count < 0 || (uint64_t)count > MOST_IMAGES)
        return malformed(name, "images", "an integer from 0 to 2^53");
    return AACLIP_OK;
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
        status = aac_writer_commit(&writer); /* fails if a write did */
    }
    aac_free(text);
    return status;
}

aaclip_status aaclip_calibration_open(aaclip_calibration *calibration, const char *path)
{
    aaclip_calibration own;
    json_t *root;
    if (!calibration || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_calibration_open: NULL argument");
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
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    aaclip_status status = root ? from_json(&own, root, name)
                                : aac_error(AACLIP_ERROR_FORMAT, "%s: %s", name, error.text);
    json_decref(root);
    return status ? aac_error_prefix(status, "%s", path) : hand_out(calibration, &own);
}
