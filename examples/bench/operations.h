/* Operations by kind and shape: where each millisecond goes. */
#ifndef EXAMPLES_BENCH_OPERATIONS_H
#define EXAMPLES_BENCH_OPERATIONS_H

#include <jansson.h>

#include <aaclip/aaclip.h>

/*
 * Adds one repetition to the array of {"operation", "shape", "backend", "threads", "calls", "flop",
 * "bytes" (of a repetition), "values" (seconds, one a repetition)}, and all seconds to *sum. False
 * when out of memory.
 */
bool operations_add(json_t *operations, const aaclip_profiler *profiler, double *sum);

double operations_gflop(const json_t *operations); /* of a repetition */

/* A table, longest first, with shares of `whole` seconds and of the yardsticks (0: unknown). Their
 * members "median" are set. Nothing without operations. */
void operations_print(const json_t *operations, double whole, double product_gflops,
                      double copy_gbs);

#endif
