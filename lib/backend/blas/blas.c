/*
 * OpenBLAS, float32: linear layers and gradients of matrices; the rest falls to `simd`. OpenBLAS
 * has one thread count for the whole process. It belongs to the program and is not changed here.
 */
#include "backend/blas/blas.h"

#include "backend/simd/quantized.h"
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
        return desc->linear.x == AAC_F32 && desc->linear.y == AAC_F32 &&
               (!desc->linear.quantized || desc->linear.inputs <= AAC_QUANTIZED_INPUTS);
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
    if (desc->op == AAC_OP_LINEAR && desc->linear.quantized) {
        made->base.scratch = aac_blas_quantized_scratch(desc, threads);
        made->base.run = aac_blas_quantized;
    }
    return AACLIP_OK;
}

static void plan_free(aac_plan *made)
{
    aac_free(made);
}

static aaclip_status pack(aac_weight **weight, const aac_tensor *parts,
                          const aac_tensor *bias_parts, int part_count, aac_dtype type, int threads)
{
    return type == AAC_I8 ? aac_blas_pack_quantized(weight, parts, bias_parts, part_count)
                          : aac_blas_pack(weight, parts, bias_parts, part_count, type, threads);
}

static void weight_free(aac_weight *weight)
{
    if (weight->quantized)
        aac_blas_quantized_weight_free(weight);
    else
        aac_blas_weight_free(weight);
}

static void weight_image(const aac_weight *weight, aac_weight_image *image)
{
    if (weight->quantized)
        aac_blas_quantized_image(weight, image);
    else
        aac_blas_weight_image(weight, image);
}

static aaclip_status adopt(aac_weight **weight, const aac_op_desc *desc,
                           const aac_weight_image *image)
{
    return desc->linear.quantized ? aac_blas_adopt_quantized(weight, desc, image)
                                  : aac_blas_adopt(weight, desc, image);
}

const aac_backend aac_backend_blas = {
    .name = "blas",
    .available = aac_blas_load,
    .missing = missing,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = pack,
    .weight_free = weight_free,
    .weight_image = weight_image,
    .adopt = adopt,
};
