/* Linear layers: weights in oneDNN's blocked layout, bias, activation and residual in its epilogue.
 */
#include <string.h>

#include "backend/onednn/onednn.h"
#include "backend/simd/stack.h"
#include "backend/work.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

typedef struct onednn_weight {
    aac_weight base;
    aac_dnnl_layout layout;
    void *packed;
    float *bias;
} onednn_weight;

/* A transposed weight in a blocked layout is first reordered into `transposed_bytes` bytes of
 * scratch; in a plain layout it is multiplied in place. */
typedef struct linear_plan {
    aac_plan base;
    aac_dnnl_layout source, weights, bias, destination;
    aac_dnnl_layout packed; /* of a weight that must be reordered */
    dnnl_primitive_t primitive, reorder;
    size_t transposed_bytes;
} linear_plan;

static aaclip_status failure(const char *what, int64_t inputs, int64_t outputs)
{
    return aac_error(AACLIP_ERROR_BACKEND, "oneDNN: cannot %s a linear layer %lldx%lld", what,
                     (long long)outputs, (long long)inputs);
}

void aac_onednn_weight_free(aac_weight *base)
{
    onednn_weight *weight = (onednn_weight *)base;
    aac_dnnl_layout_free(&weight->layout);
    if (!base->adopted) {
        aac_free(weight->packed);
        aac_free(weight->bias);
    }
    aac_free(weight);
}

void aac_onednn_weight_image(const aac_weight *base, aac_weight_image *image)
{
    const onednn_weight *weight = (const onednn_weight *)base;
    if (!aac_dnnl_layout_text(&weight->layout, image->layout, sizeof image->layout))
        return;
    image->pieces[0].data = weight->packed;
    image->pieces[0].size = aac_dnnl_layout_size(&weight->layout);
    image->pieces[1].data = weight->bias;
    image->pieces[1].size = (size_t)base->outputs * sizeof *weight->bias;
    image->count = base->bias ? 2 : 1;
}

/* Reorders via float32 rows. */
static aaclip_status reorder_rows(onednn_weight *weight, const aac_tensor *parts, int part_count)
{
    int64_t outputs = weight->base.outputs, inputs = weight->base.inputs;
    aac_dnnl_layout plain = {0};
    const aac_dnnl_matrix matrix = {inputs, outputs, 1, inputs, AAC_F32};
    float *rows = aac_alloc((size_t)(outputs * inputs) * sizeof *rows);
    if (!rows)
        return aac_error_memory();
    aac_stack_rows(parts, part_count, rows);
    bool done = aac_dnnl_layout_plain(&plain, &matrix) &&
                aac_dnnl_reorder(&plain, rows, &weight->layout, weight->packed);
    aac_free(rows);
    aac_dnnl_layout_free(&plain);
    return done ? AACLIP_OK : failure("pack", inputs, outputs);
}

aaclip_status aac_onednn_repack(aac_weight *base, const aac_tensor *parts,
                                const aac_tensor *bias_parts, int part_count, aac_dtype type)
{
    onednn_weight *weight = (onednn_weight *)base;
    if (bias_parts)
        aac_stack_rows(bias_parts, part_count, weight->bias);
    if (type != AAC_F32 || !aac_dnnl_layout_is_plain(&weight->layout))
        return reorder_rows(weight, parts, part_count);
    aac_stack_rows(parts, part_count, weight->packed);
    return AACLIP_OK;
}

static aaclip_status allocate(onednn_weight *weight, aac_dtype type)
{
    int64_t outputs = weight->base.outputs, inputs = weight->base.inputs;
    bool biased = weight->base.bias;
    if (!aac_dnnl_layout_weights(&weight->layout, inputs, outputs, type))
        return failure("describe", inputs, outputs);
    weight->packed = aac_alloc(aac_dnnl_layout_size(&weight->layout));
    weight->bias = biased ? aac_alloc((size_t)outputs * sizeof *weight->bias) : NULL;
    return weight->packed && (weight->bias || !biased) ? AACLIP_OK : aac_error_memory();
}

aaclip_status aac_onednn_pack(aac_weight **out, const aac_tensor *parts,
                              const aac_tensor *bias_parts, int part_count, aac_dtype type,
                              int threads)
{
    (void)threads;
    *out = NULL;
    onednn_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base.backend = &aac_backend_onednn;
    weight->base.inputs = parts[0].shape[1];
    for (int i = 0; i < part_count; i++)
        weight->base.outputs += parts[i].shape[0];
    weight->base.bias = bias_parts != NULL;
    aaclip_status status = allocate(weight, type);
    if (!status)
        status = aac_onednn_repack(&weight->base, parts, bias_parts, part_count, type);
    if (status)
        aac_onednn_weight_free(&weight->base);
    else
        *out = &weight->base;
    return status;
}

aaclip_status aac_onednn_adopt(aac_weight **out, const aac_op_desc *desc,
                               const aac_weight_image *image)
{
    *out = NULL;
    onednn_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    int64_t inputs = desc->linear.inputs, outputs = desc->linear.outputs;
    aac_weight_image own = {0};
    weight->base = (aac_weight){.backend = &aac_backend_onednn,
                                .inputs = inputs,
                                .outputs = outputs,
                                .bias = desc->linear.bias,
                                .adopted = true};
    if (aac_dnnl_layout_weights(&weight->layout, inputs, outputs, desc->linear.x))
        aac_onednn_weight_image(&weight->base, &own);
    if (!aac_weight_image_fits(&own, image)) {
        aac_onednn_weight_free(&weight->base);
        return AACLIP_OK;
    }
    weight->packed = (void *)image->pieces[0].data;
    weight->bias = desc->linear.bias ? (float *)image->pieces[1].data : NULL;
    *out = &weight->base;
    return AACLIP_OK;
}

