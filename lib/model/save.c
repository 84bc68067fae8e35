#include "model/save.h"

#include <string.h>

#include "core/config.h"
#include "core/error.h"
#include "core/hex_key.h"
#include "core/memory.h"
#include "core/utf8.h"

/* Takes over `pointer`, even on failure; fails for NULL. */
static bool own(aac_save_list *list, void *pointer)
{
    void **owned =
        pointer ? aac_grow(list->owned, &list->owned_capacity, list->owned_count + 1, sizeof *owned)
                : NULL;
    if (!owned) {
        aac_free(pointer);
        return false;
    }
    list->owned = owned;
    owned[list->owned_count++] = pointer;
    return true;
}

aaclip_status aac_save_keep(aac_save_list *list, void *pointer)
{
    return own(list, pointer) ? AACLIP_OK : aac_error_memory();
}

aaclip_status aac_save_tensor(aac_save_list *list, const char *name, const aac_tensor *tensor,
                              aac_dtype stored_as)
{
    char *copy = aac_strdup(name);
    aac_tensor_source *tensors = own(list, copy) ? aac_grow(list->tensors, &list->tensor_capacity,
                                                            list->tensor_count + 1, sizeof *tensors)
                                                 : NULL;
    if (!tensors)
        return aac_error_memory();
    list->tensors = tensors;
    aac_tensor_source source = {*tensor, stored_as};
    source.tensor.name = copy;
    tensors[list->tensor_count++] = source;
    return AACLIP_OK;
}

aaclip_status aac_save_floats(aac_save_list *list, const char *name, const float *values,
                              int64_t rows, int64_t columns)
{
    size_t bytes = (size_t)(rows * columns) * sizeof *values;
    float *copy = aac_alloc(bytes);
    if (!own(list, copy))
        return aac_error_memory();
    memcpy(copy, values, bytes);
    const aac_tensor tensor = {.dtype = AAC_F32,
                               .rank = 2,
                               .shape = {rows, columns},
                               .stride = {columns, 1},
                               .data = copy};
    return aac_save_tensor(list, name, &tensor, AAC_F32);
}

aaclip_status aac_save_text(aac_save_list *list, const char *key, const char *value)
{
    if (!value)
        return aac_error_memory();
    char *key_copy = aac_strdup(key), *value_copy = aac_strdup(value);
    bool owned = own(list, key_copy);
    owned = own(list, value_copy) && owned;
    aac_metadata *metadata = owned ? aac_grow(list->metadata, &list->metadata_capacity,
                                              list->metadata_count + 1, sizeof *metadata)
                                   : NULL;
    if (!metadata)
        return aac_error_memory();
    list->metadata = metadata;
    metadata[list->metadata_count++] = (aac_metadata){key_copy, value_copy};
    return AACLIP_OK;
}

aaclip_status aac_save_key(aac_save_list *list, const char *key, uint64_t value)
{
    char text[AAC_HEX_KEY_SIZE];
    return aac_save_text(list, key, aac_hex_key(text, value));
}

aaclip_status aac_save_config(aac_save_list *list, const aaclip_config *config)
{
    char *json = aac_config_to_json(config);
    aaclip_status status = aac_save_text(list, "aaclip.config", json);
    aac_free(json);
    return status;
}

aaclip_status aac_save_write(const aac_save_list *list, const char *path)
{
    return aac_safetensors_write(path, list->tensors, list->tensor_count, list->metadata,
                                 list->metadata_count);
}

void aac_save_clear(aac_save_list *list)
{
    for (size_t i = 0; i < list->owned_count; i++)
        aac_free(list->owned[i]);
    aac_free(list->owned);
    aac_free(list->tensors);
    aac_free(list->metadata);
    *list = (aac_save_list){0};
}

bool aac_load_key(const aac_tensor_file *file, const char *key, uint64_t *value)
{
    return aac_hex_key_read(aac_tensor_file_string(file, key), value);
}

aaclip_status aac_load_optional_key(const aac_tensor_file *file, const char *key, uint64_t *value)
{
    const char *text = aac_tensor_file_string(file, key);
    if (!text || aac_load_key(file, key, value))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_FORMAT,
                     "%s: metadata %s: expected 16 hexadecimal digits, found %.*s",
                     aac_tensor_file_path(file), key, aac_utf8_excerpt(text, 40), text);
}
