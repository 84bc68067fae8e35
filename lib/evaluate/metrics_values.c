#include <math.h>

#include "core/error.h"
#include "core/options.h"
#include "evaluate/metrics_types.h"

#define MIN_POINTS 8 /* of a curve */

/* The values that means are taken of: all but the thresholds. */
static const size_t metric_offsets[] = {
    offsetof(aaclip_metric_values, pixel_auroc),
    offsetof(aaclip_metric_values, pixel_ap),
    offsetof(aaclip_metric_values, pixel_f1_max),
    offsetof(aaclip_metric_values, aupro_30),
    offsetof(aaclip_metric_values, aupro_05),
    offsetof(aaclip_metric_values, image_auroc),
    offsetof(aaclip_metric_values, image_ap),
    offsetof(aaclip_metric_values, image_f1_max),
    offsetof(aaclip_metric_values, dataset_auroc),
    offsetof(aaclip_metric_values, dataset_ap),
    offsetof(aaclip_metric_values, dataset_f1_max),
    offsetof(aaclip_metric_values, pixel_auroc_error),
    offsetof(aaclip_metric_values, pixel_ap_error),
    offsetof(aaclip_metric_values, pixel_f1_max_error),
    offsetof(aaclip_metric_values, aupro_30_error),
    offsetof(aaclip_metric_values, aupro_05_error),
};

#define METRICS (sizeof metric_offsets / sizeof *metric_offsets)

static double *metric_of(aaclip_metric_values *values, size_t index)
{
    return (double *)((char *)values + metric_offsets[index]);
}

static aaclip_metric_values no_values(void)
{
    aaclip_metric_values values = {.size = sizeof values};
    for (size_t i = 0; i < METRICS; i++)
        *metric_of(&values, i) = NAN;
    values.pixel_f1_threshold = values.image_f1_threshold = values.dataset_f1_threshold = NAN;
    return values;
}

static aaclip_status walk_pixels(const aac_metrics_class *category, aac_tie_visitor visit,
                                 void *user)
{
    if (category->histogram.used) {
        aac_histogram_walk(&category->histogram, visit, user);
        return AACLIP_OK;
    }
    return aac_pixels_walk(category->pixels, category->pixels_count, visit, user);
}

static aaclip_status compute_pixels(const aac_metrics_class *category, aaclip_metric_values *values)
{
    aac_sums sums = {.totals = category->totals};
    aac_bounds bounds = {.totals = category->totals};
    const bool binned = category->histogram.used;
    values->normal_pixels = category->totals.normal;
    values->abnormal_pixels = category->totals.abnormal;
    values->regions = category->totals.regions;
    aaclip_status status = walk_pixels(category, aac_sums_visit, &sums);
    if (status)
        return status;
    if (binned)
        aac_histogram_walk(&category->histogram, aac_bounds_visit, &bounds);
    aac_sums_write_pixels(values, &sums, binned ? &bounds : NULL);
    return AACLIP_OK;
}

static aaclip_status compute_images(const aac_metrics_class *category, aaclip_domain domain,
                                    aaclip_metric_values *values)
{
    aac_sums given = {.totals = aac_images_count(category, AAC_SCORE_GIVEN)};
    aac_sums dataset = {.totals = aac_images_count(category, AAC_SCORE_DATASET)};
    aaclip_status status =
        aac_images_walk(category, AAC_SCORE_GIVEN, domain, aac_sums_visit, &given);
    if (!status)
        status = aac_images_walk(category, AAC_SCORE_DATASET, domain, aac_sums_visit, &dataset);
    aac_sums_write_images(&given, &values->image_auroc, &values->image_ap, &values->image_f1_max,
                          &values->image_f1_threshold);
    aac_sums_write_images(&dataset, &values->dataset_auroc, &values->dataset_ap,
                          &values->dataset_f1_max, &values->dataset_f1_threshold);
    return status;
}

static aaclip_status compute_class(const aaclip_metrics *metrics, aac_metrics_class *category)
{
    if (category->computed)
        return AACLIP_OK;
    aaclip_metric_values values = no_values();
    const aac_totals labels = aac_images_count(category, AAC_SCORE_GIVEN);
    values.images = category->count;
    values.normal_images = labels.normal;
    values.abnormal_images = labels.abnormal;
    aaclip_status status = compute_pixels(category, &values);
    if (!status && metrics->options.wanted & AACLIP_METRICS_IMAGES)
        status = compute_images(category, metrics->options.domain, &values);
    if (status)
        return status;
    category->values = values;
    category->computed = true;
    return AACLIP_OK;
}

