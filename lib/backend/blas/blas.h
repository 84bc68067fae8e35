/* What the files of this backend share. */
#ifndef AAC_BACKEND_BLAS_BLAS_H
#define AAC_BACKEND_BLAS_BLAS_H

#include <cblas.h>

#include "backend/backend.h"
#include "backend/simd/kernels.h"

typedef struct aac_blas_plan {
    aac_plan base;
    const aac_kernels *kernels;
} aac_blas_plan;

/* Looks up OpenBLAS, once; false if there is none. */
bool aac_blas_load(void);
/* NULL before aac_blas_load. */
extern __typeof__(&cblas_sgemm) aac_blas_sgemm;

aaclip_status aac_blas_linear(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_blas_pack(aac_weight **weight, const aac_tensor *parts,
                            const aac_tensor *bias_parts, int part_count, aac_dtype type,
                            int threads);
void aac_blas_weight_free(aac_weight *weight);
void aac_blas_weight_image(const aac_weight *weight, aac_weight_image *image);
aaclip_status aac_blas_adopt(aac_weight **weight, const aac_op_desc *desc,
                             const aac_weight_image *image);
aaclip_status aac_blas_linear_gradient(const aac_plan *plan, const aac_op_args *args,
                                       void *scratch);

#endif
