#include "tensor_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/status.h>

#include "core/memory.h"

/* Bytes of the largest tensor that a list may hold. */
#define MOST_BYTES 65536

void tensor_list_add(tensor_list *list, const char *name, int64_t rows, int64_t columns)
{
    if (list->count == sizeof list->tensors / sizeof *list->tensors)
        abort();
    listed_tensor *tensor = &list->tensors[list->count++];
    *tensor = (listed_tensor){.rank = columns ? 2 : 1, .shape = {rows, columns}};
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
}

listed_tensor *tensor_list_find(tensor_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->tensors[i].name, name) == 0)
            return &list->tensors[i];
    return NULL;
}

void tensor_list_remove(tensor_list *list, const char *name)
{
    listed_tensor *tensor = tensor_list_find(list, name);
    if (!tensor)
        abort();
    *tensor = list->tensors[--list->count];
}

void tensor_list_set_type(tensor_list *list, aac_dtype dtype)
{
    for (size_t i = 0; i < list->count; i++)
        list->tensors[i].dtype = dtype;
}

/* A tensor of a layout, without its prefix. */
typedef struct named_size {
    const char *name;
    int64_t rows, columns;
} named_size;

static void add_all(tensor_list *list, const char *prefix, const named_size *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, tensors[i].name);
        tensor_list_add(list, name, tensors[i].rows, tensors[i].columns);
    }
}

static void add_patches(tensor_list *list, const char *name, const clip_sizes *sizes)
{
    tensor_list_add(list, name, sizes->width, 0);
    listed_tensor *tensor = tensor_list_find(list, name);
    tensor->rank = 4;
    tensor->shape[1] = 3;
    tensor->shape[2] = tensor->shape[3] = sizes->patch;
}

static void add_openai_block(tensor_list *list, const char *tower, int64_t index, int64_t width,
                             int64_t mlp)
{
    char prefix[64];
    const named_size tensors[] = {
        {"ln_1.weight", width, 0},
        {"ln_1.bias", width, 0},
        {"attn.in_proj_weight", 3 * width, width},
        {"attn.in_proj_bias", 3 * width, 0},
        {"attn.out_proj.weight", width, width},
        {"attn.out_proj.bias", width, 0},
        {"ln_2.weight", width, 0},
        {"ln_2.bias", width, 0},
        {"mlp.c_fc.weight", mlp, width},
        {"mlp.c_fc.bias", mlp, 0},
        {"mlp.c_proj.weight", width, mlp},
        {"mlp.c_proj.bias", width, 0},
    };
    snprintf(prefix, sizeof prefix, "%stransformer.resblocks.%lld.", tower, (long long)index);
    add_all(list, prefix, tensors, sizeof tensors / sizeof *tensors);
}

void tensor_list_openai(tensor_list *list, const char *prefix, const clip_sizes *sizes)
{
    char name[128];
    const named_size tensors[] = {
        {"visual.class_embedding", sizes->width, 0},
        {"visual.positional_embedding", 1 + sizes->grid * sizes->grid, sizes->width},
        {"visual.ln_pre.weight", sizes->width, 0},
        {"visual.ln_pre.bias", sizes->width, 0},
        {"visual.ln_post.weight", sizes->width, 0},
        {"visual.ln_post.bias", sizes->width, 0},
        {"visual.proj", sizes->width, sizes->embedding},
        {"token_embedding.weight", sizes->vocabulary, sizes->text_width},
        {"positional_embedding", sizes->context, sizes->text_width},
        {"ln_final.weight", sizes->text_width, 0},
        {"ln_final.bias", sizes->text_width, 0},
        {"text_projection", sizes->text_width, sizes->embedding},
    };
    snprintf(name, sizeof name, "%svisual.conv1.weight", prefix);
    add_patches(list, name, sizes);
    add_all(list, prefix, tensors, sizeof tensors / sizeof *tensors);
    snprintf(name, sizeof name, "%svisual.", prefix);
    for (int64_t i = 0; i < sizes->layers; i++)
        add_openai_block(list, name, i, sizes->width, sizes->mlp);
    for (int64_t i = 0; i < sizes->text_layers; i++)
        add_openai_block(list, prefix, i, sizes->text_width, sizes->text_mlp);
}

