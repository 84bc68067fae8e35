/*
 * Every operation of every backend against `reference`.
 *
 *     test_backends           compare (also with 1, 2 and 3 threads), and the rules of backend.h
 *     test_backends OP...     compare these operations
 *     test_backends --list    what each backend supports
 *
 * AACLIP_MOST_SCORES=N in the environment skips attention whose longest sequence has more scores in
 * all heads together.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/status.h>

#include "cases.h"
#include "core/memory.h"
#include "core/threads.h"

#define GUARD 64 /* bytes after every output that must stay unchanged */
#define FILL  0xa5

/* Everything that a run of one description reads, and buffers for what it writes. */
typedef struct operands {
    aac_op_desc desc;
    size_t x_bytes, y_bytes, a_bytes, dy_bytes;
    size_t more_bytes; /* of y_bytes: those after y */
    void *x;
    unsigned char *y_start; /* what y holds before the run */
    float *gain, *bias, *a, *matrix, *matrix_bias;
    void *dy, *out;
    uint8_t *mask;
    int32_t offsets[6];
    int64_t sequences;
    int32_t *parents, *index;
    size_t parents_bytes, index_bytes;
} operands;

typedef struct comparison_totals {
    char **names; /* of operations to compare; none for all */
    int compared, failed, left_out;
    double worst[AAC_OP_COUNT];
} comparison_totals;

static uint32_t random_state = 1;

static float random_value(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / (float)(1 << 23) - 1.0f;
}

static void *make(size_t bytes)
{
    void *memory = aac_calloc(1, bytes ? bytes : 1);
    if (!memory)
        abort();
    return memory;
}

