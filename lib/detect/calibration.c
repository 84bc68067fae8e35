/* Thresholds: choosing and applying them. */
#include "detect/calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/metrics.h>
#include <aaclip/regions.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/utf8.h"
#include "core/window.h"

aaclip_status aaclip_calibration_init_sized(aaclip_calibration *calibration, size_t struct_size)
{
    const aaclip_calibration own = {
        .size = sizeof own, .image_threshold = 0.5f, .map_threshold = 0.5f};
    return aac_options_write(calibration, struct_size, &own, sizeof own, "aaclip_calibration");
}

bool aac_is_rate(double rate)
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
    const aac_window window = {calibration->window_low, calibration->window_high};
    if (!isfinite(calibration->image_threshold))
        return invalid("image_threshold", calibration->image_threshold, "a finite number");
    if (!isfinite(calibration->map_threshold))
        return invalid("map_threshold", calibration->map_threshold, "a finite number");
    if (!aac_is_rate(calibration->false_alarm_rate))
        return invalid("false_alarm_rate", calibration->false_alarm_rate, "0 or more, below 1");
    if ((unsigned)calibration->method > AACLIP_CALIBRATION_F1_MAX)
        return invalid("method", calibration->method, "a method");
    if (calibration->images > AAC_CALIBRATION_IMAGES)
        return invalid("images", (double)calibration->images, "at most 2^53");
    if ((unsigned)calibration->decide_by > AACLIP_DECIDE_BY_EITHER)
        return invalid("decide_by", calibration->decide_by, "score, map or either");
    if (calibration->image_size > INT32_MAX)
        return invalid("image_size", calibration->image_size, "at most 2^31 - 1");
    if (calibration->tile > INT32_MAX)
        return invalid("tile", calibration->tile, "at most 2^31 - 1");
    if ((unsigned)calibration->domain > AACLIP_DOMAIN_MEDICAL)
        return invalid("domain", calibration->domain, "a domain");
    if (!isfinite(calibration->tile_overlap))
        return invalid("tile_overlap", calibration->tile_overlap, "a finite number");
    if (aac_window_is_given(&window) && !aac_window_is_valid(&window))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_calibration.window_low: expected two finite numbers, the smaller "
                         "first, found %g and %g",
                         window.low, window.high);
    if (!memchr(calibration->class_name, 0, sizeof calibration->class_name))
        return aac_error(
            AACLIP_ERROR_INVALID_ARGUMENT,
            "aaclip_calibration.class_name: expected a string that ends within %zu bytes",
            sizeof calibration->class_name);
    if (!aac_utf8_is_valid(calibration->class_name))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_calibration.class_name: expected UTF-8");
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

/* The largest k with k / count <= rate; a plain product may round to the wrong side. */
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
    if (!aac_is_rate(false_alarm_rate))
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
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: no finite number is above the scores",
                         name);
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

/* The metrics' own F1-max, so that an evaluation reports the same threshold. */
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

/* The midpoint between `best` and the largest score below it; `best` if there is none. */
static float middle_below(const float *scores, size_t count, float best)
{
    float below = -INFINITY;
    for (size_t i = 0; i < count; i++)
        if (scores[i] < best && scores[i] > below)
            below = scores[i];
    const float middle = below / 2 + best / 2;
    return middle > below && middle < best ? middle : best;
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
    *threshold = middle_below(scores, count, (float)values.image_f1_threshold);
    if (f1)
        *f1 = values.image_f1_max;
    return AACLIP_OK;
}

/* Whether the map contributes to the decision. */
static bool reads_map(const aaclip_calibration *calibration, const uint8_t *roi)
{
    return roi || calibration->decide_by != AACLIP_DECIDE_BY_SCORE;
}

static bool reads_score(const aaclip_calibration *calibration, const uint8_t *roi)
{
    return !roi && calibration->decide_by != AACLIP_DECIDE_BY_MAP;
}

aaclip_status aaclip_decide(const aaclip_calibration *calibration, float score, const float *map,
                            const uint8_t *roi, uint32_t width, uint32_t height, bool *defective)
{
    aaclip_calibration own;
    float peak = -INFINITY;
    if (!defective)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_decide: defective is NULL");
    aaclip_status status = aac_calibration_read(&own, calibration);
    if (status)
        return status;
    const bool by_score = reads_score(&own, roi);
    if (by_score && isnan(score))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_decide: score: expected a number, found NaN");
    if (reads_map(&own, roi))
        status = aaclip_map_peak(map, roi, width, height, &peak);
    if (!status)
        *defective = (by_score && score >= own.image_threshold) || peak >= own.map_threshold;
    return status;
}
