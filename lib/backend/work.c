#include "backend/work.h"

/* In multiply-adds; other work counts as the multiply-adds that take as long. */
#define SMALL (1 << 21)

/* Values read or written, with some arithmetic each. */
static int64_t row_work(int64_t rows, int64_t columns)
{
    return 16 * rows * columns;
}

static int64_t product_work(int64_t rows, int64_t inputs, int64_t outputs)
{
    return rows * inputs * outputs + row_work(rows, inputs + outputs) + row_work(inputs, outputs);
}

/* Two products, and an exponential for every pair of rows; five products backward. */
static int64_t attention_work(const aac_op_desc *desc, int64_t sequences)
{
    int64_t longest = desc->attention.longest;
    bool tree = desc->attention.kind == AAC_ATTENTION_TREE;
    int64_t pairs = tree ? desc->attention.rows * longest : sequences * longest * longest;
    int64_t products = desc->op == AAC_OP_ATTENTION ? 2 : 5;
    return desc->attention.heads * pairs * (products * desc->attention.head_size + 16);
}

bool aac_op_is_small(const aac_op_desc *desc, int64_t sequences)
{
    switch (desc->op) {
    case AAC_OP_LINEAR:
        return product_work(desc->linear.rows, desc->linear.inputs, desc->linear.outputs) < SMALL;
    case AAC_OP_LINEAR_GRADIENT:
        return product_work(desc->linear_gradient.rows, desc->linear_gradient.inputs,
                            desc->linear_gradient.outputs) < SMALL;
    case AAC_OP_ATTENTION:
    case AAC_OP_ATTENTION_BACKWARD:
        return attention_work(desc, sequences) < SMALL;
    case AAC_OP_LAYER_NORM:
    case AAC_OP_LAYER_NORM_BACKWARD:
        return row_work(desc->layer_norm.rows, desc->layer_norm.columns) < SMALL;
    case AAC_OP_BLEND:
    case AAC_OP_BLEND_BACKWARD:
        return row_work(desc->blend.rows, desc->blend.columns) < SMALL;
    case AAC_OP_NORMALIZE:
    case AAC_OP_NORMALIZE_BACKWARD:
        return row_work(desc->normalize.rows, desc->normalize.columns) < SMALL;
    case AAC_OP_SIMILARITY:
    case AAC_OP_SIMILARITY_BACKWARD:
        return row_work(desc->similarity.rows, desc->similarity.columns) < SMALL;
    case AAC_OP_ACTIVATE:
    case AAC_OP_ACTIVATE_BACKWARD:
        return row_work(desc->activate.rows, desc->activate.columns) < SMALL;
    case AAC_OP_CONVERT:
        return row_work(desc->convert.rows, desc->convert.columns) < SMALL;
    case AAC_OP_GATHER:
    case AAC_OP_GATHER_BACKWARD:
        return row_work(desc->gather.rows, desc->gather.columns) < SMALL;
    case AAC_OP_PATCHES:
        return row_work(3 * desc->patches.size, desc->patches.size) < SMALL;
    case AAC_OP_ANOMALY_MAP:
        return row_work(4 * desc->anomaly_map.size, desc->anomaly_map.size) < SMALL;
    case AAC_OP_CLASSIFICATION_LOSS:
        return row_work(desc->classification_loss.rows, desc->classification_loss.columns) < SMALL;
    case AAC_OP_FINITE:
        return row_work(1, desc->finite.count) < SMALL;
    case AAC_OP_ADAM:
        return row_work(1, desc->adam.count) < SMALL;
    case AAC_OP_SEGMENTATION_LOSS: /* logarithms for every pixel */
    case AAC_OP_COUNT:
        break;
    }
    return false;
}

int aac_op_packing_threads(const aac_op_desc *linear, int threads)
{
    aac_op_desc one = *linear;
    one.linear.rows = 1;
    return aac_op_is_small(&one, 1) ? 1 : threads;
}

bool aac_op_has_f16(const aac_op_desc *desc)
{
    switch (desc->op) {
    case AAC_OP_LINEAR:
        return desc->linear.x == AAC_F16 || desc->linear.y == AAC_F16;
    case AAC_OP_LINEAR_GRADIENT:
        return desc->linear_gradient.type == AAC_F16;
    case AAC_OP_ATTENTION:
    case AAC_OP_ATTENTION_BACKWARD:
        return desc->attention.type == AAC_F16;
    case AAC_OP_LAYER_NORM:
    case AAC_OP_LAYER_NORM_BACKWARD:
        return desc->layer_norm.y == AAC_F16;
    case AAC_OP_CONVERT:
        return desc->convert.x == AAC_F16 || desc->convert.y == AAC_F16;
    case AAC_OP_GATHER:
        return desc->gather.type == AAC_F16;
    case AAC_OP_PATCHES:
        return desc->patches.y == AAC_F16;
    case AAC_OP_ACTIVATE:
    case AAC_OP_ACTIVATE_BACKWARD:
        return desc->activate.type == AAC_F16;
    default:
        return false;
    }
}