static float *random_floats(int64_t count)
{
    float *values = make((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++)
        values[i] = random_value();
    return values;
}

static void *random_typed(int64_t count, aac_dtype type)
{
    float *values = random_floats(count);
    if (type == AAC_F32)
        return values;
    uint16_t *narrow = make((size_t)count * sizeof *narrow);
    for (int64_t i = 0; i < count; i++)
        narrow[i] = type == AAC_F16 ? aac_f32_to_f16(values[i]) : aac_f32_to_bf16(values[i]);
    aac_free(values);
    return narrow;
}

/* Several sequences; with one length all have `longest` rows, else one of them has. */
static int64_t lay_out_sequences(operands *op)
{
    int64_t longest = op->desc.attention.longest;
    if (op->desc.attention.kind == AAC_ATTENTION_TREE)
        return op->desc.attention.rows;
    const int64_t ragged[] = {1, longest, longest / 2 + 1, 1};
    op->sequences = op->desc.attention.uniform ? 2 : 4;
    for (int64_t i = 0; i < op->sequences; i++)
        op->offsets[i + 1] =
            op->offsets[i] + (int32_t)(op->desc.attention.uniform ? longest : ragged[i]);
    return op->desc.attention.rows = op->offsets[op->sequences];
}

/* Sizes of x and y, in elements, and their types; dy has the type of x. */
typedef struct extent {
    int64_t x, y;
    aac_dtype x_type, y_type;
    int64_t dy;
    int64_t more; /* float32 values behind y: what else the operation writes */
} extent;

static extent measure(operands *op)
{
    const aac_op_desc *d = &op->desc;
    switch (d->op) {
    case AAC_OP_LINEAR:
        return (extent){d->linear.rows * d->linear.inputs,
                        d->linear.rows * d->linear.outputs,
                        d->linear.x,
                        d->linear.y,
                        0,
                        0};
    case AAC_OP_ATTENTION: {
        int64_t values = lay_out_sequences(op) * d->attention.heads * d->attention.head_size;
        int64_t parts = d->attention.kind == AAC_ATTENTION_VALUE ? 1 : 3;
        return (extent){parts * values, values, d->attention.type, d->attention.type, 0, 0};
    }
    case AAC_OP_LAYER_NORM:
        return (extent){d->layer_norm.rows * d->layer_norm.columns,
                        d->layer_norm.rows * d->layer_norm.columns,
                        AAC_F32,
                        d->layer_norm.y,
                        0,
                        0};
    case AAC_OP_BLEND:
        return (extent){d->blend.rows * d->blend.columns,
                        d->blend.rows * d->blend.columns,
                        AAC_F32,
                        AAC_F32,
                        0,
                        0};
    case AAC_OP_NORMALIZE:
        return (extent){d->normalize.rows * d->normalize.columns,
                        (d->normalize.mean ? 1 : d->normalize.rows) * d->normalize.columns,
                        AAC_F32,
                        AAC_F32,
                        0,
                        0};
    case AAC_OP_CONVERT:
        return (extent){d->convert.rows * d->convert.columns,
                        d->convert.rows * d->convert.columns,
                        d->convert.x,
                        d->convert.y,
                        0,
                        0};
    case AAC_OP_GATHER:
        return (extent){d->gather.sources * d->gather.columns,
                        d->gather.rows * d->gather.columns,
                        d->gather.type,
                        d->gather.type,
                        0,
                        0};
    case AAC_OP_GATHER_BACKWARD:
        return (extent){0,       d->gather.sources * d->gather.columns, AAC_F32,
                        AAC_F32, d->gather.rows * d->gather.columns,    0};
    case AAC_OP_PATCHES:
        return (extent){d->patches.size * d->patches.size * 3,
                        d->patches.size * d->patches.size * 3,
                        AAC_U8,
                        d->patches.y,
                        0,
                        0};
    case AAC_OP_SIMILARITY:
        return (extent){d->similarity.rows * d->similarity.columns,
                        d->similarity.rows * 2,
                        AAC_F32,
                        AAC_F32,
                        0,
                        0};
    case AAC_OP_ANOMALY_MAP:
        return (extent){d->anomaly_map.levels * d->anomaly_map.grid * d->anomaly_map.grid * 2,
                        d->anomaly_map.size * d->anomaly_map.size,
                        AAC_F32,
                        AAC_F32,
                        0,
                        0};
    case AAC_OP_ACTIVATE:
    case AAC_OP_ACTIVATE_BACKWARD: {
        int64_t values = d->activate.rows * d->activate.columns;
        return (extent){values, values, d->activate.type, d->activate.type, values, 0};
    }
    case AAC_OP_LINEAR_GRADIENT:
        return (extent){d->linear_gradient.rows * d->linear_gradient.inputs,
                        d->linear_gradient.outputs * d->linear_gradient.inputs,
                        d->linear_gradient.type,
                        AAC_F32,
                        d->linear_gradient.rows * d->linear_gradient.outputs,
                        0};
    case AAC_OP_LAYER_NORM_BACKWARD: {
        int64_t values = d->layer_norm.rows * d->layer_norm.columns;
        return (extent){values, values, AAC_F32, AAC_F32, values, 0};
    }
    case AAC_OP_ATTENTION_BACKWARD: {
        int64_t values = lay_out_sequences(op) * d->attention.heads * d->attention.head_size;
        return (extent){3 * values, 3 * values, d->attention.type, d->attention.type, values, 0};
    }
    case AAC_OP_BLEND_BACKWARD: {
        int64_t values = d->blend.rows * d->blend.columns;
        return (extent){values, values, AAC_F32, AAC_F32, values, values};
    }
    case AAC_OP_NORMALIZE_BACKWARD: {
        int64_t values = d->normalize.rows * d->normalize.columns;
        return (extent){
            values, values, AAC_F32, AAC_F32, d->normalize.mean ? d->normalize.columns : values, 0};
    }
    case AAC_OP_SIMILARITY_BACKWARD: {
        int64_t values = d->similarity.rows * d->similarity.columns;
        return (extent){
            values, values, AAC_F32, AAC_F32, 2 * d->similarity.rows, 2 * d->similarity.columns};
    }
    case AAC_OP_SEGMENTATION_LOSS: {
        int64_t cells =
            2 * d->segmentation_loss.maps * d->segmentation_loss.grid * d->segmentation_loss.grid;
        return (extent){cells, cells, AAC_F32, AAC_F32, 0, 3};
    }
    case AAC_OP_CLASSIFICATION_LOSS: {
        int64_t values = d->classification_loss.rows * d->classification_loss.columns;
        return (extent){values, values, AAC_F32, AAC_F32, 0, 1};
    }
    case AAC_OP_FINITE:
        return (extent){d->finite.count, 1, AAC_F32, AAC_F32, 0, 0};
    case AAC_OP_ADAM:
        return (extent){0, d->adam.count, AAC_F32, AAC_F32, d->adam.count, 2 * d->adam.count};
    case AAC_OP_COUNT:
        break;
    }
    abort();
}

static void *random_bytes(int64_t count)
{
    unsigned char *bytes = make((size_t)count);
    for (int64_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)(random_value() * 127.0f + 128.0f);
    return bytes;
}

/* The backward of attention reads what the forward wrote. */
static void *attend(const operands *op)
{
    const aac_backend *judge = &aac_backend_reference;
    aac_op_desc desc = op->desc;
    aac_plan *plan = NULL;
    desc.op = AAC_OP_ATTENTION;
    if (judge->plan(&plan, &desc, 2))
        abort();
    void *scratch = make(plan->scratch), *out = make(op->x_bytes / 3);
    const aac_op_args args = {.x = op->x,
                              .y = out,
                              .offsets = op->offsets,
                              .sequences = op->sequences,
                              .parents = op->parents};
    if (aac_run(plan, &args, scratch))
        abort();
    aac_free(scratch);
    aac_plan_free(&plan);
    return out;
}

/* Half of the picture, a disc, or nothing is abnormal. */
static uint8_t *make_mask(int64_t size)
{
    uint8_t *mask = make((size_t)(size * size));
    int64_t kind = size % 3, radius = size / 3;
    for (int64_t v = 0; v < size; v++)
        for (int64_t u = 0; u < size; u++) {
            int64_t down = v - size / 2, across = u - size / 2;
            mask[v * size + u] =
                kind == 0 ? u < size / 2
                          : kind == 1 && down * down + across * across <= radius * radius;
        }
    return mask;
}

static int32_t random_index(int64_t count)
{
    int32_t index = (int32_t)((random_value() + 1.0f) / 2.0f * (float)count);
    return index < count ? index : (int32_t)count - 1;
}

/* One way of the full length first, then rows below any earlier one that is not so deep: some
 * neighbours, as prompts have them, others far away. */
static int32_t *make_parents(const aac_op_desc *desc)
{
    int64_t rows = desc->attention.rows, longest = desc->attention.longest;
    int32_t *parents = make((size_t)rows * sizeof *parents);
    int64_t *depths = make((size_t)rows * sizeof *depths);
    for (int64_t i = 0; i < rows; i++) {
        int32_t parent = (int32_t)i - 1;
        if (i >= longest && (i % 3 == 0 || depths[parent] == longest))
            parent = random_index(i + 1) - 1; /* -1 begins another tree */
        if (parent >= 0 && depths[parent] == longest)
            parent = -1;
        parents[i] = parent;
        depths[i] = parent < 0 ? 1 : depths[parent] + 1;
    }
    aac_free(depths);
    return parents;
}

static int32_t *make_index(const aac_op_desc *desc)
{
    int32_t *index = make((size_t)desc->gather.rows * sizeof *index);
    for (int64_t i = 0; i < desc->gather.rows; i++)
        index[i] = random_index(desc->gather.sources);
    return index;
}

static bool is_tree(const aac_op_desc *desc)
{
    return (desc->op == AAC_OP_ATTENTION || desc->op == AAC_OP_ATTENTION_BACKWARD) &&
           desc->attention.kind == AAC_ATTENTION_TREE;
}

/* Pixels are abnormal with probabilities of which float32 only knows that they are nearly 1. */
static void raise_alarms(operands *op)
{
    int64_t grid = op->desc.segmentation_loss.grid;
    float *x = op->x;
    for (int64_t i = 0; i < op->desc.segmentation_loss.maps * grid * grid; i++)
        x[2 * i + 1] += 15;
}

static void make_backward_operands(operands *op, const extent *size)
{
    op->dy = random_typed(size->dy, size->x_type);
    if (op->desc.op == AAC_OP_ATTENTION_BACKWARD)
        op->out = attend(op);
    if (op->desc.op == AAC_OP_SEGMENTATION_LOSS) {
        op->mask = make_mask(op->desc.segmentation_loss.size);
        if (op->desc.segmentation_loss.maps == 2)
            raise_alarms(op);
    }
    for (int64_t i = 0; op->desc.op == AAC_OP_ADAM && i < 3 * op->desc.adam.count; i++) {
        float *start = (float *)(void *)op->y_start + i; /* the second moment is never negative */
        *start = i < 2 * op->desc.adam.count ? *start : *start * *start;
    }
}

/*
 * Weights on the grid of the coarser limit, so that every backend makes the same integers of them;
 * among the rows one of zeros and one without negative values.
 */
static void put_on_grid(operands *op)
{
    int64_t rows = op->desc.linear.rows, inputs = op->desc.linear.inputs;
    for (int64_t i = 0; i < op->desc.linear.outputs; i++) {
        float step = (2 + random_value()) / 63, *row = op->matrix + i * inputs;
        for (int64_t j = 0; j < inputs; j++)
            row[j] = step * (j == i % inputs ? 63 : roundf(63 * row[j]));
    }
    if (op->desc.linear.x != AAC_F32 || rows < 3)
        return;
    float *x = op->x;
    for (int64_t j = 0; j < inputs; j++) {
        x[j] = 0;
        x[inputs + j] = fabsf(x[inputs + j]);
    }
}

/* Of every three counts one gets no such value, one NaN as the last, one infinity as the first. */
static void put_infinite(operands *op)
{
    float *x = op->x;
    int64_t count = op->desc.finite.count;
    if (count % 3 == 1)
        x[count - 1] = NAN;
    else if (count % 3 == 2)
        x[0] = -INFINITY;
}

/* Of every three rows the first is abnormal, the second left out, with a pair of NaN, the last
 * normal. */
static void make_classes(operands *op)
{
    int64_t rows = op->desc.classification_loss.rows,
            pair = 2 * op->desc.classification_loss.columns;
    op->a_bytes = (size_t)(rows * pair) * sizeof *op->a;
    op->a = random_floats(rows * pair);
    op->index_bytes = (size_t)rows * sizeof *op->index;
    op->index = make(op->index_bytes);
    for (int64_t i = 0; i < rows; i++) {
        op->index[i] = i % 3 == 0 ? 1 : i % 3 == 1 ? -1 : 0;
        for (int64_t j = 0; op->index[i] < 0 && j < pair; j++)
            op->a[i * pair + j] = NAN;
    }
}

static void make_operands(operands *op, const aac_op_desc *desc)
{
    *op = (operands){.desc = *desc};
    random_state = 1; /* the same values whatever was compared before */
    const extent size = measure(op);
    op->x_bytes = (size_t)size.x * aac_dtype_size(size.x_type);
    op->y_bytes = (size_t)(size.y + size.more) * aac_dtype_size(size.y_type);
    op->more_bytes = (size_t)size.more * sizeof(float);
    op->dy_bytes = (size_t)size.dy * aac_dtype_size(size.x_type);
    op->x = size.x_type == AAC_U8 ? random_bytes(size.x) : random_typed(size.x, size.x_type);
    op->y_start = random_typed(size.y + size.more, size.y_type);
    if (is_tree(desc)) {
        op->parents_bytes = (size_t)desc->attention.rows * sizeof *op->parents;
        op->parents = make_parents(desc);
    }
    if (desc->op == AAC_OP_GATHER || desc->op == AAC_OP_GATHER_BACKWARD) {
        op->index_bytes = (size_t)desc->gather.rows * sizeof *op->index;
        op->index = make_index(desc);
    }
    if (desc->op >= AAC_OP_ACTIVATE)
        make_backward_operands(op, &size);
    if (desc->op == AAC_OP_LAYER_NORM || desc->op == AAC_OP_LAYER_NORM_BACKWARD) {
        op->gain = random_floats(desc->layer_norm.columns);
        op->bias = random_floats(desc->layer_norm.columns);
    } else if (desc->op == AAC_OP_BLEND || desc->op == AAC_OP_BLEND_BACKWARD) {
        op->a_bytes = (size_t)size.y * sizeof *op->a;
        op->a = random_floats(size.y);
        if (desc->blend.rows > 1) /* a row without direction */
            memset(op->a + desc->blend.columns, 0, (size_t)desc->blend.columns * sizeof *op->a);
    } else if (desc->op == AAC_OP_SIMILARITY || desc->op == AAC_OP_SIMILARITY_BACKWARD) {
        op->a_bytes = 2 * (size_t)desc->similarity.columns * sizeof *op->a;
        op->a = random_floats(2 * desc->similarity.columns);
    } else if (desc->op == AAC_OP_LINEAR) {
        op->matrix = random_floats(desc->linear.outputs * desc->linear.inputs);
        op->matrix_bias =
            random_floats(desc->linear.transposed ? desc->linear.inputs : desc->linear.outputs);
        if (desc->linear.quantized)
            put_on_grid(op);
    } else if (desc->op == AAC_OP_CLASSIFICATION_LOSS) {
        make_classes(op);
    } else if (desc->op == AAC_OP_FINITE) {
        put_infinite(op);
    }
}

static void clear_operands(operands *op)
{
    void *const all[] = {op->x,           op->y_start, op->gain, op->bias, op->a,       op->matrix,
                         op->matrix_bias, op->dy,      op->out,  op->mask, op->parents, op->index};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        aac_free(all[i]);
}

static aaclip_status pack(aac_weight **weight, const operands *op, const aac_backend *backend,
                          int threads)
{
    bool transposed = op->desc.linear.transposed;
    int64_t outputs = transposed ? op->desc.linear.inputs : op->desc.linear.outputs;
    int64_t inputs = transposed ? op->desc.linear.outputs : op->desc.linear.inputs;
    int64_t upper = outputs / 2; /* two parts where there are two rows, as split q, k, v come */
    const aac_tensor parts[] = {
        {"w", AAC_F32, 2, {upper ? upper : outputs, inputs}, {inputs, 1}, op->matrix, false},
        {"w",
         AAC_F32,
         2,
         {outputs - upper, inputs},
         {inputs, 1},
         op->matrix + upper * inputs,
         false}};
    const aac_tensor bias[] = {
        {"b", AAC_F32, 1, {upper ? upper : outputs}, {1}, op->matrix_bias, false},
        {"b", AAC_F32, 1, {outputs - upper}, {1}, op->matrix_bias + upper, false}};
    bool biased = op->desc.linear.bias || transposed; /* whose bias has no place in the product */
    return backend->pack(weight, parts, biased ? bias : NULL, upper ? 2 : 1,
                         op->desc.linear.quantized ? AAC_I8 : op->desc.linear.x, threads);
}

/* Memory of the backend under test with a copy of `from`; the host's own is used as it is. */
static void *lend(const aac_backend *backend, const void *from, size_t bytes)
{
    if (!backend->memory || !from)
        return (void *)from;
    void *memory = backend->memory->allocate(bytes);
    if (!memory || backend->memory->copy(memory, from, bytes))
        abort();
    return memory;
}

static void take_back(const aac_backend *backend, const void *memory)
{
    if (backend->memory && memory)
        backend->memory->release((void *)memory);
}

/* What args point to, in the backend's memory. */
static aac_op_args lend_args(const aac_backend *backend, const operands *op, const aac_op_args *own)
{
    const aac_op_desc *desc = &op->desc;
    bool norm = desc->op == AAC_OP_LAYER_NORM || desc->op == AAC_OP_LAYER_NORM_BACKWARD;
    size_t vector = norm ? (size_t)desc->layer_norm.columns * sizeof(float) : 0;
    aac_op_args args = *own;
    args.x = lend(backend, own->x, op->x_bytes);
    args.y = lend(backend, own->y, op->y_bytes + GUARD);
    args.gain = lend(backend, own->gain, vector);
    args.bias = lend(backend, own->bias, vector);
    args.a = lend(backend, own->a, op->a_bytes);
    args.offsets = lend(backend, own->offsets, sizeof op->offsets);
    args.parents = lend(backend, own->parents, op->parents_bytes);
    args.index = lend(backend, own->index, op->index_bytes);
    args.dy = lend(backend, own->dy, op->dy_bytes);
    args.out = lend(backend, own->out, op->x_bytes / 3);
    size_t size = (size_t)(own->mask ? desc->segmentation_loss.size : 0);
    args.mask = lend(backend, own->mask, size * size);
    args.losses = lend(backend, own->losses, 3 * sizeof *own->losses);
    return args;
}

/* The forward run upon lent args leaves its sums, which the backward run need not find again. */
static float *keep_sums(const operands *op, const aac_backend *backend, int threads,
                        const aac_op_args *lent)
{
    aac_op_desc desc = op->desc;
    aac_plan *plan = NULL;
    desc.op = AAC_OP_ATTENTION;
    size_t values = (size_t)(desc.attention.heads * desc.attention.rows);
    float *sums = make(values * sizeof *sums);
    memset(sums, 0xff, values * sizeof *sums); /* NaN, should one be left out */
    float *kept = lend(backend, sums, values * sizeof *sums);
    void *y = backend->memory->allocate(op->x_bytes / 3);
    aac_op_args args = *lent;
    args.y = y;
    args.sums = kept;
    if (backend->plan(&plan, &desc, threads) || plan->scratch || aac_run(plan, &args, NULL))
        abort();
    take_back(backend, y);
    aac_plan_free(&plan);
    aac_free(sums);
    return kept;
}

/* y becomes what the products are added to; where they go is NaN, should any be left out. */
static void add_elsewhere(const operands *op, const aac_backend *backend, aac_op_args *lent)
{
    unsigned char *elsewhere = make(op->y_bytes + GUARD);
    memset(elsewhere, 0xff, op->y_bytes);
    memset(elsewhere + op->y_bytes, FILL, GUARD);
    lent->added = lent->y;
    lent->y = lend(backend, elsewhere, op->y_bytes + GUARD);
    aac_free(elsewhere);
}

/* What a layer norm, back, leaves of y in another type: every value of it, rounded. */
static bool is_rounded(const operands *op, const aac_backend *backend, const void *rounded,
                       const unsigned char *y)
{
    aac_dtype type = op->desc.layer_norm.y;
    size_t count = op->y_bytes / sizeof(float), size = aac_dtype_size(type);
    unsigned char *found = make(count * size);
    bool same = !backend->memory->copy(found, rounded, count * size);
    for (size_t i = 0; same && i < count; i++) {
        float value = ((const float *)(const void *)y)[i];
        uint16_t narrow = aac_f32_to_bf16(value);
        same = !memcmp(found + i * size, type == AAC_F32 ? (void *)&value : (void *)&narrow, size);
    }
    if (!same)
        printf("%s: layer norm, back: y is not what is rounded\n", backend->name);
    aac_free(found);
    return same;
}

/* The same with x where y is, to be overwritten. */
static aac_op_args in_place(const operands *op, const aac_backend *backend, const aac_op_args *lent)
{
    aac_op_args args = *lent;
    if (!backend->memory)
        memcpy(args.y, args.x, op->x_bytes);
    else if (backend->memory->copy(args.y, args.x, op->x_bytes))
        abort();
    args.x = args.y;
    return args;
}

/* Runs where the backend's memory is; what it wrote comes back to where `own` points. */
static bool run_lent(const operands *op, const aac_plan *plan, const aac_op_args *own)
{
    const aac_backend *backend = plan->backend;
    aac_op_args args = lend_args(backend, op, own);
    /* Aligned to 64 bytes and no more. */
    const size_t apart = backend->memory ? 64 : 0;
    unsigned char *filler = make(plan->scratch + apart);
    memset(filler, 0xff, plan->scratch + apart); /* NaN, should anything read before it writes */
    char *scratch = lend(backend, filler, plan->scratch + apart);
    float *more = (float *)(void *)((char *)args.y + op->y_bytes - op->more_bytes);
    const aac_adam_step adam = {1e-2, 0.5, 0.999, 1e-8, 3, more, more + op->desc.adam.count};
    args.da = more;
    args.adam = &adam;
    bool back = op->desc.op == AAC_OP_ATTENTION_BACKWARD;
    if (back && plan->threads > 1 && plan->keeps_sums) /* with one thread it finds them itself */
        args.sums = keep_sums(op, backend, plan->threads, &args);
    if (plan->threads > 1 && plan->adds_elsewhere) /* likewise: in place */
        add_elsewhere(op, backend, &args);
    if (plan->rounds)
        args.rounded = lend(backend, own->y, op->y_bytes);
    aac_op_args given = args;
    if (plan->threads > 1 && op->desc.op == AAC_OP_BLEND) /* else from x to y */
        given = in_place(op, backend, &args);
    bool done = aac_run(plan, &given, scratch + apart) == AACLIP_OK;
    if (done && backend->memory)
        done = !backend->memory->copy(own->y, args.y, op->y_bytes + GUARD) &&
               !backend->memory->copy(own->losses, args.losses, 3 * sizeof *own->losses);
    if (done && plan->rounds)
        done = is_rounded(op, backend, args.rounded, own->y);
    const void *const lent[] = {args.x,     args.y,   args.gain,    args.bias,
                                args.a,     args.dy,  args.offsets, args.parents,
                                args.index, args.out, args.mask,    args.losses,
                                args.sums,  scratch,  args.added,   args.rounded};
    for (size_t i = 0; i < sizeof lent / sizeof *lent; i++)
        take_back(backend, lent[i]);
    aac_free(filler);
    if (!done)
        printf("%s: %s\n", backend->name, aaclip_last_error());
    return done;
}

/* Runs on a fresh copy of y; false when anything fails or a byte behind y changes. */
static bool run(const operands *op, const aac_backend *backend, int threads, unsigned char *y)
{
    aac_plan *plan = NULL;
    aac_weight *weight = NULL;
    if (backend->plan(&plan, &op->desc, threads) ||
        (op->desc.op == AAC_OP_LINEAR && pack(&weight, op, backend, threads))) {
        printf("%s: %s\n", backend->name, aaclip_last_error());
        aac_plan_free(&plan);
        return false;
    }
    memcpy(y, op->y_start, op->y_bytes);
    memset(y + op->y_bytes, FILL, GUARD);
    float *more = (float *)(void *)(y + op->y_bytes - op->more_bytes);
    double losses[3] = {0};
    const aac_op_args args = {.x = op->x,
                              .y = y,
                              .weight = weight,
                              .gain = op->gain,
                              .bias = op->bias,
                              .a = op->a,
                              .offsets = op->offsets,
                              .sequences = op->sequences,
                              .parents = op->parents,
                              .index = op->index,
                              .dy = op->dy,
                              .out = op->out,
                              .mask = op->mask,
                              .losses = losses,
                              .factor = 0.5f};
    bool done = run_lent(op, plan, &args);
    bool loss =
        op->desc.op == AAC_OP_SEGMENTATION_LOSS || op->desc.op == AAC_OP_CLASSIFICATION_LOSS;
    for (size_t i = 0; loss && i < op->more_bytes / sizeof *more; i++)
        more[i] = (float)losses[i];
    for (size_t i = 0; i < GUARD; i++)
        done = done && y[op->y_bytes + i] == FILL;
    aac_plan_free(&plan);
    aac_weight_free(&weight);
    return done;
}

static double value_at(const unsigned char *y, aac_dtype type, size_t i)
{
    if (type == AAC_F32)
        return (double)((const float *)(const void *)y)[i];
    uint16_t bits = ((const uint16_t *)(const void *)y)[i];
    return (double)(type == AAC_F16 ? aac_f16_to_f32(bits) : aac_bf16_to_f32(bits));
}

/* Largest difference, relative to the largest value; infinite for NaN. */
static double part_difference(const unsigned char *found, const unsigned char *expected,
                              aac_dtype type, size_t bytes)
{
    double worst = 0, largest = 1e-30;
    for (size_t i = 0; i < bytes / aac_dtype_size(type); i++) {
        double right = value_at(expected, type, i);
        double apart = fabs(value_at(found, type, i) - right);
        largest = fmax(largest, fabs(right));
        worst = apart <= worst ? worst : (isnan(apart) ? INFINITY : apart);
    }
    return worst / largest;
}

/* y and what stands behind it, each by its own size. */
static double difference(const operands *op, const unsigned char *found,
                         const unsigned char *expected, aac_dtype type)
{
    size_t own = op->y_bytes - op->more_bytes;
    return fmax(part_difference(found, expected, type, own),
                part_difference(found + own, expected + own, AAC_F32, op->more_bytes));
}

/*
 * float32 sums of n products of values in [-1, 1] stray by about sqrt(n) roundings of 2^-24; 4e-6
 * holds for the largest n here, 600. A bfloat16 result may round the other way: 2^-8 of its value;
 * one of float16, 2^-11. Attention in these types also rounds the weights, each by half as much,
 * which averages out. TF32 rounds both factors by 2^-11.
 */
static double bound_of(const aac_op_desc *desc, aac_dtype type)
{
    if (desc->tensor_float)
        return 0x1p-9;
    return type == AAC_BF16 ? 0x1p-7 : type == AAC_F16 ? 0x1p-10 : 4e-6;
}

static bool is_asked_for(const aac_op_desc *desc, char **names)
{
    bool found = !*names;
    for (; !found && *names; names++)
        found = strcmp(*names, aac_op_name(desc->op)) == 0;
    return found;
}

static bool has_too_many_scores(const aac_op_desc *desc)
{
    const char *most = getenv("AACLIP_MOST_SCORES");
    bool attention = desc->op == AAC_OP_ATTENTION || desc->op == AAC_OP_ATTENTION_BACKWARD;
    return most && attention &&
           desc->attention.longest * desc->attention.longest * desc->attention.heads > atoll(most);
}

static void compare_run(const operands *op, const aac_backend *backend, int threads,
                        const unsigned char *expected, unsigned char *found,
                        comparison_totals *totals)
{
    const aac_op_desc *desc = &op->desc;
    aac_dtype type = measure(&(operands){.desc = *desc}).y_type;
    bool ran = run(op, backend, threads, found);
    double apart = ran ? difference(op, found, expected, type) : INFINITY;
    totals->compared++;
    if (!desc->tensor_float)
        totals->worst[desc->op] = fmax(totals->worst[desc->op], apart);
    if (apart <= bound_of(desc, type))
        return;
    totals->failed++;
    printf("%s %s, %d threads, %zu bytes of y: difference %g above %g\n", backend->name,
           aac_op_name(desc->op), threads, op->y_bytes, apart, bound_of(desc, type));
}

/* A device does not ask for threads: two tell it to go the other of two ways, see run_lent. */
static int most_threads(const aac_backend *backend, const aac_op_desc *desc)
{
    bool two = desc->op == AAC_OP_ATTENTION_BACKWARD || desc->op == AAC_OP_BLEND ||
               (desc->op == AAC_OP_LINEAR && desc->linear.accumulate);
    return !backend->devices ? 3 : two ? 2 : 1;
}

/* One value alone may be what little cancelling left of its sum. */
static bool multiplies_f32(const aac_op_desc *desc, size_t y_bytes)
{
    if (y_bytes == sizeof(float))
        return false;
    return (desc->op == AAC_OP_LINEAR && desc->linear.x == AAC_F32 && !desc->linear.quantized) ||
           (desc->op == AAC_OP_LINEAR_GRADIENT && desc->linear_gradient.type == AAC_F32);
}

static void compare(const aac_op_desc *desc, void *user)
{
    comparison_totals *totals = user;
    if (!is_asked_for(desc, totals->names))
        return;
    if (has_too_many_scores(desc)) {
        totals->left_out++;
        return;
    }
    operands op;
    make_operands(&op, desc);
    unsigned char *expected = make(op.y_bytes + GUARD), *found = make(op.y_bytes + GUARD);
    bool judged = run(&op, &aac_backend_reference, 1, expected);
    totals->failed += !judged;
    for (size_t i = 0; judged && i < aac_backend_count(); i++) {
        const aac_backend *backend = aac_backend_at(i);
        if (backend == &aac_backend_reference || !backend->available() || !backend->supports(desc))
            continue;
        for (int threads = 1; threads <= most_threads(backend, desc); threads++)
            compare_run(&op, backend, threads, expected, found, totals);
        op.desc.tensor_float = backend->tensor_float && multiplies_f32(desc, op.y_bytes);
        if (op.desc.tensor_float)
            compare_run(&op, backend, 1, expected, found, totals);
        op.desc.tensor_float = false;
    }
    aac_free(expected);
    aac_free(found);
    clear_operands(&op);
}

typedef struct support {
    int supported[8][AAC_OP_COUNT], cases[AAC_OP_COUNT];
} support;

static void count_support(const aac_op_desc *desc, void *user)
{
    support *table = user;
    table->cases[desc->op]++;
    for (size_t i = 0; i < aac_backend_count() && i < 8; i++)
        table->supported[i][desc->op] +=
            aac_backend_at(i)->available() && aac_backend_at(i)->supports(desc);
}

static void list_support(void)
{
    support table = {0};
    visit_cases(count_support, &table);
    printf("%-24s", "cases of");
    for (size_t i = 0; i < aac_backend_count() && i < 8; i++)
        printf("%12s", aac_backend_at(i)->name);
    for (int op = 0; op < AAC_OP_COUNT; op++) {
        printf("\n%-24s", aac_op_name((aac_op)op));
        for (size_t i = 0; i < aac_backend_count() && i < 8; i++)
            printf("%8d/%-3d", table.supported[i][op], table.cases[op]);
    }
    printf("\n");
}

/* The n-th allocation fails: plan and pack must say so and leave nothing behind. */
static int allocations_left = -1, allocations_open;

static void *failing_allocate(size_t size, void *user)
{
    (void)user;
    if (allocations_left == 0)
        return NULL;
    allocations_left -= allocations_left > 0;
    allocations_open++;
    return malloc(size);
}

static void failing_free(void *pointer, void *user)
{
    (void)user;
    allocations_open--;
    free(pointer);
}

static bool survives(const operands *op, const aac_backend *backend, int allowed)
{
    aac_plan *plan = NULL;
    aac_weight *weight = NULL;
    int open_before = allocations_open;
    allocations_left = allowed;
    aaclip_status status = backend->plan(&plan, &op->desc, 2);
    if (!status && op->desc.op == AAC_OP_LINEAR)
        status = pack(&weight, op, backend, 2);
    allocations_left = -1;
    bool sound = status == AACLIP_OK || (status == AACLIP_ERROR_OUT_OF_MEMORY && !weight);
    aac_plan_free(&plan);
    aac_weight_free(&weight);
    return sound && allocations_open == open_before;
}

static int test_failing_memory(void)
{
    const aaclip_allocator hooks = {failing_allocate, failing_free, NULL};
    const aac_op_desc descs[] = {
        {.op = AAC_OP_LINEAR,
         .linear = {.rows = 5, .inputs = 7, .outputs = 9, .bias = true, .y = AAC_F32}},
        {.op = AAC_OP_LINEAR,
         .linear = {.rows = 5, .inputs = 7, .outputs = 9, .bias = true, .quantized = true}},
        {.op = AAC_OP_ATTENTION,
         .attention = {.longest = 300, .uniform = true, .heads = 2, .head_size = 16}}};
    int failed = 0;
    aaclip_set_allocator(&hooks);
    for (size_t d = 0; d < sizeof descs / sizeof *descs; d++) {
        operands op;
        make_operands(&op, &descs[d]);
        for (size_t i = 0; i < aac_backend_count(); i++) {
            const aac_backend *backend = aac_backend_at(i);
            if (!backend->available() || !backend->supports(&descs[d]))
                continue;
            for (int allowed = 0; allowed < 12; allowed++)
                if (!survives(&op, backend, allowed)) {
                    printf("%s %s: allocation %d failed and was not handled\n", backend->name,
                           aac_op_name(descs[d].op), allowed);
                    failed++;
                }
        }
        clear_operands(&op);
    }
    aaclip_set_allocator(NULL);
    return failed;
}

/* Whether every description under which a packed matrix may be multiplied gets the same answer. */
static bool answers_alike(const aac_backend *backend, const aac_op_desc *packed)
{
    static const int64_t rows[] = {1, 2, 16, 77, 128, 1370, 100000};
    bool answer = backend->supports(packed);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int variant = 0; variant < 8; variant++)
            for (int kind = AAC_ACTIVATION_NONE; kind <= AAC_ACTIVATION_LEAKY_RELU; kind++) {
                aac_op_desc desc = *packed;
                desc.linear.rows = rows[r];
                desc.linear.activation = (aac_activation)kind;
                desc.linear.bias = variant & 1;
                desc.linear.y = variant & 2 ? AAC_F32 : desc.linear.x;
                desc.linear.accumulate = variant & 4;
                bool valid = !desc.linear.accumulate ||
                             (desc.linear.y == AAC_F32 && kind == AAC_ACTIVATION_NONE);
                if (valid && backend->supports(&desc) != answer)
                    return false;
                desc.linear.transposed = true;
                desc.linear.inputs = packed->linear.outputs;
                desc.linear.outputs = packed->linear.inputs;
                bool plain = !kind && !desc.linear.bias && !desc.linear.quantized;
                if (valid && plain && backend->supports(&desc) != answer)
                    return false;
            }
    return true;
}

