#include "model/fingerprint.h"

#include <string.h>

/* FNV-1a, 64 bits: keys tell files apart; they do not protect against forgery. */
aac_fingerprint aac_fingerprint_start(void)
{
    return (aac_fingerprint){0xcbf29ce484222325u};
}

void aac_fingerprint_bytes(aac_fingerprint *fingerprint, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        fingerprint->value = (fingerprint->value ^ at[i]) * 0x100000001b3u;
}

static float element(const aac_tensor *tensor, int64_t index)
{
    int64_t offset = 0;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        offset += index % tensor->shape[i] * tensor->stride[i];
        index /= tensor->shape[i];
    }
    aac_tensor one = {.dtype = tensor->dtype, .data = tensor->data};
    one.data = (const char *)tensor->data + offset * (int64_t)aac_dtype_size(tensor->dtype);
    float value;
    aac_tensor_to_f32(&one, &value);
    return value;
}

void aac_fingerprint_tensor(aac_fingerprint *fingerprint, const aac_tensor *tensor, int64_t samples,
                            bool exact)
{
    aac_fingerprint_bytes(fingerprint, tensor->shape, (size_t)tensor->rank * sizeof(int64_t));
    int64_t elements = aac_tensor_elements(tensor);
    samples = samples < elements ? samples : elements;
    for (int64_t i = 0; i < samples; i++) {
        int64_t index =
            samples > 1 ? (int64_t)((double)(elements - 1) * (double)i / (double)(samples - 1)) : 0;
        float value = element(tensor, index);
        uint16_t rounded = aac_f32_to_f16(value);
        if (exact)
            aac_fingerprint_bytes(fingerprint, &value, sizeof value);
        else
            aac_fingerprint_bytes(fingerprint, &rounded, sizeof rounded);
    }
}
