/* The plain C backend: fills every slot of the vtable. */
#include "backend/reference/reference.h"

#include "core/error.h"
#include "core/memory.h"

static const aac_reference_run runs[AAC_OP_COUNT] = {
    [AAC_OP_LINEAR] = aac_reference_linear,
    [AAC_OP_LAYER_NORM] = aac_reference_layer_norm,
    [AAC_OP_ATTENTION] = aac_reference_attention,
    [AAC_OP_BLEND] = aac_reference_blend,
    [AAC_OP_NORMALIZE] = aac_reference_normalize,
    [AAC_OP_CONVERT] = aac_reference_convert,
    [AAC_OP_GATHER] = aac_reference_gather,
    [AAC_OP_PATCHES] = aac_reference_patches,
    [AAC_OP_SIMILARITY] = aac_reference_similarity,
    [AAC_OP_ANOMALY_MAP] = aac_reference_anomaly_map,
    [AAC_OP_ACTIVATE] = aac_reference_activate,
    [AAC_OP_ACTIVATE_BACKWARD] = aac_reference_activate_backward,
    [AAC_OP_LINEAR_GRADIENT] = aac_reference_linear_gradient,
    [AAC_OP_LAYER_NORM_BACKWARD] = aac_reference_layer_norm_backward,
    [AAC_OP_ATTENTION_BACKWARD] = aac_reference_attention_backward,
    [AAC_OP_BLEND_BACKWARD] = aac_reference_blend_backward,
    [AAC_OP_NORMALIZE_BACKWARD] = aac_reference_normalize_backward,
    [AAC_OP_GATHER_BACKWARD] = aac_reference_gather_backward,
    [AAC_OP_SIMILARITY_BACKWARD] = aac_reference_similarity_backward,
    [AAC_OP_SEGMENTATION_LOSS] = aac_reference_segmentation_loss,
    [AAC_OP_CLASSIFICATION_LOSS] = aac_reference_classification_loss,
    [AAC_OP_FINITE] = aac_reference_finite,
    [AAC_OP_ADAM] = aac_reference_adam,
};

double aac_reference_get(const void *values, aac_dtype type, int64_t index)
{
    if (type == AAC_F32)
        return (double)((const float *)values)[index];
    const uint16_t bits = ((const uint16_t *)values)[index];
    return (double)(type == AAC_F16 ? aac_f16_to_f32(bits) : aac_bf16_to_f32(bits));
}

void aac_reference_set(void *values, aac_dtype type, int64_t index, double value)
{
    if (type == AAC_F32)
        ((float *)values)[index] = (float)value;
    else
        ((uint16_t *)values)[index] =
            type == AAC_F16 ? aac_f32_to_f16((float)value) : aac_f32_to_bf16((float)value);
}

double aac_reference_dot(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static bool available(void)
{
    return true;
}

static bool supports(const aac_op_desc *desc)
{
    return desc->op < AAC_OP_COUNT;
}

size_t aac_reference_scratch(const aac_op_desc *desc)
{
    if (desc->op == AAC_OP_LINEAR)
        return (size_t)desc->linear.inputs;
    if (desc->op == AAC_OP_ATTENTION || desc->op == AAC_OP_ATTENTION_BACKWARD)
        return aac_reference_attention_scratch(desc);
    if (desc->op == AAC_OP_SEGMENTATION_LOSS)
        return (size_t)(2 * desc->segmentation_loss.grid * desc->segmentation_loss.grid);
    if (desc->op == AAC_OP_ANOMALY_MAP)
        return (size_t)(2 * desc->anomaly_map.grid * desc->anomaly_map.grid);
    return 0;
}

static aaclip_status plan(aac_plan **out, const aac_op_desc *desc, int threads)
{
    aac_plan *made = *out = aac_calloc(1, sizeof *made);
    if (!made)
        return aac_error_memory();
    *made = (aac_plan){
        .backend = &aac_backend_reference,
        .desc = *desc,
        .scratch = aac_reference_scratch(desc) * sizeof(double) * (size_t)threads,
        .threads = threads,
        .run = runs[desc->op],
    };
    return AACLIP_OK;
}

static void plan_free(aac_plan *made)
{
    aac_free(made);
}

const aac_backend aac_backend_reference = {
    .name = "reference",
    .available = available,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = aac_reference_pack,
    .weight_free = aac_reference_weight_free,
    .weight_image = aac_reference_weight_image,
    .adopt = aac_reference_adopt,
};
