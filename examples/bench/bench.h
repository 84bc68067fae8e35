/* Shared by the modes of aaclip-bench. */
#ifndef EXAMPLES_BENCH_H
#define EXAMPLES_BENCH_H

#include <aaclip/aaclip.h>

/* The modes: `argv` begins with the mode's name. Each returns the exit code. */
int bench_detect(int argc, char **argv);
int bench_train(int argc, char **argv);
int bench_text(int argc, char **argv);
int bench_load(int argc, char **argv);
int bench_load_child(int argc, char **argv); /* the process that bench_load starts */
int bench_folder(int argc, char **argv);
int bench_growth(int argc, char **argv);
int bench_roofline(int argc, char **argv);
int bench_compare(int argc, char **argv);

/* Peak resident memory so far, or since the last reset where the system allows one. */
double peak_memory_mb(void);
void reset_peak_memory(void);

/* Sorts the values, of which there is at least one. */
double median(double *values, unsigned count);

/* Makes a folder in TMPDIR, or else /tmp; false with a message and an empty `path`. */
enum { TEMPORARY_SIZE = 1024 };
bool make_temporary_folder(char path[TEMPORARY_SIZE], const char *program);

/* Random pixels (height, width, 3), which do not compress; NULL when out of memory. */
uint8_t *generate_picture(uint32_t width, uint32_t height);

/* Multiplications and additions in GFLOP of an image's forward pass through the tower, or of a
 * training step's backward pass, not counting recomputed attention probabilities. */
double forward_gflop(const aaclip_model_info *info, const aaclip_config *config,
                     uint32_t image_size);
double backward_gflop(const aaclip_model_info *info, const aaclip_config *config,
                      uint32_t image_size);

#endif