/* Whoever packs a matrix must multiply it under any number of rows and any epilogue. */
static int test_linear_support(void)
{
    static const int64_t shapes[][2] = {{1, 1},       {7, 13},      {588, 64},
                                        {1024, 4096}, {4096, 1024}, {70000, 64}};
    enum { KINDS = 4 }; /* float32, bfloat16, integers, float16 */
    int failed = 0;
    for (size_t i = 0; i < aac_backend_count(); i++)
        for (size_t s = 0; s < KINDS * sizeof shapes / sizeof *shapes; s++) {
            const aac_backend *backend = aac_backend_at(i);
            static const aac_dtype types[KINDS] = {AAC_F32, AAC_BF16, AAC_F32, AAC_F16};
            aac_dtype type = types[s % KINDS];
            const aac_op_desc packed = {.op = AAC_OP_LINEAR,
                                        .linear = {.rows = 1,
                                                   .inputs = shapes[s / KINDS][0],
                                                   .outputs = shapes[s / KINDS][1],
                                                   .x = type,
                                                   .y = type,
                                                   .quantized = s % KINDS == 2}};
            if (!backend->available() || answers_alike(backend, &packed))
                continue;
            printf("%s: supports() of a linear layer %lldx%lld depends on rows or epilogue\n",
                   backend->name, (long long)packed.linear.outputs,
                   (long long)packed.linear.inputs);
            failed++;
        }
    return failed;
}