static void add_huggingface_block(tensor_list *list, const char *tower, int64_t index,
                                  int64_t width, int64_t mlp)
{
    char prefix[64];
    const named_size tensors[] = {
        {"layer_norm1.weight", width, 0},
        {"layer_norm1.bias", width, 0},
        {"self_attn.q_proj.weight", width, width},
        {"self_attn.q_proj.bias", width, 0},
        {"self_attn.k_proj.weight", width, width},
        {"self_attn.k_proj.bias", width, 0},
        {"self_attn.v_proj.weight", width, width},
        {"self_attn.v_proj.bias", width, 0},
        {"self_attn.out_proj.weight", width, width},
        {"self_attn.out_proj.bias", width, 0},
        {"layer_norm2.weight", width, 0},
        {"layer_norm2.bias", width, 0},
        {"mlp.fc1.weight", mlp, width},
        {"mlp.fc1.bias", mlp, 0},
        {"mlp.fc2.weight", width, mlp},
        {"mlp.fc2.bias", width, 0},
    };
    snprintf(prefix, sizeof prefix, "%s.encoder.layers.%lld.", tower, (long long)index);
    add_all(list, prefix, tensors, sizeof tensors / sizeof *tensors);
}

void tensor_list_huggingface(tensor_list *list, const clip_sizes *sizes)
{
    int64_t positions = 1 + sizes->grid * sizes->grid;
    const named_size tensors[] = {
        {"vision_model.embeddings.class_embedding", sizes->width, 0},
        {"vision_model.embeddings.position_embedding.weight", positions, sizes->width},
        {"vision_model.pre_layrnorm.weight", sizes->width, 0},
        {"vision_model.pre_layrnorm.bias", sizes->width, 0},
        {"vision_model.post_layernorm.weight", sizes->width, 0},
        {"vision_model.post_layernorm.bias", sizes->width, 0},
        {"visual_projection.weight", sizes->embedding, sizes->width},
        {"text_model.embeddings.token_embedding.weight", sizes->vocabulary, sizes->text_width},
        {"text_model.embeddings.position_embedding.weight", sizes->context, sizes->text_width},
        {"text_model.final_layer_norm.weight", sizes->text_width, 0},
        {"text_model.final_layer_norm.bias", sizes->text_width, 0},
        {"text_projection.weight", sizes->embedding, sizes->text_width},
    };
    add_patches(list, "vision_model.embeddings.patch_embedding.weight", sizes);
    add_all(list, "", tensors, sizeof tensors / sizeof *tensors);
    for (int64_t i = 0; i < sizes->layers; i++)
        add_huggingface_block(list, "vision_model", i, sizes->width, sizes->mlp);
    for (int64_t i = 0; i < sizes->text_layers; i++)
        add_huggingface_block(list, "text_model", i, sizes->text_width, sizes->text_mlp);
}

static aac_tensor as_tensor(const listed_tensor *listed, const void *data)
{
    aac_tensor tensor = {
        .name = listed->name, .dtype = listed->dtype, .rank = listed->rank, .data = data};
    int64_t stride = 1;
    for (int i = listed->rank - 1; i >= 0; i--) {
        tensor.shape[i] = listed->shape[i];
        tensor.stride[i] = stride;
        stride *= listed->shape[i];
    }
    if ((size_t)stride * aac_dtype_size(listed->dtype) > MOST_BYTES)
        abort();
    return tensor;
}

char *tensor_list_write(const tensor_list *list, const char *folder, const char *name,
                        const aac_metadata *metadata, size_t metadata_count)
{
    static const char zeros[MOST_BYTES];
    float *values = malloc(MOST_BYTES);
    aac_tensor_source *sources = calloc(list->count + 1, sizeof *sources);
    char *path = aac_format("%s/%s", folder, name);
    if (!values || !sources || !path)
        abort();
    for (size_t i = 0; i < MOST_BYTES / sizeof *values; i++)
        values[i] = list->value;
    for (size_t i = 0; i < list->count; i++) {
        const listed_tensor *tensor = &list->tensors[i];
        const void *data = tensor->dtype == AAC_F32 ? (const void *)values : zeros;
        sources[i] = (aac_tensor_source){as_tensor(tensor, data), tensor->dtype};
    }
    if (aac_safetensors_write(path, sources, list->count, metadata, metadata_count)) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        abort();
    }
    free(values);
    free(sources);
    return path;
}
