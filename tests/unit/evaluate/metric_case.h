/* Cases of metrics as JSON, as in the golden files and the input of print_metrics. */
#ifndef TEST_METRIC_CASE_H
#define TEST_METRIC_CASE_H

#include <jansson.h>

#include <aaclip/metrics.h>

/*
 * A case is an object: mode ("exact" or "histogram"), domain ("industrial" or "medical"), bins, and
 * images, each with class, label, score, width, height, map and mask (lists, or null). With
 * "parts": n, image i goes to metrics i % n, and all are merged. NULL, with a text on standard
 * error, if the library refuses.
 */
aaclip_metrics *metric_case_open(const json_t *description);

/* The members of aaclip_metric_values by name; NaN is null. */
json_t *metric_case_values(const aaclip_metric_values *values);

#endif
