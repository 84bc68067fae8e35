/* Adapter sets inside the library: the tensors as read, and packed for the backend. */
#ifndef AAC_MODEL_ADAPTERS_H
#define AAC_MODEL_ADAPTERS_H

#include <aaclip/adapters.h>

#include "model/block.h"

#define AAC_CALIBRATION_KEY "aaclip.calibration" /* in a file's metadata */

/* The residual adapter after a block: bottleneck (two matrices) or linear (`second` unused). */
typedef struct aac_layer_adapter {
    aac_tensor first_tensor, second_tensor;
    aac_weight *first, *second;
} aac_layer_adapter;

typedef struct aac_projection {
    aac_tensor tensor;
    aac_weight *weight; // (embedding, width)
} aac_projection;

/* The trained modules of one tower. */
typedef struct aac_adapter_tower {
    bool present;
    uint32_t layer_count;
    aac_layer_adapter *layers;
    uint32_t projection_count; /* text: 1; image: one per level */
    aac_projection projections[AACLIP_MAX_LEVELS];
    aac_projection detection;    /* image only */
    const aac_tensor_file *file; /* the tensors' file, if they come from one */
    aac_tensor_file *packed;     /* the file that holds the packed weights, or NULL */
} aac_adapter_tower;

const aac_adapter_tower *aac_adapters_text(const aaclip_adapters *adapters);
const aac_adapter_tower *aac_adapters_image(const aaclip_adapters *adapters);
const aaclip_config *aac_adapters_config(const aaclip_adapters *adapters);
/* Of the text modules, for the key of the text cache; 0 if there are none. */
uint64_t aac_adapters_text_fingerprint(const aaclip_adapters *adapters);
/* Of the image adapters; 0 for NULL or without any. */
uint64_t aac_adapters_image_fingerprint(const aaclip_adapters *adapters);
/* MISMATCH unless the adapters are NULL or were opened with this handle: they are packed for it. */
aaclip_status aac_adapters_check_model(const aaclip_adapters *adapters, const aaclip_model *model);
/*
 * Adapters of one tower from matrices in memory, in the order of its modules: those of the layers
 * (one or two each), the projections, for images the detection projection. The tensors have names
 * within the adapters ("layer_adapters.0.fc1.weight"). With `copy` values are copied, else they are
 * read in place, and aac_adapters_refresh repacks them after a change.
 */
aaclip_status aac_adapters_make(aaclip_adapters **adapters, const aaclip_model *model,
                                const aaclip_config *config, bool text, const aac_tensor *tensors,
                                size_t count, bool copy);
/* The key of the text adapters that image adapters were trained with. */
void aac_adapters_set_text_fingerprint(aaclip_adapters *adapters, uint64_t fingerprint);
/* For adapters that nobody else uses. `values`: all matrices in order, contiguous in device memory,
 * used instead of the tensors' own values; the text fingerprint is still that of the tensors. */
aaclip_status aac_adapters_refresh(aaclip_adapters *adapters, const float *values);
/* The calibration's JSON from the first file that has one, and that file's path; NULL: none. */
const char *aac_adapters_calibration(const aaclip_adapters *adapters, const char **path);
struct aac_save_list;
/* Adds tensors and metadata, except the calibration, to a safetensors list. */
aaclip_status aac_adapters_save_entries(const aaclip_adapters *adapters, struct aac_save_list *list,
                                        bool with_text);
/* Adds the calibration, if there is one. */
aaclip_status aac_adapters_save_calibration(const aaclip_adapters *adapters,
                                            struct aac_save_list *list);
aaclip_adapters *aac_adapters_retain(const aaclip_adapters *adapters); /* NULL stays NULL */

/* The adapter step of a tower, planned for its rows. */
typedef struct aac_adapter_plan {
    aac_plan *convert, *first, *second, *blend; /* convert, second: NULL when not needed */
} aac_adapter_plan;

aaclip_status aac_adapter_plan_make(aac_adapter_plan *plan, const aaclip_config *config,
                                    const aac_block_shape *shape, float weight,
                                    const aac_dispatch *dispatch);
void aac_adapter_plan_clear(aac_adapter_plan *plan);
size_t aac_adapter_scratch(const aac_adapter_plan *plan);

/* What a run leaves for its backward run, in device memory. */
typedef struct aac_adapter_tape {
    float *x;       // (rows, width): the input
    void *middle;   // (rows, width / 2), type: bottleneck only
    float *adapted; // (rows, width): before the blend
} aac_adapter_tape;

/* y = w * adapted * |x| / |adapted| + (1 - w) * x for each row of x (rows, width); y may be x.
 * `tape`, which may be NULL, receives all but x. */
aaclip_status aac_adapter_run(const aac_adapter_plan *plan, const aac_layer_adapter *adapter,
                              const float *x, float *y, const aac_block_memory *memory,
                              const aac_adapter_tape *tape);

#endif
