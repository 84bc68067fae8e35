#include "model/trained_tower.h"

#include "core/error.h"
#include "core/memory.h"

static float *take(float **gradients, const aac_tensor *tensor)
{
    float *own = *gradients;
    *gradients += aac_tensor_elements(tensor);
    return own;
}

/* Hands out the gradient memory in the order of the parameters. */
static void lay_out_gradients(aac_trained_tower *tower, float *gradients)
{
    const aac_adapter_tower *adapters = tower->adapters;
    for (uint32_t i = 0; i < tower->layer_count; i++) {
        aac_trained_layer *layer = &tower->layers[i];
        layer->adapter = &adapters->layers[i];
        layer->first_gradient = take(&gradients, &layer->adapter->first_tensor);
        if (layer->adapter->second_tensor.data)
            layer->second_gradient = take(&gradients, &layer->adapter->second_tensor);
    }
    for (uint32_t i = 0; i < adapters->projection_count; i++)
        tower->projections[i] = (aac_trained_projection){
            &adapters->projections[i], take(&gradients, &adapters->projections[i].tensor)};
    if (adapters->detection.tensor.data)
        tower->detection = (aac_trained_projection){&adapters->detection,
                                                    take(&gradients, &adapters->detection.tensor)};
}

aaclip_status aac_trained_tower_new(aac_trained_tower **out, const aac_adapter_tower *adapters,
                                    float *gradients)
{
    aac_trained_tower *tower = *out = aac_calloc(1, sizeof *tower);
    if (!tower)
        return aac_error_memory();
    tower->adapters = adapters;
    tower->layer_count = adapters->layer_count;
    tower->layers = aac_calloc(adapters->layer_count, sizeof *tower->layers);
    if (!tower->layers) {
        aac_trained_tower_free(out);
        return aac_error_memory();
    }
    lay_out_gradients(tower, gradients);
    return AACLIP_OK;
}

void aac_trained_tower_free(aac_trained_tower **out)
{
    aac_trained_tower *tower = *out;
    if (!tower)
        return;
    aac_free(tower->layers);
    aac_free(tower);
    *out = NULL;
}
