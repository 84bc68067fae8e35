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

aaclip_status aac_stage_pixels_make(aac_stage_pixels *pixels, const aac_dispatch *dispatch,
                                    int64_t image_size, int64_t images)
{
    *pixels = (aac_stage_pixels){.dispatch = dispatch, .count = (size_t)(image_size * image_size)};
    if (aac_device_is_host(dispatch))
        return AACLIP_OK;
    pixels->rgb_buffer = aac_device_alloc(dispatch, 3 * (size_t)images * pixels->count);
    pixels->mask_buffer = aac_device_alloc(dispatch, (size_t)images * pixels->count);
    return pixels->rgb_buffer && pixels->mask_buffer ? AACLIP_OK : aac_device_error(dispatch);
}

void aac_stage_pixels_clear(aac_stage_pixels *pixels)
{
    aac_device_free(pixels->dispatch, pixels->rgb_buffer);
    aac_device_free(pixels->dispatch, pixels->mask_buffer);
    *pixels = (aac_stage_pixels){0};
}

aaclip_status aac_stage_pixels_send(aac_stage_pixels *pixels, const aac_sample *sample,
                                    int64_t image)
{
    if (!pixels->rgb_buffer) {
        pixels->rgb = sample->rgb;
        pixels->mask = sample->mask;
        return AACLIP_OK;
    }
    size_t at = (size_t)image * pixels->count;
    pixels->rgb = pixels->rgb_buffer;
    pixels->mask = pixels->mask_buffer;
    aaclip_status status = aac_device_copy(pixels->dispatch, pixels->rgb_buffer + 3 * at,
                                           sample->rgb, 3 * pixels->count);
    return status ? status
                  : aac_device_copy(pixels->dispatch, pixels->mask_buffer + at, sample->mask,
                                    pixels->count);
}
