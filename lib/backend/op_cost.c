/* Floating-point operations, bytes and a readable shape of an operation. */
#include <stdio.h>
#include <string.h>

#include "backend/profiler.h"

static double size_of(aac_dtype type)
{
    return (double)aac_dtype_size(type);
}

/* Rows of all sequences, and pairs of rows that attend to each other. */
typedef struct attention_rows {
    double rows, pairs;
} attention_rows;

static attention_rows attention_rows_of(const aac_op_desc *desc, const aac_op_args *args)
{
    attention_rows sum = {0};
    if (desc->attention.kind == AAC_ATTENTION_TREE)
        return (attention_rows){(double)desc->attention.rows, (double)desc->attention.pairs};
    for (int64_t i = 0; i < args->sequences; i++) {
        double rows = desc->attention.uniform ? (double)desc->attention.longest
                                              : args->offsets[i + 1] - args->offsets[i];
        bool causal = desc->attention.kind == AAC_ATTENTION_CAUSAL;
        sum.rows += rows;
        sum.pairs += causal ? rows * (rows + 1) / 2 : rows * rows;
    }
    return sum;
}

/* Two products forward, four backward; a fifth recomputes the probabilities. */
static aac_op_cost attention_cost(const aac_op_desc *desc, const aac_op_args *args)
{
    attention_rows sum = attention_rows_of(desc, args);
    double width = (double)(desc->attention.heads * desc->attention.head_size);
    double inputs = desc->attention.kind == AAC_ATTENTION_VALUE ? 1 : 3;
    bool forward = desc->op == AAC_OP_ATTENTION;
    double operands = forward ? inputs + 1 : 2 * inputs + 2; /* x, out; backward also dx, dy */
    return (aac_op_cost){(forward ? 4 : 8) * sum.pairs * width,
                         sum.rows * width * operands * size_of(desc->attention.type)};
}

static aac_op_cost linear_cost(const aac_op_desc *desc)
{
    double rows = (double)desc->linear.rows, inputs = (double)desc->linear.inputs;
    double outputs = (double)desc->linear.outputs;
    double writes = desc->linear.accumulate ? 2 : 1, weight = size_of(desc->linear.x);
    if (desc->linear.quantized)
        weight = 1;
    return (aac_op_cost){2 * rows * inputs * outputs,
                         (rows * size_of(desc->linear.x) + outputs * weight) * inputs +
                             writes * rows * outputs * size_of(desc->linear.y) +
                             (desc->linear.bias ? 4 * outputs : 0)};
}

static aac_op_cost gradient_cost(const aac_op_desc *desc)
{
    double rows = (double)desc->linear_gradient.rows;
    double inputs = (double)desc->linear_gradient.inputs;
    double outputs = (double)desc->linear_gradient.outputs;
    return (aac_op_cost){2 * rows * inputs * outputs,
                         rows * (inputs + outputs) * size_of(desc->linear_gradient.type) +
                             8 * inputs * outputs};
}

/* The backward run also reads dy and has one more product, for the gradient of the pair. */
static aac_op_cost similarity_cost(const aac_op_desc *desc, const aac_op_args *args)
{
    double rows = (double)desc->similarity.rows, columns = (double)desc->similarity.columns;
    if (desc->op == AAC_OP_SIMILARITY)
        return (aac_op_cost){4 * rows * columns, 4 * (rows * columns + 2 * columns + 2 * rows)};
    double products = (args->y ? 1 : 0) + (args->da ? 1 : 0);
    return (aac_op_cost){4 * products * rows * columns, 4 * (products * rows * columns + 2 * rows)};
}

static double square(int64_t side)
{
    return (double)(side * side);
}

/* float32 values of an operation on rows: `operands` times rows x columns. */
static aac_op_cost rows_cost(int64_t rows, int64_t columns, double operands)
{
    return (aac_op_cost){.bytes = 4 * operands * (double)rows * (double)columns};
}

