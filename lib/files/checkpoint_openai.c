/* OpenAI's names, also used by open_clip and this library's own files. */
#include <stdio.h>

#include "core/error.h"
#include "core/memory.h"
#include "files/checkpoint_parts.h"

static void take_block(aac_taker *taker, aac_block_tensors *block, const char *tower, int64_t index,
                       const aac_tower_shape *shape)
{
    char name[128];
    int64_t width = shape->width, mlp = shape->mlp;
    const struct {
        aac_tensor *tensor;
        const char *leaf;
        int64_t rows, columns;
    } tensors[] = {
        {&block->ln_1_weight, "ln_1.weight", width, 0},
        {&block->ln_1_bias, "ln_1.bias", width, 0},
        {&block->qkv_weight.part[0], "attn.in_proj_weight", 3 * width, width},
        {&block->qkv_bias.part[0], "attn.in_proj_bias", 3 * width, 0},
        {&block->out_weight, "attn.out_proj.weight", width, width},
        {&block->out_bias, "attn.out_proj.bias", width, 0},
        {&block->ln_2_weight, "ln_2.weight", width, 0},
        {&block->ln_2_bias, "ln_2.bias", width, 0},
        {&block->fc_weight, "mlp.c_fc.weight", mlp, width},
        {&block->fc_bias, "mlp.c_fc.bias", mlp, 0},
        {&block->proj_weight, "mlp.c_proj.weight", width, mlp},
        {&block->proj_bias, "mlp.c_proj.bias", width, 0},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        snprintf(name, sizeof name, "%stransformer.resblocks.%lld.%s", tower, (long long)index,
                 tensors[i].leaf);
        aac_take_tensor(taker, tensors[i].tensor, name, tensors[i].rows, tensors[i].columns);
    }
    block->qkv_weight.count = block->qkv_bias.count = 1;
}

static aac_block_tensors *take_blocks(aac_taker *taker, const char *tower, aac_tower_shape *shape)
{
    char stem[64], first[96];
    aac_tensor norm = {0}, fc = {0};
    snprintf(stem, sizeof stem, "%stransformer.resblocks.", tower);
    shape->layers = aac_count_layers(taker->file, taker->prefix, stem);
    snprintf(first, sizeof first, "%s0.ln_1.weight", stem);
    aac_take_tensor(taker, &norm, first, shape->width, 0); /* at least one block */
    snprintf(first, sizeof first, "%s0.mlp.c_fc.weight", stem);
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
    aac_take_patches(taker, checkpoint, "visual.conv1.weight");
    int64_t width = checkpoint->vision.width;
    aac_take_tensor(taker, &checkpoint->class_embedding, "visual.class_embedding", width, 0);
    aac_take_tensor(taker, &checkpoint->vision_position, "visual.positional_embedding", -1, width);
    aac_take_tensor(taker, &checkpoint->ln_pre_weight, "visual.ln_pre.weight", width, 0);
    aac_take_tensor(taker, &checkpoint->ln_pre_bias, "visual.ln_pre.bias", width, 0);
    aac_take_tensor(taker, &checkpoint->ln_post_weight, "visual.ln_post.weight", width, 0);
    aac_take_tensor(taker, &checkpoint->ln_post_bias, "visual.ln_post.bias", width, 0);
    aac_take_tensor(taker, &checkpoint->vision_projection, "visual.proj", width, -1);
    if (taker->status)
        return;
    checkpoint->embedding = checkpoint->vision_projection.shape[1];
    checkpoint->vision_blocks = take_blocks(taker, "visual.", &checkpoint->vision);
}

static void take_text(aac_taker *taker, aac_checkpoint *checkpoint)
{
    aac_take_tensor(taker, &checkpoint->ln_final_weight, "ln_final.weight", -1, 0);
    int64_t width = checkpoint->text.width = checkpoint->ln_final_weight.shape[0];
    aac_take_tensor(taker, &checkpoint->ln_final_bias, "ln_final.bias", width, 0);
    aac_take_tensor(taker, &checkpoint->token_embedding, "token_embedding.weight", -1, width);
    aac_take_tensor(taker, &checkpoint->text_position, "positional_embedding", -1, width);
    aac_take_tensor(taker, &checkpoint->text_projection, "text_projection", width,
                    checkpoint->embedding);
    if (taker->status)
        return;
    checkpoint->vocabulary = checkpoint->token_embedding.shape[0];
    checkpoint->context = checkpoint->text_position.shape[0];
    checkpoint->text_blocks = take_blocks(taker, "", &checkpoint->text);
}

aaclip_status aac_read_openai(aac_checkpoint *checkpoint, const char *prefix)
{
    aac_taker taker = {checkpoint->file, prefix, AACLIP_OK};
    take_vision(&taker, checkpoint);
    if (!taker.status && checkpoint->has_text)
        take_text(&taker, checkpoint);
    return taker.status;
}
