/* Feeds bytes to the safetensors reader and reads every tensor that it reports. */
#include "fuzz.h"
#include "touching_index.h"

void fuzz_one(const uint8_t *data, size_t size)
{
    aac_tensor_index index = {0};
    const aac_mapping file = {.data = data, .size = size};
    aac_safetensors_read(&index, &file);
}

size_t fuzz_prefix(const uint8_t *data, size_t size)
{
    (void)data, (void)size;
    return 0;
}
