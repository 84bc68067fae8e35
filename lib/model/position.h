/* The trained positional grid, resampled to another number of patches. */
#ifndef AAC_MODEL_POSITION_H
#define AAC_MODEL_POSITION_H

#include <stdint.h>

#include <aaclip/status.h>

/*
 * grid_out * grid_out rows of `width` from grid_in * grid_in rows: bicubic (a = -0.5) with
 * antialias, pixel centres aligned (align_corners = False). A grid of the same size is copied.
 */
aaclip_status aac_position_resample(const float *in, int64_t grid_in, float *out, int64_t grid_out,
                                    int64_t width);

#endif
