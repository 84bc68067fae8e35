/* Chooses the compiled variant of the row kernels: the widest that this processor runs. */
#include "backend/simd/kernels.h"
#include "core/platform.h"

typedef struct kernel_variant {
    const aac_kernels *kernels;
    const aac_quantized_kernels *quantized;
} kernel_variant;

extern const aac_kernels aac_kernels_baseline;
extern const aac_quantized_kernels aac_quantized_kernels_baseline;
#ifdef AAC_HAVE_AVX2_KERNELS
extern const aac_kernels aac_kernels_avx2;
extern const aac_quantized_kernels aac_quantized_kernels_avx2;
#endif
#ifdef AAC_HAVE_AVX512_KERNELS
extern const aac_kernels aac_kernels_avx512;
extern const aac_quantized_kernels aac_quantized_kernels_avx512;
#endif

static kernel_variant choose(void)
{
    switch (aac_processor_isa()) {
    case AAC_ISA_AVX512:
#ifdef AAC_HAVE_AVX512_KERNELS
        return (kernel_variant){&aac_kernels_avx512, &aac_quantized_kernels_avx512};
#endif
    case AAC_ISA_AVX2:
#ifdef AAC_HAVE_AVX2_KERNELS
        return (kernel_variant){&aac_kernels_avx2, &aac_quantized_kernels_avx2};
#endif
    case AAC_ISA_BASELINE:
        break;
    }
    return (kernel_variant){&aac_kernels_baseline, &aac_quantized_kernels_baseline};
}

const aac_kernels *aac_kernels_get(void)
{
    return choose().kernels;
}

const aac_quantized_kernels *aac_quantized_kernels_get(void)
{
    return choose().quantized;
}