aac_op_cost aac_op_cost_of(const aac_op_desc *desc, const aac_op_args *args)
{
    switch (desc->op) {
    case AAC_OP_LINEAR:
        return linear_cost(desc);
    case AAC_OP_LINEAR_GRADIENT:
        return gradient_cost(desc);
    case AAC_OP_ATTENTION:
    case AAC_OP_ATTENTION_BACKWARD:
        return attention_cost(desc, args);
    case AAC_OP_SIMILARITY:
    case AAC_OP_SIMILARITY_BACKWARD:
        return similarity_cost(desc, args);
    case AAC_OP_LAYER_NORM:
        return rows_cost(desc->layer_norm.rows, desc->layer_norm.columns,
                         1 + size_of(desc->layer_norm.y) / 4);
    case AAC_OP_LAYER_NORM_BACKWARD: /* x, dy, y twice */
        return rows_cost(desc->layer_norm.rows, desc->layer_norm.columns, 4);
    case AAC_OP_BLEND: /* x, a, y */
        return rows_cost(desc->blend.rows, desc->blend.columns, 3);
    case AAC_OP_BLEND_BACKWARD: /* x, a, dy; y, da */
        return rows_cost(desc->blend.rows, desc->blend.columns, 5);
    case AAC_OP_NORMALIZE:
        return rows_cost(desc->normalize.rows, desc->normalize.columns,
                         desc->normalize.mean ? 1 : 2);
    case AAC_OP_NORMALIZE_BACKWARD:
        return rows_cost(desc->normalize.rows, desc->normalize.columns,
                         desc->normalize.mean ? 2 : 3);
    case AAC_OP_CONVERT:
        return rows_cost(desc->convert.rows, desc->convert.columns,
                         (size_of(desc->convert.x) + size_of(desc->convert.y)) / 4);
    case AAC_OP_GATHER: /* and index */
        return (aac_op_cost){
            .bytes = (double)desc->gather.rows *
                     (2 * (double)desc->gather.columns * size_of(desc->gather.type) + 4)};
    case AAC_OP_GATHER_BACKWARD: /* index and dy; y is cleared, then added to */
        return (aac_op_cost){
            .bytes = (double)desc->gather.rows * (12 * (double)desc->gather.columns + 4) +
                     4 * (double)desc->gather.sources * (double)desc->gather.columns};
    case AAC_OP_PATCHES:
        return (aac_op_cost){.bytes =
                                 3 * square(desc->patches.size) * (1 + size_of(desc->patches.y))};
    case AAC_OP_ANOMALY_MAP:
        return (aac_op_cost){.bytes = 8 * (double)desc->anomaly_map.levels *
                                          square(desc->anomaly_map.grid) +
                                      4 * square(desc->anomaly_map.size)};
    case AAC_OP_ACTIVATE:
        return rows_cost(desc->activate.rows, desc->activate.columns,
                         size_of(desc->activate.type) / 2);
    case AAC_OP_ACTIVATE_BACKWARD:
        return rows_cost(desc->activate.rows, desc->activate.columns,
                         3 * size_of(desc->activate.type) / 4);
    case AAC_OP_SEGMENTATION_LOSS:
        return (aac_op_cost){.bytes = 16 * (double)desc->segmentation_loss.maps *
                                          square(desc->segmentation_loss.grid) +
                                      square(desc->segmentation_loss.size)};
    case AAC_OP_CLASSIFICATION_LOSS: /* x, its pair, y */
        return rows_cost(desc->classification_loss.rows, desc->classification_loss.columns, 4);
    case AAC_OP_FINITE:
        return rows_cost(1, desc->finite.count, 1);
    case AAC_OP_ADAM: /* y and two moments, each twice; dy */
        return rows_cost(1, desc->adam.count, 7);
    case AAC_OP_COUNT:
        break;
    }
    return (aac_op_cost){0};
}

static const char *activation_name(aac_activation activation)
{
    static const char *const names[] = {"", ", quick_gelu", ", gelu", ", leaky_relu"};
    return names[activation];
}

static const char *type_name(aac_dtype type)
{
    return type == AAC_F16 ? " f16" : type == AAC_BF16 ? " bf16" : "";
}

#define PRINT(...) snprintf(text, AAC_OP_SHAPE_TEXT, __VA_ARGS__)

static void attention_text(char *text, const aac_op_desc *desc, const aac_op_args *args)
{
    static const char *const kinds[] = {"", ", causal", ", value"};
    if (desc->attention.kind == AAC_ATTENTION_TREE) {
        PRINT("%lld of at most %lld x %lld x %lld, tree%s", (long long)desc->attention.rows,
              (long long)desc->attention.longest, (long long)desc->attention.heads,
              (long long)desc->attention.head_size, type_name(desc->attention.type));
        return;
    }
    PRINT("%lld x %s%lld x %lld x %lld%s%s", (long long)args->sequences,
          desc->attention.uniform ? "" : "at most ", (long long)desc->attention.longest,
          (long long)desc->attention.heads, (long long)desc->attention.head_size,
          kinds[desc->attention.kind], type_name(desc->attention.type));
}

