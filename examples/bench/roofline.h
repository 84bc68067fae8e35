/* The yardsticks of aaclip-bench: a bare oneDNN matrix product, and a copy in memory. */
#ifndef EXAMPLES_ROOFLINE_H
#define EXAMPLES_ROOFLINE_H

#include <aaclip/backend.h>

#include "report.h"

typedef struct roofline roofline;

/* NULL without oneDNN in this build, or when it lacks the precision. */
roofline *roofline_new(const char *backend, aaclip_precision precision, int threads);
/* Best of several products of 1370 x 1024 x 4096 with packed weights; 0 for NULL. */
double roofline_gflops(const roofline *bare);
void roofline_free(roofline *bare);

/* Bytes read and written by copying blocks larger than any cache, in GB/s; 0 when out of memory. */
double roofline_copy_gbs(const char *backend, int threads);
void roofline_report_copy(report *run, const char *backend, int threads);

/* Adds the speed reached, that of the product and the fraction; without a product only the first.
 */
void roofline_report(report *run, double product_gflops, double reached_gflops);

#endif
