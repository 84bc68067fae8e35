/* A tensor index that stores nothing but reads all data it is given, for sanitizers to check. */
#include "touching_index.h"

#include <stdlib.h>
#include <string.h>

/* Larger tensors are read only at their ends, to keep runs short. */
#define MOST_ELEMENTS 65536

aaclip_status aac_index_tensor(aac_tensor_index *index, const char *name, const aac_tensor *tensor)
{
    int64_t elements = aac_tensor_elements(tensor);
    aac_tensor part = *tensor;
    if (elements > MOST_ELEMENTS) {
        for (int i = 0; i < part.rank; i++) { /* the first and the last element */
            part.stride[i] *= part.shape[i] - 1;
            part.shape[i] = part.shape[i] < 2 ? part.shape[i] : 2;
        }
        elements = aac_tensor_elements(&part);
    }
    float *values = malloc((size_t)(elements + 1) * sizeof *values);
    if (!values)
        return AACLIP_ERROR_OUT_OF_MEMORY;
    aac_tensor_to_f32(&part, values);
    for (int64_t i = 0; i < elements; i++)
        index->sum += values[i];
    index->sum += (float)strlen(name);
    free(values);
    return AACLIP_OK;
}

aaclip_status aac_index_number(aac_tensor_index *index, const char *name, double value)
{
    index->sum += (float)(value != 0) + (float)strlen(name);
    return AACLIP_OK;
}

aaclip_status aac_index_string(aac_tensor_index *index, const char *name, const char *value,
                               size_t length)
{
    index->sum += (float)(strlen(name) + strlen(value) + length);
    return AACLIP_OK;
}
