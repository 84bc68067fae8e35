/* Hugging Face's names: q, k, v are split and projections transposed. */
#include "files/checkpoint_parts.h"

static const aac_block_names block_names = {
    .ln_1 = "layer_norm1",
    .out = "self_attn.out_proj",
    .ln_2 = "layer_norm2",
    .fc = "mlp.fc1",
    .proj = "mlp.fc2",
    .qkv_weight = {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"},
    .qkv_bias = {"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"}};

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
    checkpoint->vision_blocks =
        aac_take_blocks(taker, &block_names, "vision_model.encoder.layers.", &checkpoint->vision);
}

static void take_text(aac_taker *taker, aac_checkpoint *checkpoint)
{
    aac_tensor projection = {0};
    aac_expect_text(taker, "text_model.final_layer_norm.weight",
                    "text_model.embeddings.token_embedding.weight");
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
    checkpoint->text_blocks =
        aac_take_blocks(taker, &block_names, "text_model.encoder.layers.", &checkpoint->text);
}

aaclip_status aac_read_huggingface(aac_checkpoint *checkpoint, const char *prefix)
{
    aac_taker taker = {checkpoint->file, prefix, AACLIP_OK};
    take_vision(&taker, checkpoint);
    if (!taker.status)
        take_text(&taker, checkpoint);
    return taker.status;
}
