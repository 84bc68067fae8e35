/* Vectorised kernels: everything in float32, all but linear layers in bfloat16, and 8-bit linear
 * layers; see supports(). Other backends fall back to it. */
#include "backend/simd/linear.h"
#include "backend/work.h"

#include "core/error.h"
#include "core/memory.h"

static aaclip_status (*const runs[AAC_OP_COUNT])(const aac_plan *, const aac_op_args *, void *) = {
    [AAC_OP_LINEAR] = aac_simd_linear,
    [AAC_OP_LINEAR_GRADIENT] = aac_simd_linear_gradient,
    [AAC_OP_LAYER_NORM] = aac_simd_layer_norm,
    [AAC_OP_ATTENTION] = aac_simd_attention,
    [AAC_OP_BLEND] = aac_simd_blend,
    [AAC_OP_NORMALIZE] = aac_simd_normalize,
    [AAC_OP_CONVERT] = aac_simd_convert,
    [AAC_OP_GATHER] = aac_simd_gather,
    [AAC_OP_PATCHES] = aac_simd_patches,
    [AAC_OP_SIMILARITY] = aac_simd_similarity,
    [AAC_OP_ANOMALY_MAP] = aac_simd_anomaly_map,
    [AAC_OP_ACTIVATE] = aac_simd_activate,
    [AAC_OP_ACTIVATE_BACKWARD] = aac_simd_activate_backward,
    [AAC_OP_LAYER_NORM_BACKWARD] = aac_simd_layer_norm_backward,
    [AAC_OP_ATTENTION_BACKWARD] = aac_simd_attention_backward,
    [AAC_OP_BLEND_BACKWARD] = aac_simd_blend_backward,
    [AAC_OP_NORMALIZE_BACKWARD] = aac_simd_normalize_backward,
    [AAC_OP_GATHER_BACKWARD] = aac_simd_gather_backward,
    [AAC_OP_SIMILARITY_BACKWARD] = aac_simd_similarity_backward,
    [AAC_OP_SEGMENTATION_LOSS] = aac_simd_segmentation_loss,
    [AAC_OP_ADAM] = aac_simd_adam,
};

static bool available(void)
{
    return true;
}

static bool supports(const aac_op_desc *desc)
{
    if (aac_op_has_f16(desc))
        return false;
    if (desc->op == AAC_OP_LINEAR)
        return desc->linear.quantized ? aac_simd_multiplies_int8(desc)
                                      : desc->linear.x == AAC_F32 && desc->linear.y == AAC_F32;
    if (desc->op == AAC_OP_LINEAR_GRADIENT)
        return desc->linear_gradient.type == AAC_F32;
    return desc->op < AAC_OP_COUNT && runs[desc->op];
}

/* Floats of scratch: per thread, and shared by all. */
static void scratch_sizes(const aac_op_desc *desc, int threads, int64_t *per_thread,
                          int64_t *common)
{
    *per_thread = *common = 0;
    switch (desc->op) {
    case AAC_OP_LINEAR:
        *per_thread = desc->linear.transposed ? aac_simd_transposed_linear_floats(desc, threads)
                                              : aac_simd_linear_floats(desc, threads);
        *common = desc->linear.transposed ? aac_simd_transposed_matrix_floats(desc) : 0;
        break;
    case AAC_OP_LINEAR_GRADIENT:
        *per_thread = aac_simd_linear_gradient_floats(desc, threads);
        break;
    case AAC_OP_LAYER_NORM:
        *per_thread = desc->layer_norm.columns;
        break;
    case AAC_OP_PATCHES:
        *per_thread = 3 * desc->patches.patch * desc->patches.patch;
        break;
    case AAC_OP_ATTENTION:
        *per_thread = aac_simd_attention_floats(desc);
        break;
    case AAC_OP_ACTIVATE:
        *per_thread = desc->activate.columns;
        break;
    case AAC_OP_ACTIVATE_BACKWARD:
        *per_thread = 2 * desc->activate.columns;
        break;
    case AAC_OP_ATTENTION_BACKWARD:
        *per_thread = aac_simd_attention_backward_floats(desc);
        break;
    case AAC_OP_SEGMENTATION_LOSS:
        *common = aac_simd_segmentation_loss_floats(desc);
        break;
    case AAC_OP_NORMALIZE:
        *common = desc->normalize.rows;
        break;
    case AAC_OP_ANOMALY_MAP:
        *common = 2 * desc->anomaly_map.grid * desc->anomaly_map.grid + desc->anomaly_map.kernel;
        break;
    default:
        break;
    }
}

static aaclip_status plan_op(aac_plan **out, const aac_op_desc *desc, int threads)
{
    *out = NULL;
    aac_simd_plan *plan = aac_calloc(1, sizeof *plan);
    if (!plan)
        return aac_error_memory();
    int64_t per_thread, common;
    scratch_sizes(desc, threads, &per_thread, &common);
    plan->kernels = aac_kernels_get();
    plan->blocks = aac_block_kernels_get();
    plan->narrow = aac_narrow_kernels_get();
    plan->thread_scratch = aac_align((size_t)per_thread * sizeof(float));
    plan->base = (aac_plan){
        .backend = &aac_backend_simd,
        .desc = *desc,
        .scratch =
            plan->thread_scratch * (size_t)threads + aac_align((size_t)common * sizeof(float)),
        .threads = threads,
        .run = runs[desc->op],
    };
    if (desc->op == AAC_OP_LINEAR && desc->linear.transposed)
        plan->base.run = aac_simd_transposed_linear;
    if (desc->op == AAC_OP_LINEAR && desc->linear.quantized) {
        plan->base.run = aac_simd_linear_int8;
        plan->base.scratch = aac_simd_int8_scratch(desc, threads);
    }
    *out = &plan->base;
    return AACLIP_OK;
}

static void plan_free(aac_plan *plan)
{
    aac_free(plan);
}

static aaclip_status pack(aac_weight **weight, const aac_tensor *parts,
                          const aac_tensor *bias_parts, int part_count, aac_dtype type, int threads)
{
    return type == AAC_I8 ? aac_simd_pack_int8(weight, parts, bias_parts, part_count)
                          : aac_simd_pack(weight, parts, bias_parts, part_count, type, threads);
}

static void weight_free(aac_weight *weight)
{
    (weight->quantized ? aac_simd_int8_free : aac_simd_weight_free)(weight);
}

static void weight_image(const aac_weight *weight, aac_weight_image *image)
{
    (weight->quantized ? aac_simd_int8_image : aac_simd_weight_image)(weight, image);
}

static aaclip_status adopt(aac_weight **weight, const aac_op_desc *desc,
                           const aac_weight_image *image)
{
    return (desc->linear.quantized ? aac_simd_adopt_int8 : aac_simd_adopt)(weight, desc, image);
}

const aac_backend aac_backend_simd = {
    .name = "simd",
    .available = available,
    .supports = supports,
    .plan = plan_op,
    .plan_free = plan_free,
    .pack = pack,
    .repack = aac_simd_repack,
    .weight_free = weight_free,
    .weight_image = weight_image,
    .adopt = adopt,
};
