#include "backend/simd/stack.h"

#include <string.h>

#include "backend/simd/kernels.h"

/* A run of dense values; small enough that threads share a matrix evenly. */
#define RUN 65536

static void copy_run(const aac_kernels *kernels, const aac_tensor *part, int64_t first,
                     int64_t count, float *out)
{
    if (part->dtype == AAC_F16)
        kernels->widen_f16((const uint16_t *)part->data + first, count, out);
    else if (part->dtype == AAC_BF16)
        kernels->widen_bf16((const uint16_t *)part->data + first, count, out);
    else
        memcpy(out, (const float *)part->data + first, (size_t)count * sizeof *out);
}

static bool is_plain(const aac_tensor *part)
{
    bool floating = part->dtype == AAC_F32 || part->dtype == AAC_F16 || part->dtype == AAC_BF16;
    return floating && aac_tensor_is_contiguous(part) &&
           (uintptr_t)part->data % aac_dtype_size(part->dtype) == 0;
}

static void stack_plain(const aac_tensor *part, int64_t elements, float *out)
{
    const aac_kernels *kernels = aac_kernels_get();
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < elements; first += RUN)
        copy_run(kernels, part, first, elements - first < RUN ? elements - first : RUN,
                 out + first);
}

static void stack_any(const aac_tensor *part, int64_t row_elements, float *out)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < part->shape[0]; row++)
        aac_tensor_rows_to_f32(part, row, 1, out + row * row_elements);
}

void aac_stack_rows(const aac_tensor *parts, int part_count, float *out)
{
    for (int i = 0; i < part_count; i++) {
        int64_t elements = aac_tensor_elements(&parts[i]);
        if (is_plain(&parts[i]))
            stack_plain(&parts[i], elements, out);
        else if (elements)
            stack_any(&parts[i], elements / parts[i].shape[0], out);
        out += elements;
    }
}
