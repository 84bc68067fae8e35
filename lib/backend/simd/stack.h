/* Frozen weights as files hold them, assembled into one float32 matrix before packing. */
#ifndef AAC_BACKEND_SIMD_STACK_H
#define AAC_BACKEND_SIMD_STACK_H

#include "core/tensor.h"

/* Stacks tensors of any type and strides along dimension 0 into dense float32; uses all threads. */
void aac_stack_rows(const aac_tensor *parts, int part_count, float *out);

#endif