static void add_counts(aaclip_metric_values *sum, const aaclip_metric_values *values)
{
    sum->images += values->images;
    sum->normal_images += values->normal_images;
    sum->abnormal_images += values->abnormal_images;
    sum->normal_pixels += values->normal_pixels;
    sum->abnormal_pixels += values->abnormal_pixels;
    sum->regions += values->regions;
}

static aaclip_status compute_mean(aaclip_metrics *metrics, aaclip_metric_values *mean)
{
    size_t available[METRICS] = {0};
    double sums[METRICS] = {0};
    *mean = no_values();
    for (size_t i = 0; i < metrics->class_count; i++) {
        aac_metrics_class *category = &metrics->classes[i];
        aaclip_status status = compute_class(metrics, category);
        if (status)
            return status;
        add_counts(mean, &category->values);
        for (size_t j = 0; j < METRICS; j++) {
            const double value = *metric_of(&category->values, j);
            if (isnan(value))
                continue;
            sums[j] += value;
            available[j]++;
        }
    }
    for (size_t j = 0; j < METRICS; j++)
        if (available[j])
            *metric_of(mean, j) = sums[j] / (double)available[j];
    return AACLIP_OK;
}

static aaclip_status check_class(const aaclip_metrics *metrics, size_t class_index)
{
    if (class_index < metrics->class_count)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_NOT_FOUND, "metrics: expected a class below %zu, found %zu",
                     metrics->class_count, class_index);
}

aaclip_status aaclip_metrics_compute(aaclip_metrics *metrics, size_t class_index,
                                     aaclip_metric_values *values)
{
    if (!metrics || !values)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_metrics_compute: NULL argument");
    aaclip_metric_values own;
    aaclip_status status;
    if (class_index == AACLIP_METRICS_MEAN) {
        status = compute_mean(metrics, &own);
    } else {
        status = check_class(metrics, class_index);
        if (!status)
            status = compute_class(metrics, &metrics->classes[class_index]);
        if (!status)
            own = metrics->classes[class_index].values;
    }
    return status
               ? status
               : aac_options_write(values, values->size, &own, sizeof own, "aaclip_metric_values");
}

static bool is_pixel_curve(aaclip_curve curve)
{
    return curve <= AACLIP_CURVE_PIXEL_PRO;
}

static aac_image_score score_of(aaclip_curve curve)
{
    return curve >= AACLIP_CURVE_DATASET_ROC ? AAC_SCORE_DATASET : AAC_SCORE_GIVEN;
}

static aaclip_status check_curve(const aaclip_metrics *metrics, aaclip_curve curve,
                                 const aaclip_curve_point *points, size_t capacity,
                                 const size_t *count)
{
    if (!metrics || !points || !count)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_metrics_curve: NULL argument");
    if ((unsigned)curve > AACLIP_CURVE_DATASET_PR)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_metrics_curve: unknown curve %d",
                         (int)curve);
    if (capacity < MIN_POINTS)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_metrics_curve: capacity: expected %d or more, found %zu",
                         MIN_POINTS, capacity);
    return AACLIP_OK;
}

aaclip_status aaclip_metrics_curve(aaclip_metrics *metrics, size_t class_index, aaclip_curve curve,
                                   aaclip_curve_point *points, size_t capacity, size_t *count)
{
    aaclip_status status = check_curve(metrics, curve, points, capacity, count);
    if (!status)
        status = check_class(metrics, class_index);
    if (status)
        return status;
    *count = 0;
    const aac_metrics_class *category = &metrics->classes[class_index];
    const bool of_pixels = is_pixel_curve(curve);
    const uint32_t needed = of_pixels ? AACLIP_METRICS_PIXELS : AACLIP_METRICS_IMAGES;
    const aac_totals totals =
        of_pixels ? category->totals : aac_images_count(category, score_of(curve));
    if (!totals.normal || !totals.abnormal || !(metrics->options.wanted & needed))
        return AACLIP_OK;
    aac_curve_writer writer;
    aac_curve_begin(&writer, curve, &totals, points, capacity);
    status = of_pixels ? walk_pixels(category, aac_curve_visit, &writer)
                       : aac_images_walk(category, score_of(curve), metrics->options.domain,
                                         aac_curve_visit, &writer);
    if (status)
        return status;
    aac_curve_end(&writer);
    *count = writer.count;
    return AACLIP_OK;
}
