/* A set of adapters: its towers' weights, reference count, accessors. */
#include "model/adapters_parts.h"

#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "model/fingerprint.h"
#include "model/model.h"

/* Frees the packed weights; the tensors stay. */
static void unpack_tower(aac_adapter_tower *tower)
{
    for (uint32_t i = 0; i < tower->layer_count; i++) {
        aac_weight_free(&tower->layers[i].first);
        aac_weight_free(&tower->layers[i].second);
    }
    for (uint32_t i = 0; i < tower->projection_count; i++)
        aac_weight_free(&tower->projections[i].weight);
    aac_weight_free(&tower->detection.weight);
    aac_tensor_file_close(&tower->packed);
}

static aaclip_status pack_one(aac_weight **weight, const aac_tensor *tensor, aac_packer *packer,
                              aac_dtype type)
{
    return tensor->data ? aac_packer_pack(packer, weight, tensor, NULL, 1, type) : AACLIP_OK;
}

static aaclip_status pack_tower(aac_adapter_tower *tower, aac_packer *packer, aac_dtype type)
{
    aaclip_status status = AACLIP_OK;
    for (uint32_t i = 0; !status && i < tower->layer_count; i++) {
        status = pack_one(&tower->layers[i].first, &tower->layers[i].first_tensor, packer, type);
        if (!status)
            status =
                pack_one(&tower->layers[i].second, &tower->layers[i].second_tensor, packer, type);
    }
    for (uint32_t i = 0; !status && i < tower->projection_count; i++)
        status =
            pack_one(&tower->projections[i].weight, &tower->projections[i].tensor, packer, type);
    if (!status)
        status = pack_one(&tower->detection.weight, &tower->detection.tensor, packer, type);
    return status ? status : aac_packer_finish(packer, &tower->packed);
}

/* Only weights from a file are kept packed on disk: those in training change. */
aaclip_status aac_adapter_tower_pack(aac_adapter_tower *tower, const aaclip_model *model)
{
    const int64_t samples = 64;
    aac_packer packer = {.dispatch = aac_model_dispatch(model)};
    aac_dtype type = aac_model_type(model);
    aaclip_status status = AACLIP_OK;
    unpack_tower(tower);
    if (tower->present && tower->file)
        status =
            aac_model_open_packer(model, &packer, tower->file,
                                  tower->detection.tensor.data ? "adapters-image" : "adapters-text",
                                  type, aac_adapter_tower_fingerprint(tower, samples));
    if (!status)
        status = pack_tower(tower, &packer, type);
    if (status)
        unpack_tower(tower);
    aac_packer_close(&packer);
    return status;
}

static void clear_tower(aac_adapter_tower *tower)
{
    unpack_tower(tower);
    aac_free(tower->layers);
}

uint64_t aac_adapter_tower_fingerprint(const aac_adapter_tower *tower, int64_t samples)
{
    aac_fingerprint fingerprint = aac_fingerprint_start();
    for (uint32_t i = 0; i < tower->layer_count; i++) {
        aac_fingerprint_tensor(&fingerprint, &tower->layers[i].first_tensor, samples, true);
        if (tower->layers[i].second_tensor.data)
            aac_fingerprint_tensor(&fingerprint, &tower->layers[i].second_tensor, samples, true);
    }
    for (uint32_t i = 0; i < tower->projection_count; i++)
        aac_fingerprint_tensor(&fingerprint, &tower->projections[i].tensor, samples, true);
    if (tower->detection.tensor.data)
        aac_fingerprint_tensor(&fingerprint, &tower->detection.tensor, samples, true);
    return fingerprint.value;
}

uint64_t aac_adapter_tower_key(const aac_adapter_tower *tower)
{
    return tower->present ? aac_adapter_tower_fingerprint(tower, AAC_FINGERPRINT_ADAPTER_SAMPLES)
                          : 0;
}
aaclip_adapters *aac_adapters_retain(const aaclip_adapters *adapters)
{
    aaclip_adapters *own = (aaclip_adapters *)adapters;
    if (own)
        atomic_fetch_add(&own->references, 1);
    return own;
}

void aaclip_adapters_close(aaclip_adapters **handle)
{
    if (!handle || !*handle)
        return;
    aaclip_adapters *adapters = *handle;
    *handle = NULL;
    if (atomic_fetch_sub(&adapters->references, 1) != 1)
        return;
    clear_tower(&adapters->text);
    clear_tower(&adapters->image);
    for (size_t i = 0; i < adapters->file_count; i++)
        aac_tensor_file_close(&adapters->files[i]);
    aac_free(adapters->values);
    aac_free(adapters->names);
    aaclip_model_close(&adapters->model);
    aac_free(adapters);
}

const aac_adapter_tower *aac_adapters_text(const aaclip_adapters *adapters)
{
    return &adapters->text;
}

const aac_adapter_tower *aac_adapters_image(const aaclip_adapters *adapters)
{
    return &adapters->image;
}

const aaclip_config *aac_adapters_config(const aaclip_adapters *adapters)
{
    return &adapters->config;
}

uint64_t aac_adapters_image_fingerprint(const aaclip_adapters *adapters)
{
    return adapters ? aac_adapter_tower_key(&adapters->image) : 0;
}

uint64_t aac_adapters_text_fingerprint(const aaclip_adapters *adapters)
{
    return adapters ? adapters->text_fingerprint : 0;
}

const char *aac_adapters_calibration(const aaclip_adapters *adapters, const char **path)
{
    for (size_t i = 0; i < adapters->file_count; i++) {
        const char *text = aac_tensor_file_string(adapters->files[i], AAC_CALIBRATION_KEY);
        *path = aac_tensor_file_path(adapters->files[i]);
        if (text)
            return text;
    }
    return NULL;
}

aaclip_status aac_adapters_check_model(const aaclip_adapters *adapters, const aaclip_model *model)
{
    if (!adapters || adapters->model == model)
        return AACLIP_OK;
    return aac_error(
        AACLIP_ERROR_MISMATCH, "%s: these adapters were opened for another model handle",
        adapters->file_count ? aac_tensor_file_path(adapters->files[0]) : "trained adapters");
}

aaclip_status aaclip_adapters_get_config(const aaclip_adapters *adapters, aaclip_config *config)
{
    if (!adapters || !config)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_adapters_get_config: NULL argument");
    return aac_options_write(config, config->size, &adapters->config, sizeof adapters->config,
                             "aaclip_config");
}

bool aaclip_adapters_has_text(const aaclip_adapters *adapters)
{
    return adapters && adapters->text.present;
}

bool aaclip_adapters_has_image(const aaclip_adapters *adapters)
{
    return adapters && adapters->image.present;
}
