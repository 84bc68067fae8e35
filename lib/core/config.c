#include "core/config.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/options.h"

static const char *const profile_names[] = {"document", "published"};
static const char *const domain_names[] = {"industrial", "medical"};

const char *aaclip_profile_name(aaclip_profile profile)
{
    return (unsigned)profile < 2 ? profile_names[profile] : "unknown";
}

const char *aaclip_domain_name(aaclip_domain domain)
{
    return (unsigned)domain < 2 ? domain_names[domain] : "unknown";
}

static const aaclip_config document = {
    .size = sizeof document,
    .profile = AACLIP_PROFILE_DOCUMENT,
    .activation = AACLIP_ACTIVATION_CHECKPOINT,
    .image_mean = {0.485f, 0.456f, 0.406f},
    .image_deviation = {0.229f, 0.224f, 0.225f},
    .layer_adapter = AACLIP_LAYER_ADAPTER_BOTTLENECK,
    .layer_adapter_slope = 0.2f,
    .image_projection_activation = true,
    .text_projection_activation = true,
    .projection_slope = 0.2f,
    .image_adapter_weight = 0.1f,
    .text_adapter_weight = 0.1f,
    .normalize_class_vector = false,
};

static const aaclip_config published = {
    .size = sizeof published,
    .profile = AACLIP_PROFILE_PUBLISHED,
    .activation = AACLIP_ACTIVATION_GELU,
    .image_mean = {0.48145466f, 0.4578275f, 0.40821073f},
    .image_deviation = {0.26862954f, 0.26130258f, 0.27577711f},
    .layer_adapter = AACLIP_LAYER_ADAPTER_LINEAR,
    .layer_adapter_slope = 0.01f,
    .image_projection_activation = false,
    .text_projection_activation = true,
    .projection_slope = 0.01f,
    .image_adapter_weight = 0.1f,
    .text_adapter_weight = 0.1f,
    .normalize_class_vector = true,
};

void aac_config_fill(aaclip_config *config, aaclip_profile profile)
{
    *config = profile == AACLIP_PROFILE_PUBLISHED ? published : document;
}

aaclip_status aaclip_config_init_sized(aaclip_config *config, size_t struct_size,
                                       aaclip_profile profile)
{
    if ((unsigned)profile > AACLIP_PROFILE_PUBLISHED)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "profile: unknown profile %d",
                         (int)profile);
    aaclip_config own;
    aac_config_fill(&own, profile);
    return aac_options_write(config, struct_size, &own, sizeof own, "aaclip_config");
}

static aaclip_status invalid(const char *field, double value, const char *expected)
{
    return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_config.%s: expected %s, found %g",
                     field, expected, value);
}

static aaclip_status check_numbers(const aaclip_config *config)
{
    for (int i = 0; i < 3; i++) {
        if (!isfinite(config->image_mean[i]))
            return invalid("image_mean", config->image_mean[i], "a finite number");
        if (!isfinite(config->image_deviation[i]) || config->image_deviation[i] <= 0)
            return invalid("image_deviation", config->image_deviation[i], "a positive number");
    }
    const struct {
        const char *field;
        float value;
    } fractions[] = {
        {"layer_adapter_slope", config->layer_adapter_slope},
        {"projection_slope", config->projection_slope},
        {"image_adapter_weight", config->image_adapter_weight},
        {"text_adapter_weight", config->text_adapter_weight},
    };
    for (size_t i = 0; i < sizeof fractions / sizeof *fractions; i++)
        if (!(fractions[i].value >= 0 && fractions[i].value <= 1))
            return invalid(fractions[i].field, fractions[i].value, "0 to 1");
    return AACLIP_OK;
}

static aaclip_status check(const aaclip_config *config)
{
    if ((unsigned)config->profile > AACLIP_PROFILE_PUBLISHED)
        return invalid("profile", config->profile, "a profile");
    if ((unsigned)config->activation > AACLIP_ACTIVATION_GELU)
        return invalid("activation", config->activation, "an activation");
    if ((unsigned)config->layer_adapter > AACLIP_LAYER_ADAPTER_LINEAR)
        return invalid("layer_adapter", config->layer_adapter, "a kind of adapter");
    if (config->level_count > AACLIP_MAX_LEVELS)
        return invalid("level_count", config->level_count, "at most 8");
    return check_numbers(config);
}

