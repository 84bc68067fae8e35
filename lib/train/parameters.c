#include "train/parameters.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/error.h"
#include "core/memory.h"

/* Creates the next item, named by the format. */
static aaclip_status add(aac_parameter_set *set, int64_t rows, int64_t columns, const char *format,
                         ...) AACLIP_PRINTF(4, 5);

static aaclip_status add(aac_parameter_set *set, int64_t rows, int64_t columns, const char *format,
                         ...)
{
    aac_parameter *item = &set->items[set->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(item->name, sizeof item->name, format, arguments);
    va_end(arguments);
    item->rows = rows;
    item->columns = columns;
    float **const arrays[] = {&item->value, &item->exp_avg, &item->exp_avg_sq};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i] = aac_calloc(aac_parameter_elements(item), sizeof **arrays[i]);
        if (!*arrays[i])
            return aac_error_memory();
    }
    return AACLIP_OK;
}

/* `prefix` ends with '.' or is empty. */
static aaclip_status add_layers(aac_parameter_set *set, const char *prefix, uint32_t count,
                                bool bottleneck, int64_t width)
{
    aaclip_status status = AACLIP_OK;
    for (uint32_t i = 0; !status && i < count; i++) {
        if (!bottleneck) {
            status = add(set, width, width, "%s%u.fc.0.weight", prefix, i);
            continue;
        }
        status = add(set, width / 2, width, "%s%u.fc1.weight", prefix, i);
        if (!status)
            status = add(set, width, width / 2, "%s%u.fc2.weight", prefix, i);
    }
    return status;
}

/* In the published modules an activation follows the matrix in a sequence, where the matrix is
 * number 0. `prefix` ends with '.'. */
static aaclip_status add_projection(aac_parameter_set *set, const char *prefix, bool numbered,
                                    int64_t width, int64_t embedding)
{
    static const char *const names[] = {"fc.weight", "fc.0.weight"};
    aac_parameter *item = &set->items[set->count];
    snprintf(item->other_name, sizeof item->other_name, "%s%s", prefix, names[!numbered]);
    return add(set, embedding, width, "%s%s", prefix, names[numbered]);
}

static aaclip_status add_text(aac_parameter_set *set, const aaclip_config *config, bool bottleneck,
                              int64_t width, int64_t embedding)
{
    char prefix[16];
    aaclip_status status = add_layers(set, "", config->text_adapter_layers, bottleneck, width);
    snprintf(prefix, sizeof prefix, "%u.", config->text_adapter_layers);
    return status ? status
                  : add_projection(set, prefix, !bottleneck && config->text_projection_activation,
                                   width, embedding);
}

static aaclip_status add_image(aac_parameter_set *set, const aaclip_config *config, bool bottleneck,
                               int64_t width, int64_t embedding)
{
    char prefix[32];
    bool numbered = !bottleneck && config->image_projection_activation;
    aaclip_status status =
        add_layers(set, "layer_adapters.", config->image_adapter_layers, bottleneck, width);
    for (uint32_t i = 0; !status && i < config->level_count; i++) {
        snprintf(prefix, sizeof prefix, "seg_proj.%u.", i);
        status = add_projection(set, prefix, numbered, width, embedding);
    }
    return status ? status : add_projection(set, "det_proj.", numbered, width, embedding);
}

aaclip_status aac_parameters_make(aac_parameter_set *set, aac_adapter_side side,
                                  const aaclip_config *config, int64_t width, int64_t embedding)
{
    *set = (aac_parameter_set){.side = side};
    bool bottleneck = config->layer_adapter == AACLIP_LAYER_ADAPTER_BOTTLENECK;
    bool text = side == AAC_SIDE_TEXT;
    size_t layers = text ? config->text_adapter_layers : config->image_adapter_layers;
    size_t projections = text ? 1 : (size_t)config->level_count + 1;
    set->items = aac_calloc((bottleneck ? 2 : 1) * layers + projections, sizeof *set->items);
    if (!set->items)
        return aac_error_memory();
    aaclip_status status = text ? add_text(set, config, bottleneck, width, embedding)
                                : add_image(set, config, bottleneck, width, embedding);
    if (status)
        aac_parameters_clear(set);
    return status;
}

void aac_parameters_clear(aac_parameter_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        aac_free(set->items[i].value);
        aac_free(set->items[i].exp_avg);
        aac_free(set->items[i].exp_avg_sq);
    }
    aac_free(set->items);
    *set = (aac_parameter_set){0};
}

size_t aac_parameter_elements(const aac_parameter *parameter)
{
    return (size_t)(parameter->rows * parameter->columns);
}
