/* Opens a checkpoint: finds the file, recognises the layout, and checks that all parts agree. */
#include "files/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"
#include "files/checkpoint_parts.h"

/* The only *.pt or *.safetensors of a folder. */
static aaclip_status find_single(char **found, const char *folder)
{
    char **names;
    size_t count, matches = 0;
    const char *match = NULL;
    aaclip_status status = aac_list_folder(&names, &count, folder);
    if (status)
        return status;
    for (size_t i = 0; i < count; i++)
        if (names[i][0] != '.' && (aac_path_has_ending(names[i], ".pt") ||
                                   aac_path_has_ending(names[i], ".safetensors"))) {
            match = names[i];
            matches++;
        }
    if (matches == 1 && !(*found = aac_format("%s/%s", folder, match)))
        status = aac_error_memory();
    else if (matches != 1)
        status = aac_error(
            AACLIP_ERROR_NOT_FOUND,
            "%s: expected model.safetensors, pytorch_model.bin, open_clip_model.safetensors, "
            "open_clip_pytorch_model.bin or a single .pt or .safetensors file, found %zu",
            folder, matches);
    aac_list_free(names, count);
    return status;
}

static bool is_sharded(const char *folder)
{
    static const char *const names[] = {"model.safetensors.index.json",
                                        "pytorch_model.bin.index.json"};
    bool sharded = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = aac_format("%s/%s", folder, names[i]);
        sharded = sharded || (path && aac_path_kind_of(path) == AAC_PATH_FILE);
        aac_free(path);
    }
    return sharded;
}

static aaclip_status find_in_folder(char **found, const char *folder)
{
    static const char *const names[] = {"model.safetensors", "pytorch_model.bin",
                                        "open_clip_model.safetensors",
                                        "open_clip_pytorch_model.bin"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = aac_format("%s/%s", folder, names[i]);
        if (!path)
            return aac_error_memory();
        if (aac_path_kind_of(path) == AAC_PATH_FILE) {
            *found = path;
            return AACLIP_OK;
        }
        aac_free(path);
    }
    if (is_sharded(folder))
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: the model is split into several files; save it as one", folder);
    return find_single(found, folder);
}

static bool has_tensor(const aac_tensor_file *file, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return aac_tensor_file_find(file, full) != NULL;
}

/* The prefixes under which training programs store a state dict. */
static const char *find_prefix(const aac_tensor_file *file, const char *name)
{
    static const char *const prefixes[] = {
        "", "state_dict.", "module.", "state_dict.module.", "model.", "state_dict.model."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (has_tensor(file, prefixes[i], name))
            return prefixes[i];
    return NULL;
}

/* Image towers other than CLIP's vision transformers; a ResNet's stem is also called conv1. */
static aaclip_status refuse_other_towers(const aac_tensor_file *file)
{
    static const struct {
        const char *name, *kind;
    } towers[] = {{"visual.layer1.0.conv1.weight", "a ResNet CLIP"},
                  {"visual.trunk.patch_embed.proj.weight", "a timm tower"},
                  {"visual.trunk.stem.0.weight", "a timm tower"}};
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++) {
        const char *prefix = find_prefix(file, towers[i].name);
        if (prefix)
            return aac_error(AACLIP_ERROR_UNSUPPORTED,
                             "%s: %s%s: expected CLIP's vision transformer, found %s",
                             aac_tensor_file_path(file), prefix, towers[i].name, towers[i].kind);
    }
    return AACLIP_OK;
}

static const char *openai_layout(const aac_tensor_file *file, const aac_checkpoint_config *config)
{
    if (aac_tensor_file_string(file, "aaclip.activation"))
        return "libaaclip";
    if (aac_tensor_file_get_kind(file) == AAC_FILE_TORCHSCRIPT)
        return "OpenAI TorchScript";
    return config->found ? "open_clip" : "OpenAI state dict";
}

static aaclip_status read_layout(aac_checkpoint *checkpoint, aac_checkpoint_config *config)
{
    const aac_tensor_file *file = checkpoint->file;
    const char *openai = find_prefix(file, "visual.conv1.weight");
    const char *huggingface = find_prefix(file, "vision_model.embeddings.patch_embedding.weight");
    aaclip_status status = refuse_other_towers(file);
    if (!status && !openai && !huggingface)
        status = aac_error(AACLIP_ERROR_FORMAT,
                           "%s: expected a CLIP with visual.conv1.weight or "
                           "vision_model.embeddings.patch_embedding.weight, found neither",
                           aac_tensor_file_path(file));
    if (!status)
        status = aac_read_checkpoint_config(config, file, !openai);
    if (status)
        return status;
    const char *bundle = aac_tensor_file_string(file, "aaclip.bundle");
    checkpoint->has_text = !bundle;
    checkpoint->layout = openai ? openai_layout(file, config) : "Hugging Face";
    return openai ? aac_read_openai(checkpoint, openai)
                  : aac_read_huggingface(checkpoint, huggingface);
}