/* Whether a training step of ViT-L/14-336 in `type` is left to `reference` anywhere. */
static int slow_training(const aac_backend *backend, aac_dtype type)
{
    const int64_t rows = 1370, width = 1024, mlp = 4096;
    const aac_op_desc step[] = {
        {.op = AAC_OP_LINEAR, .linear = {rows, mlp, width, type, AAC_F32, .transposed = true}},
        {.op = AAC_OP_LINEAR_GRADIENT, .linear_gradient = {rows, width, width / 2, type}},
        {.op = AAC_OP_ATTENTION,
         .attention = {rows, true, 16, 64, AAC_ATTENTION_FULL, type, rows, 0}},
        {.op = AAC_OP_ATTENTION_BACKWARD,
         .attention = {rows, true, 16, 64, AAC_ATTENTION_FULL, type, rows, 0}},
        {.op = AAC_OP_ATTENTION_BACKWARD,
         .attention = {77, false, 12, 64, AAC_ATTENTION_TREE, type, 600, 0}},
        {.op = AAC_OP_ACTIVATE, .activate = {rows, mlp, AAC_ACTIVATION_QUICK_GELU, 0, type}},
        {.op = AAC_OP_ACTIVATE_BACKWARD,
         .activate = {rows, mlp, AAC_ACTIVATION_QUICK_GELU, 0, type}},
        {.op = AAC_OP_LAYER_NORM, .layer_norm = {rows, width, type, 1e-5f}},
        {.op = AAC_OP_LAYER_NORM_BACKWARD, .layer_norm = {rows, width, AAC_F32, 1e-5f}},
        {.op = AAC_OP_CONVERT, .convert = {rows, width, AAC_F32, type}},
        {.op = AAC_OP_GATHER, .gather = {112, 577, 768, type}},
        {.op = AAC_OP_PATCHES, .patches = {.size = 518, .patch = 14, .y = type}},
        {.op = AAC_OP_BLEND_BACKWARD, .blend = {rows, width, 0.1f}},
        {.op = AAC_OP_NORMALIZE_BACKWARD, .normalize = {rows, 768, true}},
        {.op = AAC_OP_GATHER_BACKWARD, .gather = {112, 577, 768, AAC_F32}},
        {.op = AAC_OP_SIMILARITY_BACKWARD, .similarity = {rows, 768, 100}},
        {.op = AAC_OP_SEGMENTATION_LOSS, .segmentation_loss = {4, 37, 518, false}},
        {.op = AAC_OP_ADAM, .adam = {width * width}},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof step / sizeof *step; i++)
        if (!backend->supports(&step[i]) && !aac_backend_simd.supports(&step[i])) {
            printf("%s: %s of training in %s is left to reference\n", backend->name,
                   aac_op_name(step[i].op), aac_dtype_name(type));
            failed++;
        }
    return failed;
}

