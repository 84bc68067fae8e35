/* Which backend runs an operation of a model, at the sizes of the image tower. */
#include <string.h>

#include "model/model.h"

static aac_op_desc matrix_operation(const aaclip_model *model, aac_op op, int64_t rows)
{
    const aac_tower_shape *vision = &aac_model_checkpoint(model)->vision;
    const aac_dtype type = aac_model_type(model);
    if (op == AAC_OP_LINEAR)
        return (aac_op_desc){.op = op,
                             .linear = {.rows = rows,
                                        .inputs = vision->width,
                                        .outputs = vision->width,
                                        .x = type,
                                        .y = type,
                                        .bias = true,
                                        .quantized = aac_model_block_type(model) == AAC_I8}};
    if (op == AAC_OP_LINEAR_GRADIENT)
        return (aac_op_desc){.op = op,
                             .linear_gradient = {rows, vision->width, vision->width, type}};
    return (aac_op_desc){.op = op,
                         .attention = {.longest = rows,
                                       .uniform = true,
                                       .heads = vision->heads,
                                       .head_size = vision->width / vision->heads,
                                       .kind = AAC_ATTENTION_FULL,
                                       .type = type}};
}

/* Sizes and types of an operation at an image size, on which the choice may depend. */
static aac_op_desc describe(const aaclip_model *model, aac_op op, int64_t size)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(model);
    const int64_t grid = size / checkpoint->patch, patches = grid * grid, rows = patches + 1;
    const int64_t width = checkpoint->vision.width, embedding = checkpoint->embedding;
    const aac_dtype type = aac_model_type(model);
    const aac_activation activation = aac_model_activation(model, AACLIP_ACTIVATION_CHECKPOINT);
    switch (op) {
    case AAC_OP_LINEAR:
    case AAC_OP_LINEAR_GRADIENT:
    case AAC_OP_ATTENTION:
    case AAC_OP_ATTENTION_BACKWARD:
        return matrix_operation(model, op, rows);
    case AAC_OP_LAYER_NORM:
        return (aac_op_desc){.op = op, .layer_norm = {rows, width, type, 0}};
    case AAC_OP_LAYER_NORM_BACKWARD:
        return (aac_op_desc){.op = op, .layer_norm = {rows, width, AAC_F32, 0}};
    case AAC_OP_BLEND:
    case AAC_OP_BLEND_BACKWARD:
        return (aac_op_desc){.op = op, .blend = {rows, width, 0}};
    case AAC_OP_NORMALIZE:
    case AAC_OP_NORMALIZE_BACKWARD:
        return (aac_op_desc){.op = op, .normalize = {patches, embedding, false}};
    case AAC_OP_CONVERT:
        return (aac_op_desc){.op = op, .convert = {rows, width, AAC_F32, AAC_BF16}};
    case AAC_OP_GATHER:
    case AAC_OP_GATHER_BACKWARD:
        return (aac_op_desc){.op = op, .gather = {rows, rows, width, AAC_F32}};
    case AAC_OP_PATCHES:
        return (aac_op_desc){.op = op,
                             .patches = {.size = size, .patch = checkpoint->patch, .y = type}};
    case AAC_OP_SIMILARITY:
    case AAC_OP_SIMILARITY_BACKWARD:
        return (aac_op_desc){.op = op, .similarity = {patches, embedding, 0}};
    case AAC_OP_ANOMALY_MAP:
        return (aac_op_desc){.op = op,
                             .anomaly_map = {.levels = 4, .grid = grid, .size = size, .kernel = 7}};
    case AAC_OP_ACTIVATE:
    case AAC_OP_ACTIVATE_BACKWARD:
        return (aac_op_desc){.op = op,
                             .activate = {rows, checkpoint->vision.mlp, activation, 0, type}};
    case AAC_OP_SEGMENTATION_LOSS:
        return (aac_op_desc){.op = op, .segmentation_loss = {4, grid, size, false}};
    case AAC_OP_CLASSIFICATION_LOSS:
        return (aac_op_desc){.op = op, .classification_loss = {1, embedding}};
    case AAC_OP_FINITE:
        return (aac_op_desc){.op = op, .finite = {width * width}};
    case AAC_OP_ADAM:
        return (aac_op_desc){.op = op, .adam = {width * width}};
    case AAC_OP_COUNT:
        break;
    }
    return (aac_op_desc){.op = op};
}

const char *aaclip_model_operation_backend(const aaclip_model *model, const char *operation)
{
    for (int op = 0; model && operation && op < AAC_OP_COUNT; op++)
        if (strcmp(operation, aac_op_name((aac_op)op)) == 0) {
            const aac_op_desc desc = describe(model, (aac_op)op, aac_model_default_size(model));
            return aac_dispatch_choose(aac_model_dispatch(model), &desc)->name;
        }
    return NULL;
}
