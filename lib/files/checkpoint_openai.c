/* OpenAI's names, also used by open_clip and this library's own files. */
#include "files/checkpoint_parts.h"

static const aac_block_names block_names = {.ln_1 = "ln_1",
                                            .out = "attn.out_proj",
                                            .ln_2 = "ln_2",
                                            .fc = "mlp.c_fc",
                                            .proj = "mlp.c_proj",
                                            .qkv_weight = {"attn.in_proj_weight"},
                                            .qkv_bias = {"attn.in_proj_bias"}};

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
    checkpoint->vision_blocks =
        aac_take_blocks(taker, &block_names, "visual.transformer.resblocks.", &checkpoint->vision);
}

static void take_text(aac_taker *taker, aac_checkpoint *checkpoint)
{
    aac_expect_text(taker, "ln_final.weight", "token_embedding.weight");
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
    checkpoint->text_blocks =
        aac_take_blocks(taker, &block_names, "transformer.resblocks.", &checkpoint->text);
}

aaclip_status aac_read_openai(aac_checkpoint *checkpoint, const char *prefix)
{
    aac_taker taker = {checkpoint->file, prefix, AACLIP_OK};
    take_vision(&taker, checkpoint);
    if (!taker.status && checkpoint->has_text)
        take_text(&taker, checkpoint);
    return taker.status;
}