/* Who multiplies in a type has all of training in it, with the help of `simd`. */
static int test_training_support(void)
{
    static const aac_dtype types[] = {AAC_F32, AAC_BF16};
    int failed = 0;
    for (size_t i = 0; i < aac_backend_count(); i++)
        for (size_t t = 0; t < 2; t++) {
            const aac_backend *backend = aac_backend_at(i);
            const aac_op_desc product = {
                .op = AAC_OP_LINEAR,
                .linear = {
                    .rows = 1370, .inputs = 1024, .outputs = 1024, .x = types[t], .y = types[t]}};
            if (backend->available() && backend->supports(&product))
                failed += slow_training(backend, types[t]);
        }
    return failed;
}

/* The number of threads that the last run of record_threads had. */
static int threads_seen;

static aaclip_status record_threads(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)plan, (void)args, (void)scratch;
    aac_team team = aac_threads_keep();
    threads_seen = team.threads;
    aac_threads_restore(team);
    return AACLIP_OK;
}

static int threads_of_attention(int64_t longest, int64_t sequences)
{
    const aac_plan plan = {
        .backend = &aac_backend_reference,
        .desc = {.op = AAC_OP_ATTENTION,
                 .attention = {.longest = longest, .heads = 12, .head_size = 64, .type = AAC_F32}},
        .threads = 3,
        .run = record_threads};
    const aac_op_args args = {.sequences = sequences};
    return aac_run(&plan, &args, NULL) ? 0 : threads_seen;
}