aaclip_status aac_config_read(aaclip_config *config, const aaclip_config *caller)
{
    aac_config_fill(config, AACLIP_PROFILE_DOCUMENT);
    aaclip_status status = aac_options_read(config, sizeof *config, caller, "aaclip_config");
    if (!status && config->profile == AACLIP_PROFILE_PUBLISHED) {
        /* fields unknown to an older caller take the profile's values */
        aac_config_fill(config, AACLIP_PROFILE_PUBLISHED);
        status = aac_options_read(config, sizeof *config, caller, "aaclip_config");
    }
    return status ? status : check(config);
}

aaclip_status aac_config_resolve(aaclip_config *config, int64_t image_layers, int64_t text_layers)
{
    if (!config->level_count) {
        uint32_t count = image_layers < 4 ? (uint32_t)image_layers : 4;
        config->level_count = count;
        for (uint32_t i = 0; i < count; i++)
            config->levels[i] = (uint32_t)(image_layers * (i + 1) / count);
    }
    for (uint32_t i = 0; i < config->level_count; i++)
        if (config->levels[i] <= (i ? config->levels[i - 1] : 0) ||
            config->levels[i] > image_layers)
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "aaclip_config.levels[%u]: expected ascending block numbers from 1 to "
                             "%lld, found %u",
                             i, (long long)image_layers, config->levels[i]);
    if (!config->image_adapter_layers)
        config->image_adapter_layers = (uint32_t)(image_layers / 4);
    if (!config->text_adapter_layers)
        config->text_adapter_layers = (uint32_t)(text_layers / 4);
    if (config->image_adapter_layers > image_layers)
        return invalid("image_adapter_layers", config->image_adapter_layers,
                       "at most the image tower's blocks");
    if (text_layers && config->text_adapter_layers > text_layers)
        return invalid("text_adapter_layers", config->text_adapter_layers,
                       "at most the text tower's blocks");
    return AACLIP_OK;
}

void aac_config_take_image(aaclip_config *config, const aaclip_config *other)
{
    memcpy(config->image_mean, other->image_mean, sizeof config->image_mean);
    memcpy(config->image_deviation, other->image_deviation, sizeof config->image_deviation);
    config->image_projection_activation = other->image_projection_activation;
    config->image_adapter_weight = other->image_adapter_weight;
    config->image_adapter_layers = other->image_adapter_layers;
    config->level_count = other->level_count;
    memcpy(config->levels, other->levels, sizeof config->levels);
}

void aac_config_take_text(aaclip_config *config, const aaclip_config *other)
{
    config->text_projection_activation = other->text_projection_activation;
    config->text_adapter_weight = other->text_adapter_weight;
    config->text_adapter_layers = other->text_adapter_layers;
    config->normalize_class_vector = other->normalize_class_vector;
}

static bool differ(float a, float b)
{
    return a < b || a > b;
}

const char *aac_config_difference(const aaclip_config *a, const aaclip_config *b)
{
    if (a->activation != b->activation)
        return "activation";
    if (a->layer_adapter != b->layer_adapter)
        return "layer_adapter";
    if (differ(a->layer_adapter_slope, b->layer_adapter_slope))
        return "layer_adapter_slope";
    return differ(a->projection_slope, b->projection_slope) ? "projection_slope" : NULL;
}

/* NULL: out of memory. */
static json_t *number_list(const float *values, size_t count)
{
    json_t *list = json_array();
    int failed = 0;
    for (size_t i = 0; i < count; i++)
        failed |= json_array_append_new(list, json_real((double)values[i]));
    return aac_json_made(list, failed);
}

/* NULL: out of memory. */
static json_t *level_list(const aaclip_config *config)
{
    json_t *list = json_array();
    int failed = 0;
    for (uint32_t i = 0; i < config->level_count; i++)
        failed |= json_array_append_new(list, json_integer(config->levels[i]));
    return aac_json_made(list, failed);
}

