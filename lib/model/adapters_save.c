/* Saves adapters to a file, alone or among a bundle's entries. */
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "model/adapters_parts.h"
#include "model/model.h"
#include "model/save.h"

/* Under the name that it has without DataParallel. */
static aaclip_status save_tensor(aac_save_list *list, const aac_tensor *tensor)
{
    static const char wrapped[] = ".module.";
    const char *at = strstr(tensor->name, wrapped);
    if (!at)
        return aac_save_tensor(list, tensor->name, tensor, AAC_F32);
    char *name =
        aac_format("%.*s.%s", (int)(at - tensor->name), tensor->name, at + strlen(wrapped));
    aaclip_status status = name ? aac_save_tensor(list, name, tensor, AAC_F32) : aac_error_memory();
    aac_free(name);
    return status;
}

static aaclip_status save_tower(aac_save_list *list, const aac_adapter_tower *tower)
{
    aaclip_status status = aac_tensor_file_check(tower->file);
    for (uint32_t i = 0; !status && i < tower->layer_count; i++) {
        const aac_layer_adapter *layer = &tower->layers[i];
        status = save_tensor(list, &layer->first_tensor);
        if (!status && layer->second_tensor.data)
            status = save_tensor(list, &layer->second_tensor);
    }
    for (uint32_t i = 0; !status && i < tower->projection_count; i++)
        status = save_tensor(list, &tower->projections[i].tensor);
    if (!status && tower->detection.tensor.data)
        status = save_tensor(list, &tower->detection.tensor);
    return status;
}

aaclip_status aac_adapters_save_entries(const aaclip_adapters *adapters, aac_save_list *list,
                                        bool with_text)
{
    if (with_text && !adapters->text.present && !adapters->image.present)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "adapters: nothing to save: the bundle has no adapters");
    aaclip_status status = aac_save_config(list, &adapters->config);
    if (!status)
        status = aac_save_key(list, "aaclip.model_vision_fingerprint",
                              aac_model_vision_fingerprint(adapters->model));
    if (!status)
        status = aac_save_key(list, "aaclip.text_adapter_fingerprint", adapters->text_fingerprint);
    if (!status && with_text)
        status = save_tower(list, &adapters->text);
    return status ? status : save_tower(list, &adapters->image);
}

aaclip_status aac_adapters_save_calibration(const aaclip_adapters *adapters, aac_save_list *list)
{
    const char *path, *calibration = aac_adapters_calibration(adapters, &path);
    return calibration ? aac_save_text(list, AAC_CALIBRATION_KEY, calibration) : AACLIP_OK;
}

aaclip_status aaclip_adapters_save(const aaclip_adapters *adapters, const char *path)
{
    if (!adapters || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_adapters_save: NULL argument");
    aac_save_list list = {0};
    aaclip_status status = aac_adapters_save_entries(adapters, &list, true);
    if (!status)
        status = aac_adapters_save_calibration(adapters, &list);
    if (!status)
        status = aac_save_write(&list, path);
    aac_save_clear(&list);
    return status;
}