static aaclip_status check_grid(aac_checkpoint *checkpoint)
{
    int64_t rows = checkpoint->vision_position.shape[0];
    int64_t grid = (int64_t)(sqrt((double)(rows - 1)) + 0.5);
    checkpoint->grid = grid;
    if (grid >= 1 && grid * grid + 1 == rows)
        return AACLIP_OK;
    return aac_error(
        AACLIP_ERROR_UNSUPPORTED,
        "%s: image positional embedding: expected a square grid and a class token, found %lld rows",
        aac_tensor_file_path(checkpoint->file), (long long)rows);
}

/* CLIP's own rule is 64 values a head. */
static aaclip_status choose_heads(const aac_checkpoint *checkpoint, aac_tower_shape *tower,
                                  int64_t told, const char *name)
{
    int64_t usual = tower->width / 64;
    tower->heads = told > 0 ? told : (usual > 0 ? usual : 1);
    if (tower->heads <= tower->width && tower->width % tower->heads == 0)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_UNSUPPORTED,
                     "%s: %s tower: expected a number of heads that divides the width %lld, found "
                     "%lld",
                     aac_tensor_file_path(checkpoint->file), name, (long long)tower->width,
                     (long long)tower->heads);
}

/* A TorchScript archive is OpenAI's own; whose the others are, their weights do not tell. */
static void warn_of_guesses(const aac_checkpoint *checkpoint)
{
    const char *path = aac_tensor_file_path(checkpoint->file);
    if (strcmp(checkpoint->layout, "Hugging Face") == 0)
        aac_log(AACLIP_LOG_WARNING,
                "%s: no config.json beside it; assuming QuickGELU and 64 values per head", path);
    else if (aac_tensor_file_get_kind(checkpoint->file) != AAC_FILE_TORCHSCRIPT)
        aac_log(AACLIP_LOG_WARNING,
                "%s: no open_clip_config.json beside it; assuming QuickGELU and 64 values per "
                "head, as in OpenAI's models; for other models, put that file there or set the "
                "configuration's activation",
                path);
}

static aaclip_status apply_config(aac_checkpoint *checkpoint, const aac_checkpoint_config *config)
{
    const double usual_epsilon = 1e-5;
    double epsilon = config->layer_norm_eps > 0 ? config->layer_norm_eps : usual_epsilon;
    int64_t vision_heads = config->vision_heads, width = checkpoint->vision.width;
    if (config->vision_head_width > 0) {
        if (width % config->vision_head_width)
            return aac_error(AACLIP_ERROR_UNSUPPORTED,
                             "%s: image tower: expected a head width that divides the width %lld, "
                             "found %lld",
                             aac_tensor_file_path(checkpoint->file), (long long)width,
                             (long long)config->vision_head_width);
        vision_heads = width / config->vision_head_width;
    }
    checkpoint->activation =
        config->has_activation ? config->activation : AAC_CHECKPOINT_QUICK_GELU;
    checkpoint->vision.layer_norm_eps = checkpoint->text.layer_norm_eps = (float)epsilon;
    if (!config->found)
        warn_of_guesses(checkpoint);
    aaclip_status status = choose_heads(checkpoint, &checkpoint->vision, vision_heads, "image");
    if (!status && checkpoint->has_text)
        status = choose_heads(checkpoint, &checkpoint->text, config->text_heads, "text");
    return status ? status : check_grid(checkpoint);
}

static aaclip_status open_file(aac_checkpoint *checkpoint, const char *path)
{
    char *found = NULL;
    aaclip_status status = AACLIP_OK;
    if (aac_path_kind_of(path) == AAC_PATH_DIRECTORY)
        status = find_in_folder(&found, path);
    if (!status)
        status = aac_tensor_file_open(&checkpoint->file, found ? found : path);
    aac_free(found);
    return status;
}

/* Takes what opening the file gave. */
static aaclip_status read_checkpoint(aac_checkpoint **out, aac_checkpoint *checkpoint,
                                     aaclip_status status)
{
    aac_checkpoint_config config = {0};
    if (!status)
        status = read_layout(checkpoint, &config);
    if (!status)
        status = apply_config(checkpoint, &config);
    if (status)
        aac_checkpoint_close(&checkpoint);
    *out = checkpoint;
    return status;
}

aaclip_status aac_checkpoint_open(aac_checkpoint **out, const char *path)
{
    aac_checkpoint *checkpoint = *out = aac_calloc(1, sizeof *checkpoint);
    return checkpoint ? read_checkpoint(out, checkpoint, open_file(checkpoint, path))
                      : aac_error_memory();
}

aaclip_status aac_checkpoint_open_memory(aac_checkpoint **out, const void *bytes, size_t size,
                                         const char *name)
{
    aac_checkpoint *checkpoint = *out = aac_calloc(1, sizeof *checkpoint);
    return checkpoint
               ? read_checkpoint(out, checkpoint,
                                 aac_tensor_file_open_memory(&checkpoint->file, bytes, size, name))
               : aac_error_memory();
}

void aac_checkpoint_close(aac_checkpoint **out)
{
    aac_checkpoint *checkpoint = *out;
    if (!checkpoint)
        return;
    aac_free(checkpoint->vision_blocks);
    aac_free(checkpoint->text_blocks);
    aac_tensor_file_close(&checkpoint->file);
    aac_free(checkpoint);
    *out = NULL;
}
