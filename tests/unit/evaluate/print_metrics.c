/*
 * Reads a list of cases (metric_case.h) from standard input and prints a list of results: an object
 * with the values of each class and of "mean" and, with "points": n in the case, under "curves" for
 * each class the points [x, y, threshold] of every curve (infinity is null).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "metric_case.h"

static json_t *curve_of(aaclip_metrics *metrics, size_t class_index, aaclip_curve curve,
                        size_t capacity)
{
    aaclip_curve_point *points = malloc(capacity * sizeof *points);
    size_t count = 0;
    json_t *list = NULL;
    if (!aaclip_metrics_curve(metrics, class_index, curve, points, capacity, &count))
        list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("[f, f, o]", points[i].x, points[i].y,
                                              isfinite(points[i].threshold)
                                                  ? json_real(points[i].threshold)
                                                  : json_null()));
    free(points);
    return list;
}

static json_t *curves_of(aaclip_metrics *metrics, size_t class_index, size_t capacity)
{
    static const char *const names[] = {"pixel_roc", "pixel_pr",    "pixel_pro", "image_roc",
                                        "image_pr",  "dataset_roc", "dataset_pr"};
    json_t *curves = json_object();
    for (int curve = AACLIP_CURVE_PIXEL_ROC; curve <= AACLIP_CURVE_DATASET_PR; curve++)
        json_object_set_new(curves, names[curve],
                            curve_of(metrics, class_index, (aaclip_curve)curve, capacity));
    return curves;
}

static json_t *values_of(aaclip_metrics *metrics, size_t class_index)
{
    aaclip_metric_values values = {.size = sizeof values};
    if (aaclip_metrics_compute(metrics, class_index, &values))
        return NULL;
    return metric_case_values(&values);
}

static json_t *answer(const json_t *description)
{
    aaclip_metrics *metrics = metric_case_open(description);
    const json_int_t points = json_integer_value(json_object_get(description, "points"));
    json_t *object = json_object(), *curves = json_object();
    for (size_t i = 0; i < aaclip_metrics_class_count(metrics); i++) {
        const char *name = aaclip_metrics_class_name(metrics, i);
        json_object_set_new(object, name, values_of(metrics, i));
        if (points)
            json_object_set_new(curves, name, curves_of(metrics, i, (size_t)points));
    }
    json_object_set_new(object, "mean", values_of(metrics, AACLIP_METRICS_MEAN));
    json_object_set_new(object, "curves", curves);
    aaclip_metrics_close(&metrics);
    return object;
}

int main(void)
{
    json_error_t error;
    json_t *cases = json_loadf(stdin, 0, &error), *answers = json_array();
    if (!cases)
        return fprintf(stderr, "standard input: line %d: %s\n", error.line, error.text), 1;
    for (size_t i = 0; i < json_array_size(cases); i++)
        json_array_append_new(answers, answer(json_array_get(cases, i)));
    json_dumpf(answers, stdout, JSON_REAL_PRECISION(17) | JSON_INDENT(0));
    json_decref(answers);
    json_decref(cases);
    return 0;
}
