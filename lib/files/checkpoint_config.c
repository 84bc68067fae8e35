/* What the weights do not show (heads, activation, epsilon), from the configuration beside them. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/platform.h"
#include "files/checkpoint_parts.h"
#include "files/json.h"

/* An object of the configuration, and its location for error texts. */
typedef struct config_section {
    const json_t *object;
    const char *path, *name; /* name: NULL for the whole file */
} config_section;

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

static aaclip_status unexpected(const config_section *section, const char *key,
                                const char *expected, const json_t *value)
{
    char *found = aac_json_text(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    aaclip_status status =
        aac_error(AACLIP_ERROR_FORMAT, "%s: %s%s%s: expected %s, found %.40s", section->path,
                  section->name ? section->name : "", section->name ? "." : "", key, expected,
                  found ? found : "nothing");
    aac_free(found);
    return status;
}

/* An object inside `parent`; without one every key of it is absent. */
static aaclip_status open_section(config_section *section, const config_section *parent,
                                  const char *name)
{
    *section = (config_section){json_object_get(parent->object, name), parent->path, name};
    if (!section->object || json_is_object(section->object))
        return AACLIP_OK;
    return unexpected(parent, name, "an object", section->object);
}

/* 0 when absent. */
static aaclip_status read_count(int64_t *count, const config_section *section, const char *key)
{
    const json_t *value = json_object_get(section->object, key);
    *count = json_integer_value(value);
    return !value || *count > 0 ? AACLIP_OK
                                : unexpected(section, key, "a positive whole number", value);
}

static bool is_epsilon(double value)
{
    return (float)value > 0 && value <= 1; /* 1e-50 is not a float32 */
}

/* The format's own default when absent, as for the activation. */
static aaclip_status read_epsilon(double *epsilon, const config_section *section)
{
    const double usual_epsilon = 1e-5;
    const json_t *value = json_object_get(section->object, "layer_norm_eps");
    *epsilon = value ? json_number_value(value) : usual_epsilon;
    return is_epsilon(*epsilon)
               ? AACLIP_OK
               : unexpected(section, "layer_norm_eps", "a number above 0, at most 1", value);
}

static aaclip_status read_hidden_act(const char **name, const config_section *section)
{
    const json_t *value = json_object_get(section->object, "hidden_act");
    *name = value ? json_string_value(value) : "quick_gelu";
    return *name ? AACLIP_OK : unexpected(section, "hidden_act", "a name", value);
}

/* What one tower's section says. */
typedef struct tower_config {
    int64_t heads;
    double epsilon;
    const char *activation;
} tower_config;

static aaclip_status read_tower(tower_config *tower, const config_section *root, const char *name)
{
    config_section own;
    aaclip_status status = open_section(&own, root, name);
    if (!status)
        status = read_count(&tower->heads, &own, "num_attention_heads");
    if (!status)
        status = read_epsilon(&tower->epsilon, &own);
    return status ? status : read_hidden_act(&tower->activation, &own);
}

static aaclip_status read_huggingface(aac_checkpoint_config *config, const config_section *root)
{
    tower_config vision = {0}, text = {0};
    aaclip_status status = read_tower(&vision, root, "vision_config");
    if (!status)
        status = read_tower(&text, root, "text_config");
    if (status)
        return status;
    config->vision_heads = vision.heads;
    config->text_heads = text.heads;
    config->layer_norm_eps = vision.epsilon;
    if (strcmp(vision.activation, text.activation) != 0)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: hidden_act: expected the same for both towers, found %s and %s",
                         root->path, vision.activation, text.activation);
    if (vision.epsilon < text.epsilon || vision.epsilon > text.epsilon)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: layer_norm_eps: expected the same for both towers, found %g and %g",
                         root->path, vision.epsilon, text.epsilon);
    return set_activation(config, vision.activation, root->path);
}

