/* Hugging Face's names: q, k, v are split and projections transposed. */
#include <stdio.h>

#include "core/error.h"
#include "core/memory.h"
#include "files/checkpoint_parts.h"

static void take_qkv(aac_taker *taker, aac_block_tensors *block, const char *stem, int64_t width)
{
    static const char *const letters[] = {"q", "k", "v"};
    char name[128];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%sself_attn.%s_proj.weight", stem, letters[i]);
        aac_take_tensor(taker, &block->qkv_weight.part[i], name, width, width);
        snprintf(name, sizeof name, "%sself_attn.%s_proj.bias", stem, letters[i]);
        aac_take_tensor(taker, &block->qkv_bias.part[i], name, width, 0);
    }
    block->qkv_weight.count = block->qkv_bias.count = 3;
}

static void take_block(aac_taker *taker, aac_block_tensors *block, const char *tower, int64_t index,
                       const aac_tower_shape *shape)
{
    char stem[96], name[128];
    int64_t width = shape->width, mlp = shape->mlp;
    snprintf(stem, sizeof stem, "%s.encoder.layers.%lld.", tower, (long long)index);
    const struct {
        aac_tensor *tensor;
        const char *leaf;
        int64_t rows, columns;
    } tensors[] = {
        {&block->ln_1_weight, "layer_norm1.weight", width, 0},
        {&block->ln_1_bias, "layer_norm1.bias", width, 0},
        {&block->out_weight, "self_attn.out_proj.weight", width, width},
        {&block->out_bias, "self_attn.out_proj.bias", width, 0},
        {&block->ln_2_weight, "layer_norm2.weight", width, 0},
        {&block->ln_2_bias, "layer_norm2.bias", width, 0},
        {&block->fc_weight, "mlp.fc1.weight", mlp, width},
        {&block->fc_bias, "mlp.fc1.bias", mlp, 0},
        {&block->proj_weight, "mlp.fc2.weight", width, mlp},
        {&block->proj_bias, "mlp.fc2.bias", width, 0},
    };
    take_qkv(taker, block, stem, width);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        snprintf(name, sizeof name, "%s%s", stem, tensors[i].leaf);
        aac_take_tensor(taker, tensors[i].tensor, name, tensors[i].rows, tensors[i].columns);
    }
}

static aac_block_tensors *take_blocks(aac_taker *taker, const char *tower, aac_tower_shape *shape)
{
    char stem[64], first[96];
    aac_tensor norm = {0}, fc = {0};
    snprintf(stem, sizeof stem, "%s.encoder.layers.", tower);
    shape->layers = aac_count_layers(taker->file, taker->prefix, stem);
    snprintf(first, sizeof first, "%s0.layer_norm1.weight", stem);
    aac_take_tensor(taker, &norm, first, shape->width, 0); /* at least one block */
    snprintf(first, sizeof first, "%s0.mlp.fc1.weight", stem);
    aac_take_tensor(taker, &fc, first, -1, shape->width);
    if (taker->status)
        return NULL;
    shape->mlp = fc.shape[0];
    aac_block_tensors *blocks = aac_calloc((size_t)shape->layers, sizeof *blocks);
    if (!blocks)
        taker->status = aac_error_memory();
    for (int64_t i = 0; blocks && i < shape->layers; i++)
        take_block(taker, &blocks[i], tower, i, shape);
    return blocks;
}

static void take_vision(aac_taker *taker, aac_checkpoint *checkpoint)
{
    aac_tensor projection = {0};
    aac_take_patches(taker, checkpoint, "vision_model.embeddings.patch_embedding.weight");
    int64_t width = checkpoint->vision.width;
    aac_take_tensor(taker, &checkpoint->class_embedding, "vision_model.embeddings.class_embedding",
                    width, 0);
    aac_take_tensor(taker, &checkpoint->vision_position,
                    "vision_model.embeddings.position_embedding.weight", -1, width);
    /* the format misspells the name */
    aac_take_tensor(taker, &checkpoint->ln_pre_weight, "vision_model.pre_layrnorm.weight", width,
                    0);
    aac_take_tensor(taker, &checkpoint->ln_pre_bias, "vision_model.pre_layrnorm.bias", width, 0);
    aac_take_tensor(taker, &checkpoint->ln_post_weight, "vision_model.post_layernorm.weight", width,
                    0);
    aac_take_tensor(taker, &checkpoint->ln_post_bias, "vision_model.post_layernorm.bias", width, 0);
    aac_take_tensor(taker, &projection, "visual_projection.weight", -1, width);
    if (taker->status)
        return;
    checkpoint->vision_projection = aac_tensor_transposed(&projection);
    checkpoint->embedding = projection.shape[0];
    checkpoint->vision_blocks = take_blocks(taker, "vision_model", &checkpoint->vision);
}

static void take_text(aac_taker *taker, aac_checkpoint *checkpoint)
{
    aac_tensor projection = {0};
    aac_take_tensor(taker, &checkpoint->ln_final_weight, "text_model.final_layer_norm.weight", -1,
                    0);
    int64_t width = checkpoint->text.width = checkpoint->ln_final_weight.shape[0];
    aac_take_tensor(taker, &checkpoint->ln_final_bias, "text_model.final_layer_norm.bias", width,
                    0);
    aac_take_tensor(taker, &checkpoint->token_embedding,
                    "text_model.embeddings.token_embedding.weight", -1, width);
    aac_take_tensor(taker, &checkpoint->text_position,
                    "text_model.embeddings.position_embedding.weight", -1, width);
    aac_take_tensor(taker, &projection, "text_projection.weight", checkpoint->embedding, width);
    if (taker->status)
        return;
    checkpoint->text_projection = aac_tensor_transposed(&projection);
    checkpoint->vocabulary = checkpoint->token_embedding.shape[0];
    checkpoint->context = checkpoint->text_position.shape[0];
    checkpoint->text_blocks = take_blocks(taker, "text_model", &checkpoint->text);
}

aaclip_status aac_read_huggingface(aac_checkpoint *checkpoint, const char *prefix)
{
    aac_taker taker = {checkpoint->file, prefix, AACLIP_OK};
    take_vision(&taker, checkpoint);
    if (!taker.status)
        take_text(&taker, checkpoint);
    return taker.status;
}
