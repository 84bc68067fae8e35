/* Adapters from their files: which modules exist, their shapes and settings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/error.h"
#include "core/memory.h"
#include "model/adapters_parts.h"
#include "model/model.h"
#include "model/save.h"

/* Where a tower's modules are named, and what their shapes must be. */
typedef struct adapter_source {
    const aac_tensor_file *file;
    const char *root;   /* "image_adapter"; with ".module" where DataParallel was saved */
    const char *layers; /* "image_adapter.layer_adapters"; for text "text_adapter" */
    const char *levels, *detection; /* of image adapters: "image_adapter.seg_proj", ".det_proj" */
    int64_t width, embedding;
} adapter_source;

static const aac_tensor *find(const adapter_source *source, const char *prefix, int index,
                              const char *suffix)
{
    char name[128];
    if (index < 0)
        snprintf(name, sizeof name, "%s.%s", prefix, suffix);
    else
        snprintf(name, sizeof name, "%s.%d.%s", prefix, index, suffix);
    return aac_tensor_file_find(source->file, name);
}

static aaclip_status check_shape(const adapter_source *source, const aac_tensor *tensor,
                                 int64_t rows, int64_t columns)
{
    const int64_t expected[] = {rows, columns};
    char wanted[AAC_SHAPE_TEXT], found[AAC_SHAPE_TEXT];
    if (!aac_dtype_is_floating(tensor->dtype))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: %s: expected floating point, found %s",
                         aac_tensor_file_path(source->file), tensor->name,
                         aac_dtype_name(tensor->dtype));
    if (tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected %s, found %s",
                     aac_tensor_file_path(source->file), tensor->name,
                     aac_shape_text(wanted, expected, 2),
                     aac_shape_text(found, tensor->shape, tensor->rank));
}

static aaclip_status missing(const adapter_source *source, const char *prefix, int index,
                             const char *suffix)
{
    char number[16] = "";
    if (index >= 0)
        snprintf(number, sizeof number, ".%d", index);
    return aac_error(AACLIP_ERROR_MISMATCH, "%s: %s%s.%s: expected a tensor, found none",
                     aac_tensor_file_path(source->file), prefix, number, suffix);
}

/* Modules `prefix`.0 to `prefix`.(count - 1) were found; one with a higher number reveals a gap. */
static aaclip_status check_numbering(const adapter_source *source, const char *prefix,
                                     uint32_t count, const char *suffix)
{
    size_t length = strlen(prefix);
    for (size_t i = 0; i < aac_tensor_file_count(source->file); i++) {
        const char *name = aac_tensor_file_at(source->file, i)->name;
        if (strncmp(name, prefix, length) != 0 || name[length] != '.')
            continue;
        char *end;
        unsigned long number = strtoul(name + length + 1, &end, 10);
        if (end > name + length + 1 && *end == '.' && number >= count)
            return missing(source, prefix, (int)count, suffix);
    }
    return AACLIP_OK;
}

static uint32_t count_layers(const adapter_source *source, bool *bottleneck)
{
    uint32_t count = 0;
    *bottleneck = find(source, source->layers, 0, "fc1.weight") != NULL;
    while (count < 1000 &&
           find(source, source->layers, (int)count, *bottleneck ? "fc1.weight" : "fc.0.weight"))
        count++;
    return count;
}

static aaclip_status read_layer(aac_layer_adapter *layer, const adapter_source *source, int index,
                                bool bottleneck)
{
    const char *suffix = bottleneck ? "fc1.weight" : "fc.0.weight";
    const aac_tensor *first = find(source, source->layers, index, suffix);
    int64_t inner = bottleneck ? source->width / 2 : source->width;
    aaclip_status status = check_shape(source, first, inner, source->width);
    if (status)
        return status;
    layer->first_tensor = *first;
    if (!bottleneck)
        return AACLIP_OK;
    const aac_tensor *second = find(source, source->layers, index, "fc2.weight");
    if (!second)
        return missing(source, source->layers, index, "fc2.weight");
    layer->second_tensor = *second;
    return check_shape(source, second, source->width, inner);
}

