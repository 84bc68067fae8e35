/* Collects the contents of a safetensors file. */
#ifndef AAC_MODEL_SAVE_H
#define AAC_MODEL_SAVE_H

#include <aaclip/config.h>

#include "files/tensor_file.h"

/* Owns names, keys, values and copies; tensors' data belong to the caller and must outlive the
 * list. */
typedef struct aac_save_list {
    aac_tensor_source *tensors;
    size_t tensor_count, tensor_capacity;
    aac_metadata *metadata;
    size_t metadata_count, metadata_capacity;
    void **owned;
    size_t owned_count, owned_capacity;
} aac_save_list;

/* `name` is copied. */
aaclip_status aac_save_tensor(aac_save_list *list, const char *name, const aac_tensor *tensor,
                              aac_dtype stored_as);
/* A float32 vector or matrix that is copied. */
aaclip_status aac_save_floats(aac_save_list *list, const char *name, const float *values,
                              int64_t rows, int64_t columns);
/* The list frees `pointer` (from aac_alloc) when it is cleared, even if this call fails. */
aaclip_status aac_save_keep(aac_save_list *list, void *pointer);
/* Both are copied; a NULL value means that the caller ran out of memory making it. */
aaclip_status aac_save_text(aac_save_list *list, const char *key, const char *value);
/* The value as 16 hexadecimal digits. */
aaclip_status aac_save_key(aac_save_list *list, const char *key, uint64_t value);
/* All fields, as aaclip.config. */
aaclip_status aac_save_config(aac_save_list *list, const aaclip_config *config);

aaclip_status aac_save_write(const aac_save_list *list, const char *path);
void aac_save_clear(aac_save_list *list);

/* Reads what aac_save_key wrote; false, with *value unchanged, if absent or malformed. */
bool aac_load_key(const aac_tensor_file *file, const char *key, uint64_t *value);
/* The same for an optional key: FORMAT if it is malformed. */
aaclip_status aac_load_optional_key(const aac_tensor_file *file, const char *key, uint64_t *value);

#endif