static int threads_of_plan(const aac_dispatch *dispatch, const aac_op_desc *desc)
{
    aac_plan *plan = NULL;
    int threads = aac_dispatch_plan(dispatch, &plan, desc) ? 0 : plan->threads;
    aac_plan_free(&plan);
    return threads;
}

/* What is small is done by one thread: small products, rows, and attention by its sequences. */
static int test_small_work(void)
{
    aac_dispatch dispatch;
    if (aac_dispatch_open(&dispatch, NULL, 3))
        abort();
    const aac_op_desc products[] = {
        {.op = AAC_OP_LINEAR, .linear = {.rows = 26, .inputs = 64, .outputs = 256}},
        {.op = AAC_OP_LINEAR, .linear = {.rows = 50, .inputs = 768, .outputs = 768}},
        {.op = AAC_OP_LINEAR, .linear = {.rows = 1, .inputs = 1024, .outputs = 768}},
    };
    const aac_op_desc norms[] = {
        {.op = AAC_OP_LAYER_NORM, .layer_norm = {26, 64, AAC_F32, 1e-5f}},
        {.op = AAC_OP_LAYER_NORM, .layer_norm = {257, 1024, AAC_F32, 1e-5f}}};
    const int found[] = {threads_of_plan(&dispatch, &products[0]),
                         threads_of_plan(&dispatch, &products[1]),
                         threads_of_plan(&dispatch, &products[2]),
                         threads_of_plan(&dispatch, &norms[0]),
                         threads_of_plan(&dispatch, &norms[1]),
                         threads_of_attention(10, 1),
                         threads_of_attention(10, 112),
                         threads_of_attention(257, 1)};
    const int running = aac_threads_limit() < 3 ? aac_threads_limit() : 3;
    const int expected[] = {1, 3, 3, 1, 3, 1, running, running};
    int failed = 0;
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        if (found[i] != expected[i]) {
            printf("small work, case %zu: expected %d threads, found %d\n", i, expected[i],
                   found[i]);
            failed++;
        }
    return failed;
}

