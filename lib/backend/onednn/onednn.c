/* oneDNN on the processor: linear layers, long attention and their gradients. The rest falls to
 * `simd`. */
#include "backend/onednn/onednn.h"

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

static bool supports(const aac_op_desc *desc)
{
    switch (desc->op) {
    case AAC_OP_LINEAR:
        return type_is_native(desc->linear.x) && type_is_native(desc->linear.y);
    case AAC_OP_LINEAR_GRADIENT:
        return type_is_native(desc->linear_gradient.type);
    case AAC_OP_ATTENTION:
    case AAC_OP_ATTENTION_BACKWARD:
        return type_is_native(desc->attention.type) &&
               desc->attention.kind != AAC_ATTENTION_CAUSAL &&
               desc->attention.kind != AAC_ATTENTION_TREE && desc->attention.uniform &&
               desc->attention.longest >= SHORTEST_ATTENTION;
    default:
        return false;
    }
}

static aaclip_status plan(aac_plan **out, const aac_op_desc *desc, int threads)
{
    switch (desc->op) {
    case AAC_OP_LINEAR:
        return aac_onednn_plan_linear(out, desc, threads);
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

const aac_backend aac_backend_onednn = {
    .name = "onednn",
    .available = available,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = aac_onednn_pack,
    .weight_free = aac_onednn_weight_free,
};
