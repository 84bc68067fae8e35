/* Replaces lib/backend/cuda/blaslt.c: products in plain loops, with the bias where cuBLASLt adds
 * it. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstring>
#include <new>
#include <vector>

#include "backend/cuda/cuda.h"
#include "emulated.h"

struct aac_cuda_product {
    aac_cuda_product_shape shape;
};

namespace
{

float value(const void *x, int64_t at, aac_dtype type)
{
    if (type == AAC_F16)
        return __half2float(static_cast<const __half *>(x)[at]);
    return type == AAC_BF16 ? __bfloat162float(static_cast<const __nv_bfloat16 *>(x)[at])
                            : static_cast<const float *>(x)[at];
}

/* An operand as the tensor cores read it. */
float factor(const aac_cuda_product_shape &shape, const void *x, int64_t at)
{
    float found = value(x, at, shape.type);
    uint32_t bits;
    if (!shape.tensor_float || !std::isfinite(found))
        return found;
    memcpy(&bits, &found, sizeof bits);
    bits = (bits + (1u << 12)) & ~((1u << 13) - 1);
    memcpy(&found, &bits, sizeof bits);
    return found;
}

void multiply(const aac_cuda_product_shape &shape, const void *a, const void *b, const void *bias,
              const void *c, void *d)
{
    for (int64_t row = 0; row < shape.rows; row++)
        for (int64_t column = 0; column < shape.outputs; column++) {
            int64_t at = row * shape.outputs + column;
            double sum = shape.accumulate ? value(c, at, shape.d) : 0;
            for (int64_t i = 0; i < shape.inner; i++) {
                int64_t left = shape.transposed_a ? i * shape.rows + row : row * shape.inner + i;
                int64_t right =
                    shape.transposed_b ? i * shape.outputs + column : column * shape.inner + i;
                sum += (double)factor(shape, a, left) * factor(shape, b, right);
            }
            if (bias)
                sum += value(bias, column, shape.d);
            if (shape.d == AAC_F16)
                static_cast<__half *>(d)[at] = __float2half_rn((float)sum);
            else if (shape.d == AAC_BF16)
                static_cast<__nv_bfloat16 *>(d)[at] = __float2bfloat16_rn((float)sum);
            else
                static_cast<float *>(d)[at] = (float)sum;
        }
}

} // namespace

bool aac_cuda_blaslt_available(void)
{
    return true;
}

aaclip_status aac_cuda_product_new(aac_cuda_product **product, const aac_cuda_product_shape *shape)
{
    *product = new (std::nothrow) aac_cuda_product{*shape};
    return *product ? AACLIP_OK : AACLIP_ERROR_OUT_OF_MEMORY;
}

void aac_cuda_product_free(aac_cuda_product *product)
{
    delete product;
}

size_t aac_cuda_product_workspace(const aac_cuda_product *product)
{
    (void)product;
    return 0;
}

bool aac_cuda_product_adds_bias(const aac_cuda_product *product)
{
    return product->shape.bias;
}

aaclip_status aac_cuda_product_run(const aac_cuda_product *product, const void *a, const void *b,
                                   const void *bias, const void *c, void *d, void *workspace)
{
    (void)workspace;
    const aac_cuda_product_shape shape = product->shape;
    if (!shape.bias)
        bias = nullptr;
    emulated::queue(aac_cuda_stream(), [=] {
        for (const void *argument : {a, b, bias, c, (const void *)d})
            emulated::expect_device_memory(argument);
        multiply(shape, a, b, bias, c, d);
    });
    return AACLIP_OK;
}
