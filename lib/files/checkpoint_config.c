/* What weights do not show: heads, activation, epsilon, from the configuration beside them. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"
#include "files/checkpoint_parts.h"
#include "files/json.h"

static aaclip_status set_activation(aac_checkpoint_config *config, const char *name,
                                    const char *where)
{
    bool quick = strcmp(name, "quick_gelu") == 0;
    if (!quick && strcmp(name, "gelu") != 0)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: activation: expected quick_gelu or gelu, found %s", where, name);
    config->has_activation = true;
    config->activation = quick ? AAC_CHECKPOINT_QUICK_GELU : AAC_CHECKPOINT_GELU;
    return AACLIP_OK;
}

static int64_t integer_at(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static aaclip_status read_huggingface(aac_checkpoint_config *config, const json_t *root,
                                      const char *path)
{
    const json_t *vision = json_object_get(root, "vision_config");
    const json_t *text = json_object_get(root, "text_config");
    const char *vision_act = json_string_value(json_object_get(vision, "hidden_act"));
    const char *text_act = json_string_value(json_object_get(text, "hidden_act"));
    config->vision_heads = integer_at(vision, "num_attention_heads");
    config->text_heads = integer_at(text, "num_attention_heads");
    config->layer_norm_eps = json_number_value(json_object_get(vision, "layer_norm_eps"));
    if (vision_act && text_act && strcmp(vision_act, text_act) != 0)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: hidden_act: expected one for both towers, found %s and %s", path,
                         vision_act, text_act);
    /* both are the format's own defaults when absent */
    return set_activation(config, vision_act ? vision_act : "quick_gelu", path);
}

static aaclip_status read_open_clip(aac_checkpoint_config *config, const json_t *root,
                                    const char *path)
{
    const json_t *model = json_object_get(root, "model_cfg");
    const json_t *vision = json_object_get(model, "vision_cfg");
    const json_t *text = json_object_get(model, "text_cfg");
    if (json_object_get(text, "hf_model_name"))
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: text_cfg: not CLIP's own text tower", path);
    config->vision_head_width = integer_at(vision, "head_width");
    config->text_heads = integer_at(text, "heads");
    bool quick = json_is_true(json_object_get(model, "quick_gelu"));
    return set_activation(config, quick ? "quick_gelu" : "gelu", path);
}

/* Our own files carry it in their metadata. */
static aaclip_status read_metadata(aac_checkpoint_config *config, const aac_tensor_file *file)
{
    const char *activation = aac_tensor_file_string(file, "aaclip.activation");
    const char *vision = aac_tensor_file_string(file, "aaclip.vision_heads");
    const char *text = aac_tensor_file_string(file, "aaclip.text_heads");
    const char *epsilon = aac_tensor_file_string(file, "aaclip.layer_norm_eps");
    config->found = activation != NULL;
    config->vision_heads = vision ? strtoll(vision, NULL, 10) : 0;
    config->text_heads = text ? strtoll(text, NULL, 10) : 0;
    config->layer_norm_eps = epsilon ? aac_json_number_value(epsilon) : 0;
    return activation ? set_activation(config, activation, aac_tensor_file_path(file)) : AACLIP_OK;
}

/* A file of this name in the folder of `path`. */
static aaclip_status find_beside(char **found, const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    int length = slash ? (int)(slash - path) + 1 : 0;
    *found = aac_format("%.*s%s", length, path, name);
    if (!*found)
        return aac_error_memory();
    if (aac_path_kind_of(*found) != AAC_PATH_FILE) {
        aac_free(*found);
        *found = NULL;
    }
    return AACLIP_OK;
}

static aaclip_status read_file(aac_checkpoint_config *config, const char *path, bool huggingface)
{
    json_t *root = NULL;
    aaclip_status status = aac_json_read(&root, path);
    config->found = true;
    if (!status)
        status =
            huggingface ? read_huggingface(config, root, path) : read_open_clip(config, root, path);
    json_decref(root);
    return status;
}

aaclip_status aac_read_checkpoint_config(aac_checkpoint_config *config, const aac_tensor_file *file,
                                         bool huggingface)
{
    *config = (aac_checkpoint_config){0};
    aaclip_status status = read_metadata(config, file);
    if (status || config->found)
        return status;
    char *path = NULL;
    status = find_beside(&path, aac_tensor_file_path(file),
                         huggingface ? "config.json" : "open_clip_config.json");
    if (!status && path)
        status = read_file(config, path, huggingface);
    aac_free(path);
    return status;
}
