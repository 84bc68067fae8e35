/* Chooses the compiled variant of the row kernels: the widest that this processor runs. */
#include "backend/simd/kernels.h"
#include "core/platform.h"

extern const aac_kernels aac_kernels_baseline;
#ifdef AAC_HAVE_AVX2_KERNELS
extern const aac_kernels aac_kernels_avx2;
#endif
#ifdef AAC_HAVE_AVX512_KERNELS
extern const aac_kernels aac_kernels_avx512;
#endif

const aac_kernels *aac_kernels_get(void)
{
    switch (aac_processor_isa()) {
    case AAC_ISA_AVX512:
#ifdef AAC_HAVE_AVX512_KERNELS
        return &aac_kernels_avx512;
#endif
    case AAC_ISA_AVX2:
#ifdef AAC_HAVE_AVX2_KERNELS
        return &aac_kernels_avx2;
#endif
    case AAC_ISA_BASELINE:
        break;
    }
    return &aac_kernels_baseline;
}