/* The layout of a weight packed for the layer in the opposite direction, and a reorder if the
 * product cannot read it in place. */
static bool describe_transposed(linear_plan *plan, const aac_op_desc *desc)
{
    int64_t inputs = desc->linear.inputs, outputs = desc->linear.outputs;
    aac_dnnl_layout packed = {0};
    bool done = aac_dnnl_layout_weights(&packed, outputs, inputs, desc->linear.x) &&
                aac_dnnl_layout_transposed(&plan->packed, &packed);
    aac_dnnl_layout_free(&packed);
    if (!done)
        return false;
    if (aac_dnnl_layout_is_plain(&plan->packed)) {
        plan->weights = plan->packed;
        plan->packed = (aac_dnnl_layout){0};
        return true;
    }
    done = aac_dnnl_layout_weights(&plan->weights, inputs, outputs, desc->linear.x) &&
           aac_dnnl_reorder_new(&plan->reorder, &plan->packed, &plan->weights);
    size_t bytes = done ? aac_dnnl_layout_size(&plan->weights) : 0;
    plan->transposed_bytes = aac_align(bytes);
    return done;
}

/* The layout that packing chose; see aac_op_packing_threads. */
static bool describe_weights(linear_plan *plan, const aac_op_desc *desc)
{
    aac_team previous = aac_threads_set(aac_op_packing_threads(desc, plan->base.threads));
    bool done = desc->linear.transposed
                    ? describe_transposed(plan, desc)
                    : aac_dnnl_layout_weights(&plan->weights, desc->linear.inputs,
                                              desc->linear.outputs, desc->linear.x);
    aac_threads_restore(previous);
    return done;
}

static bool describe(linear_plan *plan, const aac_op_desc *desc)
{
    int64_t rows = desc->linear.rows, inputs = desc->linear.inputs, outputs = desc->linear.outputs;
    const aac_dnnl_matrix source = {rows, inputs, inputs, 1, desc->linear.x};
    const aac_dnnl_matrix destination = {rows, outputs, outputs, 1, desc->linear.y};
    const aac_dnnl_epilogue epilogue = {desc->linear.activation, desc->linear.slope,
                                        desc->linear.accumulate};
    bool done =
        aac_dnnl_layout_plain(&plan->source, &source) &&
        aac_dnnl_layout_plain(&plan->destination, &destination) && describe_weights(plan, desc) &&
        (!desc->linear.bias || aac_dnnl_layout_vector(&plan->bias, outputs)) &&
        aac_dnnl_matmul(&plan->primitive, &plan->base.scratch, &plan->source, &plan->weights,
                        desc->linear.bias ? &plan->bias : NULL, &plan->destination, &epilogue);
    plan->base.scratch += plan->transposed_bytes;
    return done;
}

static aaclip_status run_linear(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const linear_plan *plan = (const linear_plan *)base;
    const onednn_weight *weight = (const onednn_weight *)args->weight;
    const void *packed = plan->reorder ? scratch : weight->packed;
    const aac_dnnl_argument arguments[] = {
        {DNNL_ARG_SRC, &plan->source, args->x},
        {DNNL_ARG_WEIGHTS, &plan->weights, packed},
        {DNNL_ARG_DST, &plan->destination, args->y},
        {DNNL_ARG_BIAS, base->desc.linear.bias ? &plan->bias : NULL, weight->bias},
    };
    bool done = !plan->reorder || aac_dnnl_reorder_run(plan->reorder, &plan->packed, weight->packed,
                                                       &plan->weights, scratch);
    done = done &&
           aac_dnnl_execute(plan->primitive, arguments, 4, base->scratch - plan->transposed_bytes,
                            (char *)scratch + plan->transposed_bytes);
    return done ? AACLIP_OK : failure("run", base->desc.linear.inputs, base->desc.linear.outputs);
}

aaclip_status aac_onednn_plan_linear(aac_plan **out, const aac_op_desc *desc, int threads)
{
    *out = NULL;
    linear_plan *plan = aac_calloc(1, sizeof *plan);
    if (!plan)
        return aac_error_memory();
    plan->base = (aac_plan){
        .backend = &aac_backend_onednn, .desc = *desc, .threads = threads, .run = run_linear};
    if (!describe(plan, desc)) {
        aac_onednn_free_linear(&plan->base);
        return failure("plan", desc->linear.inputs, desc->linear.outputs);
    }
    *out = &plan->base;
    return AACLIP_OK;
}

void aac_onednn_free_linear(aac_plan *base)
{
    linear_plan *plan = (linear_plan *)base;
    if (plan->primitive)
        dnnl_primitive_destroy(plan->primitive);
    if (plan->reorder)
        dnnl_primitive_destroy(plan->reorder);
    aac_dnnl_layout_free(&plan->packed);
    aac_dnnl_layout_free(&plan->source);
    aac_dnnl_layout_free(&plan->weights);
    aac_dnnl_layout_free(&plan->bias);
    aac_dnnl_layout_free(&plan->destination);
    aac_free(plan);
}
