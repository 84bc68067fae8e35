/*
 * OpenBLAS, float32: linear layers and gradients of matrices; the rest falls to `simd`. OpenBLAS
 * has one thread count for the whole process. It belongs to the program and is not changed here.
 */
#include "backend/blas/blas.h"

#include "core/error.h"
#include "core/memory.h"

static const char *missing(void)
{
    return "OpenBLAS (libopenblas.so.0) cannot be loaded";
}

static bool supports(const aac_op_desc *desc)
{
    switch (desc->op) {
    case AAC_OP_LINEAR:
        return desc->linear.x == AAC_F32 && desc->linear.y == AAC_F32 && !desc->linear.quantized;
    case AAC_OP_LINEAR_GRADIENT:
        return desc->linear_gradient.type == AAC_F32;
    default:
        return false;
    }
}

static aaclip_status plan(aac_plan **out, const aac_op_desc *desc, int threads)
{
    static aaclip_status (*const runs[AAC_OP_COUNT])(const aac_plan *, const aac_op_args *,
                                                     void *) = {
        [AAC_OP_LINEAR] = aac_blas_linear,
        [AAC_OP_LINEAR_GRADIENT] = aac_blas_linear_gradient,
    };
    aac_blas_plan *made = aac_calloc(1, sizeof *made);
    *out = made ? &made->base : NULL;
    if (!made)
        return aac_error_memory();
    made->kernels = aac_kernels_get();
    made->base = (aac_plan){
        .backend = &aac_backend_blas,
        .desc = *desc,
        .threads = threads,
        .run = runs[desc->op],
    };
    return AACLIP_OK;
}

static void plan_free(aac_plan *made)
{
    aac_free(made);
}

const aac_backend aac_backend_blas = {
    .name = "blas",
    .available = aac_blas_load,
    .missing = missing,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = aac_blas_pack,
    .weight_free = aac_blas_weight_free,
    .weight_image = aac_blas_weight_image,
    .adopt = aac_blas_adopt,
};