/* `configured`: the number in a fixed configuration; 0 if it leaves that open. */
static aaclip_status read_layers(aac_adapter_tower *tower, const adapter_source *source,
                                 uint32_t count, bool bottleneck, uint32_t configured)
{
    if (count && configured && count != configured)
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "%s: %s: expected %u layer adapters as configured, found %u",
                         aac_tensor_file_path(source->file), source->root, configured, count);
    tower->layers = aac_calloc(count, sizeof *tower->layers);
    if (!tower->layers)
        return aac_error_memory();
    tower->layer_count = count;
    aaclip_status status = AACLIP_OK;
    for (uint32_t i = 0; !status && i < count; i++)
        status = read_layer(&tower->layers[i], source, (int)i, bottleneck);
    return status;
}

/* A projection is `fc.weight`, or `fc.0.weight` if an activation follows it in its module. */
static aaclip_status read_projection(aac_projection *projection, const adapter_source *source,
                                     const char *prefix, int index, bool *activation)
{
    const aac_tensor *tensor = find(source, prefix, index, "fc.0.weight");
    *activation = tensor != NULL;
    if (!tensor)
        tensor = find(source, prefix, index, "fc.weight");
    if (!tensor)
        return missing(source, prefix, index, "fc.weight");
    projection->tensor = *tensor;
    return check_shape(source, tensor, source->embedding, source->width);
}

/* How much of the configuration is known while files are read. */
typedef enum config_origin {
    CONFIG_OPEN,  /* nothing yet */
    CONFIG_FILES, /* what an earlier file or its adapters say */
    CONFIG_CALLER /* everything: the caller gave it */
} config_origin;

/* What the kind of adapter implies; without layer adapters the configuration is unchanged. */
static aaclip_status adopt_kind(aaclip_config *config, const adapter_source *source,
                                uint32_t layers, bool bottleneck, bool fixed)
{
    if (!layers)
        return AACLIP_OK;
    aaclip_layer_adapter kind =
        bottleneck ? AACLIP_LAYER_ADAPTER_BOTTLENECK : AACLIP_LAYER_ADAPTER_LINEAR;
    if (fixed && config->layer_adapter != kind)
        return aac_error(
            AACLIP_ERROR_MISMATCH, "%s: %s: expected %s adapters as configured, found %s ones",
            aac_tensor_file_path(source->file), source->root, bottleneck ? "linear" : "bottleneck",
            bottleneck ? "bottleneck" : "linear");
    if (!fixed)
        aac_config_fill(config, bottleneck ? AACLIP_PROFILE_DOCUMENT : AACLIP_PROFILE_PUBLISHED);
    return AACLIP_OK;
}

/* In the published modules a projection's name tells whether an activation follows it. */
static bool name_tells_activation(const aaclip_config *config, bool bottleneck, bool known)
{
    return !bottleneck && (!known || config->profile == AACLIP_PROFILE_PUBLISHED);
}

static aaclip_status read_text(aaclip_adapters *adapters, const aac_tensor_file *file,
                               config_origin *origin)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(adapters->model);
    const char *root =
        aac_tensor_file_has(file, "text_adapter.module.") ? "text_adapter.module" : "text_adapter";
    const adapter_source source = {
        file, root, root, NULL, NULL, checkpoint->text.width, checkpoint->embedding};
    if (adapters->text.present)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "%s: text_adapter: text adapters were already given by another file",
                         aac_tensor_file_path(file));
    if (!checkpoint->has_text)
        return AACLIP_OK; /* a bundle needs no text side */
    const bool known = *origin != CONFIG_OPEN;
    bool bottleneck, activation = false;
    uint32_t layers = count_layers(&source, &bottleneck);
    if (!bottleneck && layers && !find(&source, source.layers, (int)layers, "fc.weight"))
        layers--; /* the last `N.fc.0.weight` is the projection */
    aaclip_status status = adopt_kind(&adapters->config, &source, layers, bottleneck, known);
    if (!status)
        status = read_layers(&adapters->text, &source, layers, bottleneck,
                             known ? adapters->config.text_adapter_layers : 0);
    if (!status)
        status = read_projection(&adapters->text.projections[0], &source, source.layers,
                                 (int)layers, &activation);
    if (!status)
        status = check_numbering(&source, source.layers, layers + 1, "fc.weight");
    if (status)
        return status;
    adapters->text.projection_count = 1;
    adapters->text.present = true;
    adapters->text.file = file;
    adapters->config.text_adapter_layers = layers;
    if (name_tells_activation(&adapters->config, bottleneck, known))
        adapters->config.text_projection_activation = activation;
    if (!known && layers)
        *origin = CONFIG_FILES;
    return AACLIP_OK;
}

