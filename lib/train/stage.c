#include "train/stage.h"

#include "core/error.h"
#include "core/memory.h"
#include "model/adapters.h"

aaclip_status aac_stage_adapters(aaclip_adapters **adapters, const aaclip_model *model,
                                 const aaclip_config *config, const aac_parameter_set *parameters,
                                 bool copy)
{
    *adapters = NULL;
    aac_tensor *tensors = aac_alloc_array(parameters->count, sizeof *tensors);
    if (!tensors)
        return aac_error_memory();
    for (size_t i = 0; i < parameters->count; i++) {
        const aac_parameter *parameter = &parameters->items[i];
        tensors[i] = (aac_tensor){.name = parameter->name,
                                  .dtype = AAC_F32,
                                  .rank = 2,
                                  .shape = {parameter->rows, parameter->columns},
                                  .stride = {parameter->columns, 1},
                                  .data = parameter->value};
    }
    aaclip_status status =
        aac_adapters_make(adapters, model, config, parameters->side == AAC_SIDE_TEXT, tensors,
                          parameters->count, copy);
    aac_free(tensors);
    return status;
}