/* Of `rows` rows, one of whose keys holds these bits: whether that makes all results NaN. */
static bool stays_no_number(const aac_backend *backend, int64_t rows, uint32_t bits)
{
    enum { SIZE = 16 };
    const aac_op_desc desc = {
        .op = AAC_OP_ATTENTION,
        .attention = {
            .longest = rows, .uniform = true, .heads = 1, .head_size = SIZE, .rows = rows}};
    const int32_t offsets[] = {0, (int32_t)rows};
    float *x = aac_alloc_array((size_t)rows * 3 * SIZE, sizeof *x);
    float *y = aac_calloc((size_t)rows * SIZE, sizeof *y);
    aac_plan *plan = NULL;
    if (!x || !y || backend->plan(&plan, &desc, 1))
        abort();
    for (int64_t i = 0; i < rows * 3 * SIZE; i++)
        x[i] = random_value();
    memcpy(&x[3 * 3 * SIZE + SIZE + 5], &bits, sizeof bits);
    void *scratch = aac_alloc(plan->scratch);
    const aac_op_args args = {.x = x, .y = y, .offsets = offsets, .sequences = 1};
    bool all = scratch && !aac_run(plan, &args, scratch);
    for (int64_t i = 0; all && i < rows * SIZE; i++)
        all = isnan(y[i]);
    aac_plan_free(&plan);
    aac_free(scratch);
    aac_free(x);
    aac_free(y);
    return all;
}