static adapter_source image_source(const aac_tensor_file *file, const aac_checkpoint *checkpoint)
{
    static const char *const plain[] = {"image_adapter", "image_adapter.layer_adapters",
                                        "image_adapter.seg_proj", "image_adapter.det_proj"};
    static const char *const wrapped[] = {
        "image_adapter.module", "image_adapter.module.layer_adapters",
        "image_adapter.module.seg_proj", "image_adapter.module.det_proj"};
    const char *const *names = aac_tensor_file_has(file, "image_adapter.module.") ? wrapped : plain;
    return (adapter_source){file,
                            names[0],
                            names[1],
                            names[2],
                            names[3],
                            checkpoint->vision.width,
                            checkpoint->embedding};
}

static uint32_t count_levels(const adapter_source *source)
{
    uint32_t count = 0;
    while (count < 1000 && (find(source, source->levels, (int)count, "fc.weight") ||
                            find(source, source->levels, (int)count, "fc.0.weight")))
        count++;
    return count;
}

static aaclip_status read_projections(aaclip_adapters *adapters, const adapter_source *source,
                                      bool *activation)
{
    aac_adapter_tower *image = &adapters->image;
    uint32_t levels = count_levels(source);
    if (!levels)
        return missing(source, source->levels, 0, "fc.weight");
    if (levels > AACLIP_MAX_LEVELS)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: %s: expected at most %d levels, found %u",
                         aac_tensor_file_path(source->file), source->levels, AACLIP_MAX_LEVELS,
                         levels);
    image->projection_count = levels;
    bool other = false;
    aaclip_status status =
        read_projection(&image->detection, source, source->detection, -1, activation);
    for (uint32_t i = 0; !status && i < levels; i++) {
        status = read_projection(&image->projections[i], source, source->levels, (int)i, &other);
        if (!status && other != *activation)
            return aac_error(AACLIP_ERROR_MISMATCH,
                             "%s: %s: expected an activation after every projection or after none, "
                             "but %s differs",
                             aac_tensor_file_path(source->file), image->projections[i].tensor.name,
                             image->detection.tensor.name);
    }
    return status ? status : check_numbering(source, source->levels, levels, "fc.weight");
}

/* One projection per level, even if the configuration derives the levels from the tower's depth. */
static aaclip_status check_levels(const aaclip_adapters *adapters, const aac_tensor_file *file)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(adapters->model);
    aaclip_config config = adapters->config;
    aaclip_status status =
        aac_config_resolve(&config, checkpoint->vision.layers, checkpoint->text.layers);
    if (status)
        return aac_error_prefix(status, "%s", aac_tensor_file_path(file));
    if (config.level_count != adapters->image.projection_count)
        return aac_error(
            AACLIP_ERROR_MISMATCH, "%s: image_adapter.seg_proj: expected %u levels, found %u",
            aac_tensor_file_path(file), config.level_count, adapters->image.projection_count);
    return AACLIP_OK;
}

static aaclip_status read_image(aaclip_adapters *adapters, const aac_tensor_file *file,
                                config_origin *origin)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(adapters->model);
    const adapter_source source = image_source(file, checkpoint);
    if (adapters->image.present)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "%s: image_adapter: image adapters were already given by another file",
                         aac_tensor_file_path(file));
    const bool known = *origin != CONFIG_OPEN;
    bool bottleneck, activation;
    uint32_t layers = count_layers(&source, &bottleneck);
    aaclip_status status = adopt_kind(&adapters->config, &source, layers, bottleneck, known);
    if (!status)
        status = read_layers(&adapters->image, &source, layers, bottleneck,
                             known ? adapters->config.image_adapter_layers : 0);
    if (!status)
        status = check_numbering(&source, source.layers, layers,
                                 bottleneck ? "fc1.weight" : "fc.0.weight");
    if (!status)
        status = read_projections(adapters, &source, &activation);
    if (status)
        return status;
    adapters->image.present = true;
    adapters->image.file = file;
    adapters->config.image_adapter_layers = layers;
    if (name_tells_activation(&adapters->config, bottleneck, known))
        /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): there is a projection */
        adapters->config.image_projection_activation = activation;
    if (!known && layers)
        *origin = CONFIG_FILES;
    return check_levels(adapters, file);
}

