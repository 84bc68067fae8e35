/* What training changes: the adapters of one tower as plain float32 matrices, on no backend. */
#ifndef AAC_TRAIN_PARAMETERS_H
#define AAC_TRAIN_PARAMETERS_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/config.h>

typedef enum aac_adapter_side { AAC_SIDE_TEXT, AAC_SIDE_IMAGE } aac_adapter_side;

/* A weight and Adam's running means of its gradient and of the gradient's square. */
typedef struct aac_parameter {
    char name[96]; /* in the adapters' state dict: "layer_adapters.0.fc1.weight" */
    /* A projection's other name, with or without an activation in its sequence; else "". */
    char other_name[96];
    int64_t rows, columns;
    float *value, *exp_avg, *exp_avg_sq; // (rows, columns) each
} aac_parameter;

/* In the order of PyTorch's parameters(), which is also that of the optimizer's state. */
typedef struct aac_parameter_set {
    aac_adapter_side side;
    aac_parameter *items;
    size_t count;
} aac_parameter_set;

/*
 * All zeros, named and shaped for a configuration whose layer and level counts are resolved.
 * `width` of the side's tower, `embedding` of the model.
 */
aaclip_status aac_parameters_make(aac_parameter_set *set, aac_adapter_side side,
                                  const aaclip_config *config, int64_t width, int64_t embedding);
void aac_parameters_clear(aac_parameter_set *set);

/* rows * columns */
size_t aac_parameter_elements(const aac_parameter *parameter);

#endif
