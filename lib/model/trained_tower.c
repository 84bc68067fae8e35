#include "model/trained_tower.h"

#include "core/error.h"
#include "core/memory.h"

static float *take(float **gradients, const aac_tensor *tensor)
{
    float *own = *gradients;
    *gradients += aac_tensor_elements(tensor);
    return own;
}

/* Hands the gradient memory out in the order of the parameters. */
static void lay_out_gradients(aac_trained_tower *tower, float *gradients)
{
    const aac_adapter_tower *adapters = tower->adapters;
    for (uint32_t i = 0; i < tower->layer_count; i++) {
        tower->layers[i].first_gradient = take(&gradients, &adapters->layers[i].first_tensor);
        if (adapters->layers[i].second_tensor.data)
            tower->layers[i].second_gradient = take(&gradients, &adapters->layers[i].second_tensor);
    }
    for (uint32_t i = 0; i < adapters->projection_count; i++)
        tower->projections[i].gradient = take(&gradients, &adapters->projections[i].tensor);
    if (adapters->detection.tensor.data)
        tower->detection.gradient = take(&gradients, &adapters->detection.tensor);
}

aaclip_status aac_trained_tower_new(aac_trained_tower **out, const aaclip_model *model,
                                    const aac_block_tensors *tensors, int64_t block_count,
                                    const aac_adapter_tower *adapters, float *gradients)
{
    aac_trained_tower *tower = *out = aac_calloc(1, sizeof *tower);
    if (!tower)
        return aac_error_memory();
    tower->adapters = adapters;
    tower->block_count = block_count;
    tower->layer_count = adapters->layer_count;
    tower->blocks = aac_calloc((size_t)block_count, sizeof *tower->blocks);
    tower->layers = aac_calloc(adapters->layer_count, sizeof *tower->layers);
    aaclip_status status = tower->blocks && tower->layers ? AACLIP_OK : aac_error_memory();
    for (int64_t i = 1; !status && i < block_count; i++)
        status = aac_turned_block_pack(&tower->blocks[i], &tensors[i], aac_model_dispatch(model),
                                       aac_model_type(model));
    if (!status) {
        lay_out_gradients(tower, gradients);
        status = aac_trained_tower_refresh(tower, model);
    }
    if (status)
        aac_trained_tower_free(out);
    return status;
}

static void clear_trained(aac_trained_tower *tower)
{
    for (uint32_t i = 0; tower->layers && i < tower->layer_count; i++) {
        aac_weight_free(&tower->layers[i].first);
        aac_weight_free(&tower->layers[i].second);
    }
    for (uint32_t i = 0; i < AACLIP_MAX_LEVELS; i++)
        aac_weight_free(&tower->projections[i].turned);
    aac_weight_free(&tower->detection.turned);
}

void aac_trained_tower_free(aac_trained_tower **out)
{
    aac_trained_tower *tower = *out;
    if (!tower)
        return;
    for (int64_t i = 0; tower->blocks && i < tower->block_count; i++)
        aac_turned_block_clear(&tower->blocks[i]);
    clear_trained(tower);
    aac_free(tower->blocks);
    aac_free(tower->layers);
    aac_free(tower);
    *out = NULL;
}

static aaclip_status pack(aac_weight **turned, const aac_tensor *tensor, const aaclip_model *model)
{
    return aac_pack_turned(turned, tensor, aac_model_dispatch(model), aac_model_type(model));
}

aaclip_status aac_trained_tower_refresh(aac_trained_tower *tower, const aaclip_model *model)
{
    const aac_adapter_tower *adapters = tower->adapters;
    aaclip_status status = AACLIP_OK;
    clear_trained(tower);
    for (uint32_t i = 0; !status && i < tower->layer_count; i++) {
        const aac_layer_adapter *layer = &adapters->layers[i];
        if (i > 0) /* below the first adapter nothing is trained */
            status = pack(&tower->layers[i].first, &layer->first_tensor, model);
        if (!status && layer->second_tensor.data)
            status = pack(&tower->layers[i].second, &layer->second_tensor, model);
    }
    for (uint32_t i = 0; !status && i < adapters->projection_count; i++)
        status = pack(&tower->projections[i].turned, &adapters->projections[i].tensor, model);
    if (!status && adapters->detection.tensor.data)
        status = pack(&tower->detection.turned, &adapters->detection.tensor, model);
    return status;
}
