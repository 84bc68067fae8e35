/* Adapter sets from memory: those in training, and snapshots of them. */
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "model/adapters_parts.h"
#include "model/model.h"

#define NAME_SIZE 128

static size_t tensor_count(const aaclip_config *config, bool text)
{
    size_t each = config->layer_adapter == AACLIP_LAYER_ADAPTER_BOTTLENECK ? 2 : 1;
    return text ? each * config->text_adapter_layers + 1
                : each * config->image_adapter_layers + config->level_count + 1;
}

/* Copies names (with the tower's prefix) and, if wanted, values. */
static aaclip_status own_tensors(aaclip_adapters *adapters, bool text, aac_tensor *tensors,
                                 size_t count, bool copy)
{
    int64_t elements = 0;
    for (size_t i = 0; i < count; i++)
        elements += aac_tensor_elements(&tensors[i]);
    adapters->names = aac_alloc_array(count, NAME_SIZE);
    if (copy)
        adapters->values = aac_alloc_array((size_t)elements, sizeof(float));
    if (!adapters->names || (copy && !adapters->values))
        return aac_error_memory();
    float *values = adapters->values;
    for (size_t i = 0; i < count; i++) {
        char *name = adapters->names + i * NAME_SIZE;
        snprintf(name, NAME_SIZE, "%s.%s", text ? "text_adapter" : "image_adapter",
                 tensors[i].name);
        tensors[i].name = name;
        if (!copy)
            continue;
        aac_tensor_to_f32(&tensors[i], values);
        tensors[i].data = values;
        values += aac_tensor_elements(&tensors[i]);
    }
    return AACLIP_OK;
}

static aaclip_status fill_tower(aac_adapter_tower *tower, const aaclip_config *config, bool text,
                                const aac_tensor *tensors)
{
    bool bottleneck = config->layer_adapter == AACLIP_LAYER_ADAPTER_BOTTLENECK;
    uint32_t layers = text ? config->text_adapter_layers : config->image_adapter_layers;
    tower->layers = aac_calloc(layers, sizeof *tower->layers);
    if (!tower->layers)
        return aac_error_memory();
    tower->layer_count = layers;
    tower->projection_count = text ? 1 : config->level_count;
    for (uint32_t i = 0; i < tower->layer_count; i++) {
        tower->layers[i].first_tensor = *tensors++;
        if (bottleneck)
            tower->layers[i].second_tensor = *tensors++;
    }
    for (uint32_t i = 0; i < tower->projection_count; i++)
        tower->projections[i].tensor = *tensors++;
    if (!text)
        tower->detection.tensor = *tensors;
    tower->present = true;
    return AACLIP_OK;
}

static aaclip_status make(aaclip_adapters *adapters, bool text, const aac_tensor *given,
                          size_t count, bool copy)
{
    aac_adapter_tower *tower = text ? &adapters->text : &adapters->image;
    aac_tensor *tensors = aac_alloc_array(count, sizeof *tensors);
    if (!tensors)
        return aac_error_memory();
    memcpy(tensors, given, count * sizeof *tensors);
    aaclip_status status = own_tensors(adapters, text, tensors, count, copy);
    if (!status)
        status = fill_tower(tower, &adapters->config, text, tensors);
    aac_free(tensors);
    return status ? status : aac_adapters_refresh(adapters, NULL);
}

aaclip_status aac_adapters_make(aaclip_adapters **out, const aaclip_model *model,
                                const aaclip_config *config, bool text, const aac_tensor *tensors,
                                size_t count, bool copy)
{
    *out = NULL;
    if (count != tensor_count(config, text))
        return aac_error(AACLIP_ERROR_MISMATCH, "adapters: expected %zu matrices, found %zu",
                         tensor_count(config, text), count);
    aaclip_adapters *adapters = aac_calloc(1, sizeof *adapters);
    if (!adapters)
        return aac_error_memory();
    atomic_init(&adapters->references, 1);
    adapters->model = aac_model_retain(model);
    adapters->config = *config;
    aaclip_status status = make(adapters, text, tensors, count, copy);
    if (status)
        aaclip_adapters_close(&adapters);
    *out = adapters;
    return status;
}

/* Values in device memory, one matrix after the other. */
typedef struct device_values {
    const aac_dispatch *dispatch;
    aac_dtype type;
    const float *next;
} device_values;

static aaclip_status take(device_values *values, aac_weight **weight, const aac_tensor *tensor)
{
    aac_tensor matrix = *tensor;
    if (!tensor->data) /* absent */
        return AACLIP_OK;
    matrix.data = values->next;
    values->next += aac_tensor_elements(tensor);
    return aac_dispatch_repack(values->dispatch, weight, &matrix, NULL, 1, values->type);
}

static aaclip_status take_tower(aac_adapter_tower *tower, device_values *values)
{
    aaclip_status status = AACLIP_OK;
    for (uint32_t i = 0; !status && i < tower->layer_count; i++) {
        status = take(values, &tower->layers[i].first, &tower->layers[i].first_tensor);
        if (!status)
            status = take(values, &tower->layers[i].second, &tower->layers[i].second_tensor);
    }
    for (uint32_t i = 0; !status && i < tower->projection_count; i++)
        status = take(values, &tower->projections[i].weight, &tower->projections[i].tensor);
    return status ? status : take(values, &tower->detection.weight, &tower->detection.tensor);
}

aaclip_status aac_adapters_refresh(aaclip_adapters *adapters, const float *values)
{
    bool text = adapters->text.present;
    aac_adapter_tower *tower = text ? &adapters->text : &adapters->image;
    device_values all = {aac_model_dispatch(adapters->model), aac_model_type(adapters->model),
                         values};
    if (values)
        return take_tower(tower, &all);
    if (text)
        adapters->text_fingerprint = aac_adapter_tower_key(&adapters->text);
    return aac_adapter_tower_pack(tower, adapters->model);
}

void aac_adapters_set_text_fingerprint(aaclip_adapters *adapters, uint64_t fingerprint)
{
    adapters->text_fingerprint = fingerprint;
}
