/* Results ("figures") of a run: collected, printed as text, written as JSON. */
#ifndef EXAMPLES_BENCH_REPORT_H
#define EXAMPLES_BENCH_REPORT_H

#include <jansson.h>

#include "bench.h"
#include "common.h"

/*
 * {"mode", "settings": {...}, "figures": {NAME: {"unit", "better", "values", "median", "least",
 * "largest"}}, "operations": [...]}. `failed` is set once and stays.
 */
typedef struct report {
    json_t *root;
    bool failed; /* out of memory, or the profiler's error */
} report;

report report_new(const char *mode);
void report_free(report *run);

void report_text(report *run, const char *setting, const char *text);
void report_number(report *run, const char *setting, double number);
/* Model, backend, precision, threads, and the version of the library. */
void report_model(report *run, const aaclip_model_info *info);

/* Adds a value. `better` is "less", "more", or "" for neither. */
void report_value(report *run, const char *name, const char *unit, const char *better,
                  double value);
double report_median(const report *run, const char *name); /* 0 without a value */

/* Between the two calls, profiles one repetition of the operations, of `seconds` in all; adds
 * figures operations_s and rest_s. */
void report_profile_begin(report *run, aaclip_profiler **profiler);
void report_profile_end(report *run, aaclip_profiler **profiler, double seconds);
/* GFLOP of all operations in the last repetition. */
double report_last_gflop(const report *run);

/* Prints the operations, with their shares of the median of figure `whole` and of the yardsticks,
 * and the figures as the last lines. `json` is a file, "-" or NULL. False after a message. */
bool report_finish(report *run, const char *whole, const char *json, const char *program);

#endif
