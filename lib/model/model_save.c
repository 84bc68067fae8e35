/* Writes a model under OpenAI's names. */
#include <stdio.h>

#include "core/error.h"
#include "core/memory.h"
#include "files/json.h"
#include "model/model.h"
#include "model/save.h"

/* Adds tensors named prefix + suffix; the first failure stays. */
typedef struct name_writer {
    aac_save_list *list;
    const char *prefix;
    bool float16;
    aaclip_status status;
} name_writer;

static void put(name_writer *writer, const char *suffix, const aac_tensor *tensor)
{
    char name[128];
    bool narrow = writer->float16 && tensor->rank >= 2;
    snprintf(name, sizeof name, "%s%s", writer->prefix, suffix);
    if (!writer->status)
        writer->status = aac_save_tensor(writer->list, name, tensor, narrow ? AAC_F16 : AAC_F32);
}

/* q, k and v are joined if the layout splits them. */
static void put_parts(name_writer *writer, const char *suffix, const aac_parts *parts)
{
    if (parts->count == 1) {
        put(writer, suffix, &parts->part[0]);
        return;
    }
    int64_t elements = aac_tensor_elements(&parts->part[0]);
    aac_tensor joined = parts->part[0];
    float *values = aac_alloc_array(3 * (size_t)elements, sizeof *values);
    if (!values) {
        writer->status = aac_error_memory();
        return;
    }
    for (int i = 0; i < 3; i++)
        aac_tensor_to_f32(&parts->part[i], values + i * elements);
    joined.dtype = AAC_F32;
    joined.shape[0] *= 3;
    joined.stride[joined.rank - 1] = 1;
    if (joined.rank == 2)
        joined.stride[0] = joined.shape[1];
    joined.data = values;
    put(writer, suffix, &joined);
    if (!writer->status)
        writer->status = aac_save_keep(writer->list, values);
    else
        aac_free(values);
}

static aaclip_status put_block(aac_save_list *list, const char *tower, int64_t index,
                               const aac_block_tensors *block, bool float16)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%stransformer.resblocks.%lld.", tower, (long long)index);
    name_writer writer = {list, prefix, float16, AACLIP_OK};
    put(&writer, "ln_1.weight", &block->ln_1_weight);
    put(&writer, "ln_1.bias", &block->ln_1_bias);
    put_parts(&writer, "attn.in_proj_weight", &block->qkv_weight);
    put_parts(&writer, "attn.in_proj_bias", &block->qkv_bias);
    put(&writer, "attn.out_proj.weight", &block->out_weight);
    put(&writer, "attn.out_proj.bias", &block->out_bias);
    put(&writer, "ln_2.weight", &block->ln_2_weight);
    put(&writer, "ln_2.bias", &block->ln_2_bias);
    put(&writer, "mlp.c_fc.weight", &block->fc_weight);
    put(&writer, "mlp.c_fc.bias", &block->fc_bias);
    put(&writer, "mlp.c_proj.weight", &block->proj_weight);
    put(&writer, "mlp.c_proj.bias", &block->proj_bias);
    return writer.status;
}

static aaclip_status put_vision(const aac_checkpoint *checkpoint, aac_save_list *list, bool float16)
{
    name_writer writer = {list, "visual.", float16, AACLIP_OK};
    put(&writer, "conv1.weight", &checkpoint->patch_weight);
    put(&writer, "class_embedding", &checkpoint->class_embedding);
    put(&writer, "positional_embedding", &checkpoint->vision_position);
    put(&writer, "ln_pre.weight", &checkpoint->ln_pre_weight);
    put(&writer, "ln_pre.bias", &checkpoint->ln_pre_bias);
    put(&writer, "ln_post.weight", &checkpoint->ln_post_weight);
    put(&writer, "ln_post.bias", &checkpoint->ln_post_bias);
    put(&writer, "proj", &checkpoint->vision_projection);
    for (int64_t i = 0; !writer.status && i < checkpoint->vision.layers; i++)
        writer.status = put_block(list, "visual.", i, &checkpoint->vision_blocks[i], float16);
    return writer.status;
}

static aaclip_status put_text(const aac_checkpoint *checkpoint, aac_save_list *list, bool float16)
{
    name_writer writer = {list, "", float16, AACLIP_OK};
    put(&writer, "token_embedding.weight", &checkpoint->token_embedding);
    put(&writer, "positional_embedding", &checkpoint->text_position);
    put(&writer, "ln_final.weight", &checkpoint->ln_final_weight);
    put(&writer, "ln_final.bias", &checkpoint->ln_final_bias);
    put(&writer, "text_projection", &checkpoint->text_projection);
    for (int64_t i = 0; !writer.status && i < checkpoint->text.layers; i++)
        writer.status = put_block(list, "", i, &checkpoint->text_blocks[i], float16);
    return writer.status;
}

/* Takes over `text`; NULL means out of memory. */
static aaclip_status put_text_entry(aac_save_list *list, const char *key, char *text)
{
    aaclip_status status = aac_save_text(list, key, text);
    aac_free(text);
    return status;
}

static aaclip_status put_heads(aac_save_list *list, const char *key, int64_t heads)
{
    return put_text_entry(list, key, aac_format("%lld", (long long)heads));
}

aaclip_status aac_model_save_entries(const aaclip_model *model, aac_save_list *list, bool with_text,
                                     bool float16)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(model);
    bool gelu = checkpoint->activation == AAC_CHECKPOINT_GELU;
    aaclip_status status = aac_tensor_file_check(checkpoint->file);
    if (!status)
        status = aac_save_text(list, "aaclip.activation", gelu ? "gelu" : "quick_gelu");
    if (!status)
        status = put_heads(list, "aaclip.vision_heads", checkpoint->vision.heads);
    if (!status)
        status = put_text_entry(list, "aaclip.layer_norm_eps",
                                aac_json_number((double)checkpoint->vision.layer_norm_eps));
    if (!status)
        status = put_vision(checkpoint, list, float16);
    if (!status && with_text)
        status = put_heads(list, "aaclip.text_heads", checkpoint->text.heads);
    if (!status && with_text)
        status = put_text(checkpoint, list, float16);
    return status;
}

aaclip_status aaclip_model_save(const aaclip_model *model, const char *path, bool float16)
{
    if (!model || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_model_save: NULL argument");
    const aac_checkpoint *checkpoint = aac_model_checkpoint(model);
    aac_save_list list = {0};
    aaclip_status status = AACLIP_OK;
    if (!checkpoint->has_text)
        status = aac_error(AACLIP_ERROR_UNSUPPORTED,
                           "%s: a deployment bundle has no text tower, so it cannot be saved as a "
                           "model",
                           aac_tensor_file_path(checkpoint->file));
    if (!status)
        status = aac_model_save_entries(model, &list, true, float16);
    if (!status)
        status = aac_save_write(&list, path);
    aac_save_clear(&list);
    return status;
}
