/* Selects the compiled variant of the row kernels: the widest that this processor supports. */
#include "backend/simd/kernels.h"

typedef struct kernel_variant {
    aac_isa isa;
    const aac_kernels *kernels;
    const aac_block_kernels *blocks;
    const aac_quantized_kernels *quantized;
} kernel_variant;

#define DECLARE(isa)                                                                               \
    extern const aac_kernels aac_kernels_##isa;                                                    \
    extern const aac_block_kernels aac_block_kernels_##isa;                                        \
    extern const aac_quantized_kernels aac_quantized_kernels_##isa;
#define VARIANT(name, isa)                                                                         \
    (kernel_variant)                                                                               \
    {                                                                                              \
        name, &aac_kernels_##isa, &aac_block_kernels_##isa, &aac_quantized_kernels_##isa           \
    }

DECLARE(baseline)
#ifdef AAC_HAVE_AVX2_KERNELS
DECLARE(avx2)
#endif
#ifdef AAC_HAVE_AVX512_KERNELS
DECLARE(avx512)
#endif
#ifdef AAC_HAVE_VNNI_KERNELS
extern const aac_quantized_kernels aac_quantized_kernels_avx512_vnni;
#endif
#ifdef AAC_HAVE_NARROW_KERNELS
extern const aac_narrow_kernels aac_narrow_kernels_avx512;
#endif

static kernel_variant choose(void)
{
    switch (aac_processor_isa()) {
    case AAC_ISA_AVX512:
#ifdef AAC_HAVE_AVX512_KERNELS
        return VARIANT(AAC_ISA_AVX512, avx512);
#endif
    case AAC_ISA_AVX2:
#ifdef AAC_HAVE_AVX2_KERNELS
        return VARIANT(AAC_ISA_AVX2, avx2);
#endif
    case AAC_ISA_BASELINE:
        break;
    }
    return VARIANT(AAC_ISA_BASELINE, baseline);
}

const aac_kernels *aac_kernels_get(void)
{
    return choose().kernels;
}

const aac_block_kernels *aac_block_kernels_get(void)
{
    return choose().blocks;
}

const aac_narrow_kernels *aac_narrow_kernels_get(void)
{
#ifdef AAC_HAVE_NARROW_KERNELS
    if (aac_processor_isa() == AAC_ISA_AVX512 && aac_processor_multiplies_narrow())
        return &aac_narrow_kernels_avx512;
#endif
    return NULL;
}

aac_isa aac_kernels_isa(void)
{
    return choose().isa;
}

bool aac_kernels_have_vnni(void)
{
#ifdef AAC_HAVE_VNNI_KERNELS
    return aac_processor_isa() == AAC_ISA_AVX512 && aac_processor_has_vnni();
#else
    return false;
#endif
}

const aac_quantized_kernels *aac_quantized_kernels_get(void)
{
#ifdef AAC_HAVE_VNNI_KERNELS
    if (aac_kernels_have_vnni())
        return &aac_quantized_kernels_avx512_vnni;
#endif
    return choose().quantized;
}
