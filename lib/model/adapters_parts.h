/* Internals of an adapter set, shared by the code that reads one from files or makes one from
 * memory. */
#ifndef AAC_MODEL_ADAPTERS_PARTS_H
#define AAC_MODEL_ADAPTERS_PARTS_H

#include <stdatomic.h>

#include "files/tensor_file.h"
#include "model/adapters.h"

#define AAC_ADAPTER_FILES 2

struct aaclip_adapters {
    atomic_int references;
    aaclip_model *model;
    aaclip_config config;
    aac_tensor_file *files[AAC_ADAPTER_FILES]; /* that the tensors point into; else */
    size_t file_count;
    float *values; /* memory of their own; else the caller's (training) */
    char *names;
    aac_adapter_tower text, image;
    uint64_t text_fingerprint;
};

/* Packs the tower's tensors, or repacks them. */
aaclip_status aac_adapter_tower_pack(aac_adapter_tower *tower, const aaclip_model *model);
/* Of up to `samples` values of each tensor. */
uint64_t aac_adapter_tower_fingerprint(const aac_adapter_tower *tower, int64_t samples);
/* A key of its weights; 0 if there are none. */
uint64_t aac_adapter_tower_key(const aac_adapter_tower *tower);

#endif
