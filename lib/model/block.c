#include "model/block.h"

#include "core/memory.h"
#include "core/platform.h"

static void release(const aac_tensor *parts, int part_count)
{
    for (int i = 0; i < part_count; i++)
        if (parts[i].mapped && aac_tensor_is_contiguous(&parts[i]))
            aac_mapping_release(parts[i].data, (size_t)aac_tensor_elements(&parts[i]) *
                                                   aac_dtype_size(parts[i].dtype));
}

static aaclip_status pack_mapped(aac_packer *packer, aac_weight **weight, const aac_tensor *parts,
                                 const aac_tensor *bias_parts, int part_count, aac_dtype type)
{
    aaclip_status status = aac_packer_pack(packer, weight, parts, bias_parts, part_count, type);
    if (!status && !(*weight)->in_place)
        release(parts, part_count);
    return status;
}

float *aac_vector_new(const aac_tensor *tensor)
{
    float *values = aac_alloc_array((size_t)aac_tensor_elements(tensor), sizeof *values);
    if (values)
        aac_tensor_to_f32(tensor, values);
    return values;
}

aaclip_status aac_to_operand(const aac_plan *convert, const float *rows, void *buffer,
                             const void **operand, void *scratch)
{
    *operand = convert ? buffer : rows;
    if (!convert)
        return AACLIP_OK;
    const aac_op_args args = {.x = rows, .y = buffer};
    return aac_run(convert, &args, scratch);
}

static aaclip_status pack_vectors(aac_block *block, const aac_block_tensors *tensors,
                                  const aac_dispatch *dispatch)
{
    const aac_tensor *const from[] = {&tensors->ln_1_weight, &tensors->ln_1_bias,
                                      &tensors->ln_2_weight, &tensors->ln_2_bias};
    float **const to[] = {&block->ln_1_gain, &block->ln_1_bias, &block->ln_2_gain,
                          &block->ln_2_bias};
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < sizeof to / sizeof *to; i++) {
        aac_device_free(dispatch, *to[i]);
        status = aac_device_vector(dispatch, to[i], from[i]);
    }
    return status;
}

aaclip_status aac_block_pack(aac_block *block, const aac_block_tensors *tensors, aac_packer *packer,
                             aac_dtype type)
{
    aaclip_status status = pack_vectors(block, tensors, packer->dispatch);
    if (!status)
        status = pack_mapped(packer, &block->qkv, tensors->qkv_weight.part, tensors->qkv_bias.part,
                             tensors->qkv_weight.count, type);
    if (!status)
        status =
            pack_mapped(packer, &block->out, &tensors->out_weight, &tensors->out_bias, 1, type);
    if (!status)
        status = pack_mapped(packer, &block->fc, &tensors->fc_weight, &tensors->fc_bias, 1, type);
    if (!status)
        status =
            pack_mapped(packer, &block->proj, &tensors->proj_weight, &tensors->proj_bias, 1, type);
    return status;
}

void aac_block_release(const aac_block *block, const aac_block_tensors *tensors)
{
    if (block->qkv->in_place)
        release(tensors->qkv_weight.part, tensors->qkv_weight.count);
    if (block->out->in_place)
        release(&tensors->out_weight, 1);
    if (block->fc->in_place)
        release(&tensors->fc_weight, 1);
    if (block->proj->in_place)
        release(&tensors->proj_weight, 1);
}

/* Rows [2/3, 1) of q, k and v in one tensor. */
static aac_tensor last_third(const aac_tensor *tensor)
{
    aac_tensor third = *tensor;
    third.shape[0] /= 3;
    third.data = (const char *)tensor->data +
                 2 * third.shape[0] * tensor->stride[0] * (int64_t)aac_dtype_size(tensor->dtype);
    return third;
}

aaclip_status aac_block_pack_value(aac_weight **weight, const aac_block_tensors *tensors,
                                   const aac_dispatch *dispatch, aac_dtype type)
{
    const aac_parts *matrix = &tensors->qkv_weight, *bias = &tensors->qkv_bias;
    const aac_tensor value = matrix->count == 3 ? matrix->part[2] : last_third(&matrix->part[0]);
    const aac_tensor value_bias = bias->count == 3 ? bias->part[2] : last_third(&bias->part[0]);
    return aac_dispatch_pack(dispatch, weight, &value, &value_bias, 1, type);
}

void aac_block_clear(aac_block *block, const aac_dispatch *dispatch)
{
    aac_device_free(dispatch, block->ln_1_gain);
    aac_device_free(dispatch, block->ln_1_bias);
    aac_device_free(dispatch, block->ln_2_gain);
    aac_device_free(dispatch, block->ln_2_bias);
    aac_weight_free(&block->qkv);
    aac_weight_free(&block->out);
    aac_weight_free(&block->fc);
    aac_weight_free(&block->proj);
    *block = (aac_block){0};
}