char *aac_config_to_json(const aaclip_config *config)
{
    json_t *root = json_pack(
        "{s:s, s:i, s:o, s:o, s:i, s:f, s:b, s:b, s:f, s:f, s:f, s:I, s:I, s:o, s:b}", "profile",
        profile_names[config->profile], "activation", (int)config->activation, "image_mean",
        number_list(config->image_mean, 3), "image_deviation",
        number_list(config->image_deviation, 3), "layer_adapter", (int)config->layer_adapter,
        "layer_adapter_slope", (double)config->layer_adapter_slope, "image_projection_activation",
        config->image_projection_activation, "text_projection_activation",
        config->text_projection_activation, "projection_slope", (double)config->projection_slope,
        "image_adapter_weight", (double)config->image_adapter_weight, "text_adapter_weight",
        (double)config->text_adapter_weight, "image_adapter_layers",
        (json_int_t)config->image_adapter_layers, "text_adapter_layers",
        (json_int_t)config->text_adapter_layers, "levels", level_list(config),
        "normalize_class_vector", config->normalize_class_vector);
    char *text = aac_json_text(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

static bool read_floats(const json_t *list, float *values, size_t count)
{
    if (json_array_size(list) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_number(value))
            return false;
        values[i] = (float)json_number_value(value);
    }
    return true;
}

/* Numbers that do not fit become the largest, which no tower has. */
static bool read_number(const json_t *item, uint32_t *number)
{
    json_int_t value = json_integer_value(item);
    *number = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    return json_is_integer(item) && value >= 0;
}

static bool read_profile(const char *name, aaclip_config *config)
{
    aaclip_profile profile = AACLIP_PROFILE_DOCUMENT;
    while (profile <= AACLIP_PROFILE_PUBLISHED && strcmp(name, profile_names[profile]) != 0)
        profile++;
    if (profile > AACLIP_PROFILE_PUBLISHED)
        return false;
    aac_config_fill(config, profile);
    return true;
}

static bool read_levels(const json_t *list, aaclip_config *config)
{
    if (!json_is_array(list) || json_array_size(list) > AACLIP_MAX_LEVELS)
        return false;
    config->level_count = (uint32_t)json_array_size(list);
    for (uint32_t i = 0; i < config->level_count; i++)
        if (!read_number(json_array_get(list, i), &config->levels[i]))
            return false;
    return true;
}

static bool read_fields(const json_t *root, aaclip_config *config)
{
    const char *profile;
    int activation, layer_adapter;
    int image_activation, text_activation, normalize;
    double adapter_slope, projection_slope, image_weight, text_weight;
    json_t *mean, *deviation, *levels, *image_layers, *text_layers;
    if (json_unpack((json_t *)root,
                    "{s:s, s:i, s:o, s:o, s:i, s:F, s:b, s:b, s:F, s:F, s:F, s:o, s:o, s:o, s:b}",
                    "profile", &profile, "activation", &activation, "image_mean", &mean,
                    "image_deviation", &deviation, "layer_adapter", &layer_adapter,
                    "layer_adapter_slope", &adapter_slope, "image_projection_activation",
                    &image_activation, "text_projection_activation", &text_activation,
                    "projection_slope", &projection_slope, "image_adapter_weight", &image_weight,
                    "text_adapter_weight", &text_weight, "image_adapter_layers", &image_layers,
                    "text_adapter_layers", &text_layers, "levels", &levels,
                    "normalize_class_vector", &normalize) != 0 ||
        !read_profile(profile, config))
        return false;
    config->activation = (aaclip_activation)activation;
    config->layer_adapter = (aaclip_layer_adapter)layer_adapter;
    config->layer_adapter_slope = (float)adapter_slope;
    config->image_projection_activation = image_activation;
    config->text_projection_activation = text_activation;
    config->projection_slope = (float)projection_slope;
    config->image_adapter_weight = (float)image_weight;
    config->text_adapter_weight = (float)text_weight;
    config->normalize_class_vector = normalize;
    return read_number(image_layers, &config->image_adapter_layers) &&
           read_number(text_layers, &config->text_adapter_layers) &&
           read_floats(mean, config->image_mean, 3) &&
           read_floats(deviation, config->image_deviation, 3) && read_levels(levels, config);
}

aaclip_status aac_config_from_json(aaclip_config *config, const char *json, const char *name)
{
    json_t *root;
    aaclip_status status = aac_json_embedded(&root, json, "metadata aaclip.config");
    if (!status && !read_fields(root, config))
        status = aac_error(AACLIP_ERROR_FORMAT,
                           "metadata aaclip.config: expected a valid value for every field");
    json_decref(root);
    if (status)
        return aac_error_prefix(status, "%s", name);
    status = check(config);
    return status ? aac_error_prefix(AACLIP_ERROR_FORMAT, "%s", name) : AACLIP_OK;
}