static void rows_text(char *text, int64_t rows, int64_t columns, const char *more)
{
    PRINT("%lld x %lld%s", (long long)rows, (long long)columns, more);
}

void aac_op_shape_text(char text[AAC_OP_SHAPE_TEXT], const aac_op_desc *desc,
                       const aac_op_args *args)
{
    *text = '\0';
    switch (desc->op) {
    case AAC_OP_LINEAR:
        PRINT("%lld x %lld -> %lld%s%s%s%s%s", (long long)desc->linear.rows,
              (long long)desc->linear.inputs, (long long)desc->linear.outputs,
              desc->linear.bias ? ", bias" : "", activation_name(desc->linear.activation),
              desc->linear.accumulate ? ", added" : "",
              desc->linear.transposed ? ", transposed" : "",
              desc->linear.quantized ? " int8" : type_name(desc->linear.x));
        break;
    case AAC_OP_LINEAR_GRADIENT:
        PRINT("%lld x %lld -> %lld%s", (long long)desc->linear_gradient.rows,
              (long long)desc->linear_gradient.inputs, (long long)desc->linear_gradient.outputs,
              type_name(desc->linear_gradient.type));
        break;
    case AAC_OP_ATTENTION:
    case AAC_OP_ATTENTION_BACKWARD:
        attention_text(text, desc, args);
        break;
    case AAC_OP_SIMILARITY:
    case AAC_OP_SIMILARITY_BACKWARD:
        rows_text(text, desc->similarity.rows, desc->similarity.columns, " . 2");
        break;
    case AAC_OP_LAYER_NORM:
    case AAC_OP_LAYER_NORM_BACKWARD:
        rows_text(text, desc->layer_norm.rows, desc->layer_norm.columns,
                  type_name(desc->layer_norm.y));
        break;
    case AAC_OP_BLEND:
    case AAC_OP_BLEND_BACKWARD:
        rows_text(text, desc->blend.rows, desc->blend.columns, "");
        break;
    case AAC_OP_NORMALIZE:
    case AAC_OP_NORMALIZE_BACKWARD:
        rows_text(text, desc->normalize.rows, desc->normalize.columns,
                  desc->normalize.mean ? ", mean" : "");
        break;
    case AAC_OP_CONVERT:
        rows_text(text, desc->convert.rows, desc->convert.columns,
                  desc->convert.y == AAC_F32   ? " to f32"
                  : desc->convert.y == AAC_F16 ? " to f16"
                                               : " to bf16");
        break;
    case AAC_OP_GATHER:
    case AAC_OP_GATHER_BACKWARD:
        PRINT("%lld of %lld x %lld%s", (long long)desc->gather.rows,
              (long long)desc->gather.sources, (long long)desc->gather.columns,
              type_name(desc->gather.type));
        break;
    case AAC_OP_PATCHES:
        PRINT("%lld x %lld by %lld%s", (long long)desc->patches.size, (long long)desc->patches.size,
              (long long)desc->patches.patch, type_name(desc->patches.y));
        break;
    case AAC_OP_ANOMALY_MAP:
        PRINT("%lld x %lld x %lld -> %lld", (long long)desc->anomaly_map.levels,
              (long long)desc->anomaly_map.grid, (long long)desc->anomaly_map.grid,
              (long long)desc->anomaly_map.size);
        break;
    case AAC_OP_ACTIVATE:
    case AAC_OP_ACTIVATE_BACKWARD:
        rows_text(text, desc->activate.rows, desc->activate.columns,
                  activation_name(desc->activate.activation));
        break;
    case AAC_OP_SEGMENTATION_LOSS:
        PRINT("%lld x %lld x %lld -> %lld", (long long)desc->segmentation_loss.maps,
              (long long)desc->segmentation_loss.grid, (long long)desc->segmentation_loss.grid,
              (long long)desc->segmentation_loss.size);
        break;
    case AAC_OP_CLASSIFICATION_LOSS:
        rows_text(text, desc->classification_loss.rows, desc->classification_loss.columns, "");
        break;
    case AAC_OP_FINITE:
        PRINT("%lld", (long long)desc->finite.count);
        break;
    case AAC_OP_ADAM:
        PRINT("%lld", (long long)desc->adam.count);
        break;
    case AAC_OP_COUNT:
        break;
    }
}