/* Block numbers that must exist in the model. */
static aaclip_status check_layers(const aaclip_config *config, const aaclip_model *model,
                                  const char *path)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(model);
    aaclip_config resolved = *config;
    aaclip_status status =
        aac_config_resolve(&resolved, checkpoint->vision.layers, checkpoint->text.layers);
    return status ? aac_error_prefix(AACLIP_ERROR_MISMATCH, "%s: metadata aaclip.config", path)
                  : AACLIP_OK;
}

/* Each tower's fields come from the file that holds the tower; the common fields must agree. */
static aaclip_status merge_config(aaclip_config *config, const aaclip_config *other,
                                  const aac_tensor_file *file)
{
    const char *path = aac_tensor_file_path(file), *field = aac_config_difference(config, other);
    if (field)
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "%s: metadata aaclip.config: %s differs from the other adapters'", path,
                         field);
    if (aac_tensor_file_has(file, "image_adapter."))
        aac_config_take_image(config, other);
    if (aac_tensor_file_has(file, "text_adapter."))
        aac_config_take_text(config, other);
    return AACLIP_OK;
}

static aaclip_status read_config(aaclip_adapters *adapters, const aac_tensor_file *file,
                                 const char *json, config_origin *origin)
{
    const char *path = aac_tensor_file_path(file);
    aaclip_config own = {.size = sizeof own};
    aaclip_status status = aac_config_from_json(&own, json, path);
    if (!status)
        status = check_layers(&own, adapters->model, path);
    if (status)
        return status;
    if (*origin == CONFIG_FILES)
        return merge_config(&adapters->config, &own, file);
    adapters->config = own;
    *origin = CONFIG_FILES;
    return AACLIP_OK;
}

/* The library's own files state the model they were trained for and the configuration. */
static aaclip_status read_metadata(aaclip_adapters *adapters, const aac_tensor_file *file,
                                   config_origin *origin)
{
    const char *config = aac_tensor_file_string(file, "aaclip.config");
    const uint64_t found = aac_model_vision_fingerprint(adapters->model);
    uint64_t wanted = found;
    aaclip_status status = aac_load_optional_key(file, "aaclip.model_vision_fingerprint", &wanted);
    if (status)
        return status;
    if (wanted != found)
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "%s: trained for a model with fingerprint %016llx, found %016llx",
                         aac_tensor_file_path(file), (unsigned long long)wanted,
                         (unsigned long long)found);
    if (!config || *origin == CONFIG_CALLER)
        return AACLIP_OK;
    return read_config(adapters, file, config, origin);
}

/* The tower whose modules were saved without its name; NULL: of none. */
static const char *bare_tower(const aac_tensor_file *file)
{
    static const char *const image[] = {"seg_proj.",        "det_proj.",
                                        "layer_adapters.",  "module.seg_proj.",
                                        "module.det_proj.", "module.layer_adapters."};
    for (size_t i = 0; i < sizeof image / sizeof *image; i++)
        if (aac_tensor_file_has(file, image[i]))
            return "image_adapter";
    return aac_tensor_file_has(file, "0.fc") || aac_tensor_file_has(file, "module.0.fc")
               ? "text_adapter"
               : NULL;
}

static aaclip_status no_adapters(const aac_tensor_file *file)
{
    const char *path = aac_tensor_file_path(file), *tower = bare_tower(file);
    if (tower)
        return aac_error(AACLIP_ERROR_FORMAT,
                         "%s: expected %s.* tensors, found a bare state dict; save it as "
                         "torch.save({\"%s\": adapter.state_dict()}, path)",
                         path, tower, tower);
    return aac_error(AACLIP_ERROR_FORMAT,
                     "%s: expected text_adapter.* or image_adapter.* tensors, found none", path);
}