static aaclip_status plan_linear(aac_plan **plan, const aac_dispatch *dispatch,
                                 const aac_block_shape *shape, int64_t inputs, int64_t outputs,
                                 aac_activation activation, bool accumulate)
{
    const aac_op_desc desc = {.op = AAC_OP_LINEAR,
                              .linear = {.rows = shape->rows,
                                         .inputs = inputs,
                                         .outputs = outputs,
                                         .x = shape->type,
                                         .y = accumulate ? AAC_F32 : shape->type,
                                         .activation = activation,
                                         .bias = true,
                                         .accumulate = accumulate,
                                         .quantized = shape->quantized}};
    return aac_dispatch_plan(dispatch, plan, &desc);
}

static aaclip_status plan_attention(aac_block_plan *plan, const aac_dispatch *dispatch)
{
    const aac_block_shape *shape = &plan->shape;
    int64_t width = shape->width, parts = shape->attention == AAC_ATTENTION_VALUE ? 1 : 3;
    const aac_op_desc attention = {.op = AAC_OP_ATTENTION,
                                   .attention = {.longest = shape->longest,
                                                 .uniform = shape->uniform,
                                                 .heads = shape->heads,
                                                 .head_size = width / shape->heads,
                                                 .kind = shape->attention,
                                                 .type = shape->type,
                                                 .rows = shape->rows,
                                                 .pairs = shape->pairs}};
    aaclip_status status = plan_linear(&plan->qkv, dispatch, shape, width, parts * width, 0, false);
    return status ? status : aac_dispatch_plan(dispatch, &plan->attention, &attention);
}

/* All but q, k, v and their attention. */
static aaclip_status plan_rest(aac_block_plan *plan, const aac_dispatch *dispatch)
{
    const aac_block_shape *shape = &plan->shape;
    int64_t width = shape->width, mlp = shape->mlp;
    const aac_op_desc norm = {.op = AAC_OP_LAYER_NORM,
                              .layer_norm = {shape->rows, width, shape->type, shape->epsilon}};
    const aac_op_desc activate = {.op = AAC_OP_ACTIVATE,
                                  .activate = {.rows = shape->rows,
                                               .columns = mlp,
                                               .activation = shape->activation,
                                               .type = shape->type}};
    aaclip_status status = aac_dispatch_plan(dispatch, &plan->norm, &norm);
    if (!status)
        status = plan_linear(&plan->out, dispatch, shape, width, width, 0, true);
    if (!status)
        status = plan_linear(&plan->fc, dispatch, shape, width, mlp,
                             shape->training ? AAC_ACTIVATION_NONE : shape->activation, false);
    if (!status && shape->training)
        status = aac_dispatch_plan(dispatch, &plan->activate, &activate);
    return status ? status : plan_linear(&plan->proj, dispatch, shape, mlp, width, 0, true);
}

aaclip_status aac_block_plan_make(aac_block_plan *plan, const aac_block_shape *shape,
                                  const aac_dispatch *dispatch)
{
    *plan = (aac_block_plan){.dispatch = dispatch, .shape = *shape};
    aaclip_status status = plan_attention(plan, dispatch);
    if (!status)
        status = plan_rest(plan, dispatch);
    if (status)
        aac_block_plan_clear(plan);
    return status;
}

aaclip_status aac_block_tail_plan_make(aac_block_plan *tail, const aac_block_shape *shape,
                                       int64_t rows, const aac_dispatch *dispatch)
{
    const aac_op_desc x = {.op = AAC_OP_GATHER,
                           .gather = {rows, shape->rows, shape->width, AAC_F32}};
    aac_op_desc attended = x;
    attended.gather.type = shape->type;
    *tail = (aac_block_plan){.dispatch = dispatch, .shape = *shape};
    tail->shape.rows = rows;
    aaclip_status status = aac_dispatch_plan(dispatch, &tail->gather_x, &x);
    if (!status)
        status = aac_dispatch_plan(dispatch, &tail->gather_attended, &attended);
    if (!status)
        status = plan_rest(tail, dispatch);
    if (status)
        aac_block_plan_clear(tail);
    return status;
}

void aac_block_plan_clear(aac_block_plan *plan)
{
    aac_plan_free(&plan->norm);
    aac_plan_free(&plan->qkv);
    aac_plan_free(&plan->attention);
    aac_plan_free(&plan->out);
    aac_plan_free(&plan->fc);
    aac_plan_free(&plan->activate);
    aac_plan_free(&plan->proj);
    aac_plan_free(&plan->gather_x);
    aac_plan_free(&plan->gather_attended);
}

size_t aac_block_scratch(const aac_block_plan *plan)
{
    const aac_plan *const plans[] = {plan->norm, plan->qkv,      plan->attention,
                                     plan->out,  plan->fc,       plan->activate,
                                     plan->proj, plan->gather_x, plan->gather_attended};
    return aac_largest_scratch(plans, sizeof plans / sizeof *plans);
}

