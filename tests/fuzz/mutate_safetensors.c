/* Mutates header or data of a safetensors file; the header's length stays valid, and mostly the
 * tensors' offsets, too. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/json_text.h"
#include "core/memory.h"
#include "files/bytes.h"
#include "mutate.h"

#define MOST_BYTES (1 << 16)

static size_t element_size(const json_t *tensor)
{
    const char *type = json_string_value(json_object_get(tensor, "dtype"));
    size_t bits = 8;
    if (type && strpbrk(type, "123456"))
        bits = (size_t)strtoul(strpbrk(type, "123456"), NULL, 10);
    return bits >= 8 ? bits / 8 : 1;
}

/* Bytes of a tensor; MOST_BYTES or more if it is too large. */
static size_t tensor_size(const json_t *tensor)
{
    size_t size = element_size(tensor), index;
    json_t *dimension;
    json_array_foreach(json_object_get(tensor, "shape"), index, dimension)
    {
        json_int_t count = json_integer_value(dimension);
        if (count < 0 || count > MOST_BYTES || (size_t)count * size > MOST_BYTES)
            return MOST_BYTES;
        size *= (size_t)count;
    }
    return size;
}

/* Places the tensors one after another according to their shapes; returns the end of the last. */
static size_t place_tensors(json_t *header)
{
    const char *key;
    json_t *tensor;
    size_t end = 0;
    json_object_foreach(header, key, tensor)
    {
        if (strcmp(key, "__metadata__") == 0 || !json_is_object(tensor))
            continue;
        size_t begin = end;
        end += tensor_size(tensor);
        if (end >= MOST_BYTES)
            return MOST_BYTES;
        json_object_set_new(tensor, "data_offsets",
                            json_pack("[I, I]", (json_int_t)begin, (json_int_t)end));
    }
    return end;
}

static size_t join(uint8_t *data, size_t capacity, const char *header, size_t length,
                   const uint8_t *tensors, size_t size)
{
    if (8 + length + size > capacity)
        return 0;
    memmove(data + 8 + length, tensors, size);
    memmove(data + 8, header, length);
    aac_write_u64(data, length);
    return 8 + length + size;
}

/* Writes the text as it is or, if it is JSON, with the tensors placed anew. */
static size_t write_file(uint8_t *data, size_t capacity, const char *text, size_t length,
                         uint8_t *tensors, size_t size, bool placed)
{
    json_t *header = placed ? json_loadb(text, length, 0, NULL) : NULL;
    size_t end = json_is_object(header) ? place_tensors(header) : MOST_BYTES, written = 0;
    char *anew = end < MOST_BYTES ? aac_json_text(header, JSON_COMPACT) : NULL;
    if (anew && end > size)
        memset(tensors + size, 1, end - size);
    if (anew)
        written = join(data, capacity, anew, strlen(anew), tensors, end);
    aac_free(anew);
    json_decref(header);
    return written ? written : join(data, capacity, text, length, tensors, size);
}

size_t fuzz_mutate_safetensors(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    static char text[MOST_BYTES];
    static uint8_t tensors[MOST_BYTES];
    uint64_t length = size > 8 ? aac_read_u64(data) : 0;
    if (!length || length > size - 8 || size > MOST_BYTES / 2 || data[8] != '{')
        return 0;
    size_t rest = size - 8 - (size_t)length;
    memcpy(text, data + 8, (size_t)length);
    memcpy(tensors, data + 8 + length, rest);
    if (seed % 4 == 0)
        rest = LLVMFuzzerMutate(tensors, rest, sizeof tensors / 2);
    else
        length = LLVMFuzzerMutate((uint8_t *)text, (size_t)length, sizeof text / 2);
    return write_file(data, capacity, text, (size_t)length, tensors, rest, seed % 4 > 1);
}
