/* oneDNN on the processor: linear layers, long attention and their gradients. The rest falls to
 * `simd`. */
#include "backend/onednn/onednn.h"
#include "backend/simd/kernels.h"
#include "backend/simd/quantized.h"
#include "backend/work.h"

/* Below this, oneDNN's cost for each call outweighs its speed. */
#define SHORTEST_ATTENTION 128

static bool available(void)
{
    return aac_dnnl_engine() != NULL;
}

static bool type_is_native(aac_dtype type)
{
    return type == AAC_F32 || (type == AAC_BF16 && aac_dnnl_has_bf16());
}

/* `simd` keeps a matrix in the layout it is multiplied in, while oneDNN copies parts of it in each
 * product. */
static bool multiplies_slower(const aac_op_desc *desc)
{
    bool floats = desc->linear.x == AAC_F32 && desc->linear.y == AAC_F32;
    if (desc->linear.quantized)
        return aac_kernels_have_vnni() && (floats || aac_narrow_kernels_get()) &&
               !aac_dnnl_has_amx();
    return floats && aac_kernels_isa() != AAC_ISA_BASELINE;
}

/* `simd` attention is faster than oneDNN's products, except on matrix units (AMX). */
static bool attends_slower(const aac_op_desc *desc)
{
    if (desc->attention.type == AAC_F32)
        return aac_kernels_isa() != AAC_ISA_BASELINE;
    return aac_narrow_kernels_get() && !aac_dnnl_has_amx();
}

static bool attends(const aac_op_desc *desc)
{
    bool slower = attends_slower(desc);
    return !slower && type_is_native(desc->attention.type) &&
           desc->attention.kind != AAC_ATTENTION_CAUSAL &&
           desc->attention.kind != AAC_ATTENTION_TREE && desc->attention.uniform &&
           desc->attention.longest >= SHORTEST_ATTENTION;
}

static bool supports(const aac_op_desc *desc)
{
    if (aac_op_has_f16(desc))
        return false;
    switch (desc->op) {
    case AAC_OP_LINEAR:
        if (multiplies_slower(desc))
            return false;
        return desc->linear.quantized
                   ? desc->linear.inputs <= AAC_QUANTIZED_INPUTS
                   : type_is_native(desc->linear.x) && type_is_native(desc->linear.y);
    case AAC_OP_LINEAR_GRADIENT:
        return type_is_native(desc->linear_gradient.type);
    case AAC_OP_ATTENTION:
    case AAC_OP_ATTENTION_BACKWARD:
        return attends(desc);
    default:
        return false;
    }
}

static aaclip_status plan(aac_plan **out, const aac_op_desc *desc, int threads)
{
    switch (desc->op) {
    case AAC_OP_LINEAR:
        return desc->linear.quantized ? aac_onednn_plan_quantized(out, desc, threads)
                                      : aac_onednn_plan_linear(out, desc, threads);
    case AAC_OP_LINEAR_GRADIENT:
        return aac_onednn_plan_linear_gradient(out, desc, threads);
    case AAC_OP_ATTENTION_BACKWARD:
        return aac_onednn_plan_attention_backward(out, desc, threads);
    default:
        return aac_onednn_plan_attention(out, desc, threads);
    }
}

static void plan_free(aac_plan *plan)
{
    switch (plan->desc.op) {
    case AAC_OP_LINEAR:
        if (plan->desc.linear.quantized)
            aac_onednn_free_quantized(plan);
        else
            aac_onednn_free_linear(plan);
        break;
    case AAC_OP_LINEAR_GRADIENT:
        aac_onednn_free_linear_gradient(plan);
        break;
    case AAC_OP_ATTENTION_BACKWARD:
        aac_onednn_free_attention_backward(plan);
        break;
    default:
        aac_onednn_free_attention(plan);
    }
}

static aaclip_status pack(aac_weight **weight, const aac_tensor *parts,
                          const aac_tensor *bias_parts, int part_count, aac_dtype type, int threads)
{
    return type == AAC_I8 ? aac_onednn_pack_quantized(weight, parts, bias_parts, part_count)
                          : aac_onednn_pack(weight, parts, bias_parts, part_count, type, threads);
}

static void weight_free(aac_weight *weight)
{
    if (weight->quantized)
        aac_onednn_quantized_weight_free(weight);
    else
        aac_onednn_weight_free(weight);
}

static void weight_image(const aac_weight *weight, aac_weight_image *image)
{
    if (weight->quantized)
        aac_onednn_quantized_image(weight, image);
    else
        aac_onednn_weight_image(weight, image);
}

static aaclip_status adopt(aac_weight **weight, const aac_op_desc *desc,
                           const aac_weight_image *image)
{
    return desc->linear.quantized ? aac_onednn_adopt_quantized(weight, desc, image)
                                  : aac_onednn_adopt(weight, desc, image);
}

const aac_backend aac_backend_onednn = {
    .name = "onednn",
    .whole_teams = true,
    .available = available,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = pack,
    .repack = aac_onednn_repack,
    .weight_free = weight_free,
    .weight_image = weight_image,
    .adopt = adopt,
};
