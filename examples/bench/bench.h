/* What the parts of aaclip-bench share. */
#ifndef EXAMPLES_BENCH_H
#define EXAMPLES_BENCH_H

#include <aaclip/aaclip.h>

/* Largest resident memory so far. */
double peak_memory_mb(void);

double median(double *values, unsigned count);

/* Random pixels (height, width, 3), which compress like none; NULL when out of memory. */
uint8_t *generate_picture(uint32_t width, uint32_t height);

/* Multiplications and additions in GFLOP of an image's way through the tower, or of a training
 * step's backward run. The probabilities of attention that are computed again do not count. */
double forward_gflop(const aaclip_model_info *info, const aaclip_config *config,
                     uint32_t image_size);
double backward_gflop(const aaclip_model_info *info, const aaclip_config *config,
                      uint32_t image_size);

/* aaclip-bench train; the exit code. */
int bench_train(int argc, char **argv);

#endif