/* Whatever its bits: a processor's own, a GPU's, one that counts from below. */
static int test_no_numbers(void)
{
    static const uint32_t bits[] = {0xffc00000, 0x7fffffff, 0x7fc00001};
    static const int64_t rows[] = {9, 150};
    int failed = 0;
    for (size_t i = 0; i < aac_backend_count(); i++)
        for (size_t k = 0; k < sizeof bits / sizeof *bits * sizeof rows / sizeof *rows; k++) {
            const aac_backend *backend = aac_backend_at(i);
            const aac_op_desc desc = {.op = AAC_OP_ATTENTION,
                                      .attention = {.longest = rows[k % 2], .head_size = 16}};
            if (backend->memory || !backend->available() || !backend->supports(&desc) ||
                stays_no_number(backend, rows[k % 2], bits[k / 2]))
                continue;
            printf("%s: attention makes a number of NaN %08x among %d keys\n", backend->name,
                   bits[k / 2], (int)rows[k % 2]);
            failed++;
        }
    return failed;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        list_support();
        return 0;
    }
    comparison_totals totals = {.names = argv + 1};
    int failed = 0;
    if (argc == 1)
        failed = test_failing_memory() + test_linear_support() + test_training_support() +
                 test_small_work() + test_no_numbers();
    visit_cases(compare, &totals);
    for (int op = 0; op < AAC_OP_COUNT; op++)
        printf("%-20s largest difference %.1e\n", aac_op_name((aac_op)op), totals.worst[op]);
    printf("%d comparisons, %d failed, %d cases left out\n", totals.compared,
           totals.failed + failed, totals.left_out);
    return totals.compared == 0 || totals.failed + failed;
}
