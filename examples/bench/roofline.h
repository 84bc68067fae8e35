/* The speed of a bare oneDNN matrix product, the yardstick of aaclip-bench. */
#ifndef EXAMPLES_ROOFLINE_H
#define EXAMPLES_ROOFLINE_H

#include <stdbool.h>

typedef struct roofline roofline;

/* NULL without oneDNN in this build, or when it lacks the precision. */
roofline *roofline_new(bool bf16, int threads);
/* Best of several products of 1370 x 1024 x 4096 with packed weights; 0 for NULL. */
double roofline_gflops(const roofline *bare);
void roofline_free(roofline *bare);

#endif