static aaclip_status run_norm(const aac_block_plan *plan, const float *x, const float *gain,
                              const float *bias, const aac_block_memory *memory)
{
    const aac_op_args args = {.x = x, .y = memory->narrow, .gain = gain, .bias = bias};
    return aac_run(plan->norm, &args, memory->scratch);
}

static aaclip_status run_linear(const aac_plan *plan, const aac_weight *weight, const void *x,
                                void *y, void *scratch)
{
    const aac_op_args args = {.x = x, .y = y, .weight = weight};
    return aac_run(plan, &args, scratch);
}

/* y = added + linear(x); y differs from `added` only if the plan adds_elsewhere */
static aaclip_status run_added(const aac_plan *plan, const aac_weight *weight, const void *x,
                               const float *added, float *y, void *scratch)
{
    const aac_op_args args = {.x = x, .y = y, .weight = weight, .added = added};
    return aac_run(plan, &args, scratch);
}

static aaclip_status copy_rows(const aac_block_plan *plan, const float *from, float *to)
{
    size_t bytes = (size_t)(plan->shape.rows * plan->shape.width) * sizeof *to;
    return aac_device_copy(plan->dispatch, to, from, bytes);
}

/* y = x + proj(activation(fc(ln_2(x)))) */
static aaclip_status run_mlp(const aac_block_plan *plan, const aac_block *block, const float *x,
                             float *y, void *hidden, const aac_block_memory *memory)
{
    aaclip_status status = run_norm(plan, x, block->ln_2_gain, block->ln_2_bias, memory);
    if (!status)
        status = run_linear(plan->fc, block->fc, memory->narrow, hidden, memory->scratch);
    if (!status && plan->activate) {
        const aac_op_args args = {.x = hidden, .y = memory->wide};
        status = aac_run(plan->activate, &args, memory->scratch);
    }
    return status ? status
                  : run_added(plan->proj, block->proj, memory->wide, x, y, memory->scratch);
}

/* attended = attention(qkv(ln_1(x))) */
static aaclip_status attend(const aac_block_plan *plan, const aac_block *block, const float *x,
                            void *qkv, void *attended, float *sums, const aac_sequences *sequences,
                            const aac_block_memory *memory)
{
    aaclip_status status = run_norm(plan, x, block->ln_1_gain, block->ln_1_bias, memory);
    if (!status)
        status = run_linear(plan->qkv, block->qkv, memory->narrow, qkv, memory->scratch);
    const aac_op_args args = {.x = qkv,
                              .y = attended,
                              .sums = sums,
                              .offsets = sequences->offsets,
                              .sequences = sequences->count,
                              .parents = sequences->parents};
    return status ? status : aac_run(plan->attention, &args, memory->scratch);
}

/* y = x + out(attention(qkv(ln_1(x)))), then the MLP. */
aaclip_status aac_block_run(const aac_block_plan *plan, const aac_block *block, const float *x,
                            float *y, const aac_sequences *sequences,
                            const aac_block_memory *memory, const aac_block_tape *tape)
{
    const aac_block_tape wanted = tape ? *tape : (aac_block_tape){0};
    void *qkv = wanted.qkv ? wanted.qkv : memory->wide;
    void *attended = wanted.attended ? wanted.attended : memory->narrow;
    bool elsewhere = plan->out->adds_elsewhere && plan->proj->adds_elsewhere;
    float *middle = elsewhere && wanted.middle ? wanted.middle : y;
    aaclip_status status = attend(plan, block, x, qkv, attended, wanted.sums, sequences, memory);
    if (!status && !elsewhere && y != x)
        status = copy_rows(plan, x, y);
    if (!status)
        status =
            run_added(plan->out, block->out, attended, elsewhere ? x : y, middle, memory->scratch);
    if (!status && !elsewhere && wanted.middle)
        status = copy_rows(plan, y, wanted.middle);
    return status ? status
                  : run_mlp(plan, block, middle, y, wanted.hidden ? wanted.hidden : memory->wide,
                            memory);
}

aaclip_status aac_block_run_last(const aac_block_plan *plan, const aac_block_plan *tail,
                                 const aac_block *block, const float *x,
                                 const aac_sequences *sequences, const int32_t *index, float *some,
                                 const aac_block_memory *memory)
{
    const aac_op_args rows = {.x = x, .y = some, .index = index};
    const aac_op_args attended = {.x = memory->narrow, .y = memory->wide, .index = index};
    aaclip_status status =
        attend(plan, block, x, memory->wide, memory->narrow, NULL, sequences, memory);
    if (!status)
        status = aac_run(tail->gather_x, &rows, memory->scratch);
    if (!status)
        status = aac_run(tail->gather_attended, &attended, memory->scratch);
    if (!status)
        status = run_linear(tail->out, block->out, memory->wide, some, memory->scratch);
    return status ? status : run_mlp(tail, block, some, some, memory->wide, memory);
}