/* Refuses towers that open_clip takes from other libraries. */
static aaclip_status refuse_foreign(const config_section *tower, const char *key)
{
    const char *name = json_string_value(json_object_get(tower->object, key));
    if (!name)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: %s.%s: expected CLIP's own tower, found %s",
                     tower->path, tower->name, key, name);
}

static aaclip_status read_quick_gelu(aac_checkpoint_config *config, const config_section *model)
{
    const json_t *value = json_object_get(model->object, "quick_gelu");
    if (value && !json_is_boolean(value))
        return unexpected(model, "quick_gelu", "true or false", value);
    return set_activation(config, json_is_true(value) ? "quick_gelu" : "gelu", model->path);
}

static aaclip_status read_open_clip(aac_checkpoint_config *config, const config_section *root)
{
    config_section model, vision, text;
    aaclip_status status = open_section(&model, root, "model_cfg");
    if (!status && !model.object)
        status = unexpected(root, "model_cfg", "an object", NULL);
    if (!status)
        status = open_section(&vision, &model, "vision_cfg");
    if (!status)
        status = open_section(&text, &model, "text_cfg");
    if (!status)
        status = refuse_foreign(&vision, "timm_model_name");
    if (!status)
        status = refuse_foreign(&text, "hf_model_name");
    if (!status)
        status = read_count(&config->vision_head_width, &vision, "head_width");
    if (!status)
        status = read_count(&config->text_heads, &text, "heads");
    return status ? status : read_quick_gelu(config, &model);
}

/* 0 when absent. */
static aaclip_status read_stored_heads(int64_t *heads, const aac_tensor_file *file, const char *key)
{
    const char *text = aac_tensor_file_string(file, key);
    char *end = NULL;
    *heads = text ? strtoll(text, &end, 10) : 0;
    if (!text || (*heads > 0 && !*end))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_FORMAT,
                     "%s: metadata %s: expected a positive whole number, found %.40s",
                     aac_tensor_file_path(file), key, text);
}

static aaclip_status read_stored_epsilon(double *epsilon, const aac_tensor_file *file)
{
    const char *text = aac_tensor_file_string(file, "aaclip.layer_norm_eps");
    *epsilon = 0;
    if (!text || (aac_json_number_read(text, epsilon) && is_epsilon(*epsilon)))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_FORMAT,
                     "%s: metadata aaclip.layer_norm_eps: expected a number above 0, at most 1, "
                     "found %.40s",
                     aac_tensor_file_path(file), text);
}

/* The library's own files have it in their metadata. */
static aaclip_status read_metadata(aac_checkpoint_config *config, const aac_tensor_file *file)
{
    const char *activation = aac_tensor_file_string(file, "aaclip.activation");
    config->found = activation != NULL;
    if (!activation)
        return AACLIP_OK;
    aaclip_status status = read_stored_heads(&config->vision_heads, file, "aaclip.vision_heads");
    if (!status)
        status = read_stored_heads(&config->text_heads, file, "aaclip.text_heads");
    if (!status)
        status = read_stored_epsilon(&config->layer_norm_eps, file);
    return status ? status : set_activation(config, activation, aac_tensor_file_path(file));
}

/* A file of this name in the folder of `path`. */
static aaclip_status find_beside(char **found, const char *path, const char *name)
{
    int length = (int)(aac_path_name(path) - path);
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
    json_t *json = NULL;
    aaclip_status status = aac_json_read(&json, path);
    const config_section root = {json, path, NULL};
    config->found = true;
    if (!status)
        status = huggingface ? read_huggingface(config, &root) : read_open_clip(config, &root);
    json_decref(json);
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
    if (!aac_tensor_file_in_memory(file))
        status = find_beside(&path, aac_tensor_file_path(file),
                             huggingface ? "config.json" : "open_clip_config.json");
    if (!status && path)
        status = read_file(config, path, huggingface);
    aac_free(path);
    return status;
}
