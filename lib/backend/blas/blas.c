/*
 * OpenBLAS, float32: linear layers and attention; the rest falls to `simd`. OpenBLAS has one number
 * of threads for the whole process, which belongs to the program: it is not touched here.
 */
#include "backend/blas/blas.h"

#include "core/error.h"
#include "core/memory.h"

static bool available(void)
{
    return true;
}

static bool supports(const aac_op_desc *desc)
{
    if (desc->op == AAC_OP_LINEAR)
        return desc->linear.x == AAC_F32 && desc->linear.y == AAC_F32;
    return desc->op == AAC_OP_ATTENTION && desc->attention.type == AAC_F32;
}

static aaclip_status plan(aac_plan **out, const aac_op_desc *desc, int threads)
{
    bool linear = desc->op == AAC_OP_LINEAR;
    aac_blas_plan *made = aac_calloc(1, sizeof *made);
    *out = made ? &made->base : NULL;
    if (!made)
        return aac_error_memory();
    made->kernels = aac_kernels_get();
    made->base = (aac_plan){
        .backend = &aac_backend_blas,
        .desc = *desc,
        .scratch = linear ? 0 : aac_blas_attention_scratch(desc),
        .threads = threads,
        .run = linear ? aac_blas_linear : aac_blas_attention,
    };
    return AACLIP_OK;
}

static void plan_free(aac_plan *made)
{
    aac_free(made);
}

const aac_backend aac_backend_blas = {
    .name = "blas",
    .available = available,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = aac_blas_pack,
    .weight_free = aac_blas_weight_free,
};
