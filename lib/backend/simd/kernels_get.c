/* Chooses the compiled variant of the row kernels. */
#include "backend/simd/kernels.h"
#include "core/platform.h"

extern const aac_kernels aac_kernels_baseline;
#ifdef AAC_HAVE_X86_KERNELS
extern const aac_kernels aac_kernels_avx2, aac_kernels_avx512;
#endif

const aac_kernels *aac_kernels_get(void)
{
#ifdef AAC_HAVE_X86_KERNELS
    switch (aac_processor_isa()) {
    case AAC_ISA_AVX512:
        return &aac_kernels_avx512;
    case AAC_ISA_AVX2:
        return &aac_kernels_avx2;
    case AAC_ISA_BASELINE:
        break;
    }
#endif
    return &aac_kernels_baseline;
}