/* `path`: NULL for the model's own file. */
static aaclip_status read_file(aaclip_adapters *adapters, const char *path, config_origin *origin)
{
    aac_tensor_file **file = &adapters->files[adapters->file_count];
    aaclip_status status =
        path ? aac_tensor_file_open(file, path)
             : aac_tensor_file_reopen(file, aac_model_checkpoint(adapters->model)->file);
    if (status)
        return status;
    adapters->file_count++;
    status = aac_tensor_file_verify(*file);
    if (status)
        return status;
    bool text = aac_tensor_file_has(*file, "text_adapter."),
         image = aac_tensor_file_has(*file, "image_adapter.");
    bool bundle = aac_tensor_file_string(*file, "aaclip.bundle") != NULL; /* may have none */
    if (!text && !image && !bundle)
        return no_adapters(*file);
    status = read_metadata(adapters, *file, origin);
    if (!status && text)
        status = read_text(adapters, *file, origin);
    if (!status && image)
        status = read_image(adapters, *file, origin);
    return status;
}

/* A bundle keeps the key of the text adapters that its cache was made with. */
static aaclip_status set_text_fingerprint(aaclip_adapters *adapters)
{
    aaclip_status status = AACLIP_OK;
    adapters->text_fingerprint = aac_adapter_tower_key(&adapters->text);
    for (size_t i = 0; !status && i < adapters->file_count && !adapters->text.present; i++)
        status = aac_load_optional_key(adapters->files[i], "aaclip.text_adapter_fingerprint",
                                       &adapters->text_fingerprint);
    return status;
}

/* Image adapters state the text adapters they were trained with; published files do not. */
static void warn_of_other_text(const aaclip_adapters *adapters)
{
    for (size_t i = 0; i < adapters->file_count && adapters->text.present; i++) {
        const aac_tensor_file *image = adapters->files[i];
        const aac_tensor_file *text = adapters->files[adapters->file_count - 1 - i];
        uint64_t key = 0;
        if (!aac_tensor_file_has(image, "text_adapter.") &&
            aac_load_key(image, "aaclip.text_adapter_fingerprint", &key) && key &&
            key != adapters->text_fingerprint)
            aac_log(AACLIP_LOG_WARNING,
                    "%s: trained with text adapters %016llx, but %s contains %016llx",
                    aac_tensor_file_path(image), (unsigned long long)key,
                    aac_tensor_file_path(text), (unsigned long long)adapters->text_fingerprint);
    }
}
static aaclip_status open_files(aaclip_adapters *adapters, const char *const *paths, size_t count,
                                const aaclip_config *config)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(adapters->model);
    config_origin origin = config ? CONFIG_CALLER : CONFIG_OPEN;
    aaclip_status status = aac_config_read(&adapters->config, config);
    for (size_t i = 0; !status && i < count; i++)
        status = read_file(adapters, paths[i], &origin);
    if (!status)
        status = aac_config_resolve(&adapters->config, checkpoint->vision.layers,
                                    checkpoint->text.layers);
    if (!status)
        status = aac_adapter_tower_pack(&adapters->text, adapters->model);
    if (!status)
        status = aac_adapter_tower_pack(&adapters->image, adapters->model);
    if (!status)
        status = set_text_fingerprint(adapters);
    if (!status) {
        warn_of_other_text(adapters);
        for (size_t i = 0; i < adapters->file_count; i++) /* they have been packed */
            aac_tensor_file_release(adapters->files[i]);
    }
    return status;
}

aaclip_status aaclip_adapters_open(aaclip_adapters **out, const aaclip_model *model,
                                   const char *const *paths, size_t count,
                                   const aaclip_config *config)
{
    if (out)
        *out = NULL;
    if (!out || !model || !paths != !count)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_adapters_open: expected a model, and paths or none");
    if (count > AAC_ADAPTER_FILES)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_adapters_open: expected at most one text and one image file, "
                         "found %zu",
                         count);
    for (size_t i = 0; i < count; i++)
        if (!paths[i])
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "aaclip_adapters_open: path %zu is NULL", i);
    aaclip_adapters *adapters = aac_calloc(1, sizeof *adapters);
    if (!adapters)
        return aac_error_memory();
    atomic_init(&adapters->references, 1);
    adapters->model = aac_model_retain(model);
    const char *const own[] = {NULL};
    aaclip_status status = open_files(adapters, count ? paths : own, count ? count : 1, config);
    if (status)
        aaclip_adapters_close(&adapters);
    *out = adapters;
    return status;
}
