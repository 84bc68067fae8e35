/* Mutates an input that is a tensor file, possibly after a prefix. */
#include <string.h>

#include "fuzz.h"
#include "mutate.h"

/* A prefix of more than two bytes begins with the number of bytes that follow. */
static size_t mutate_prefix(uint8_t *data, size_t size, size_t capacity, size_t prefix)
{
    uint8_t text[4096];
    size_t count = prefix - 2, rest = size - prefix;
    if (count > sizeof text)
        return 0;
    memcpy(text, data + 2, count);
    size_t room = capacity - 2 - rest;
    count = LLVMFuzzerMutate(text, count, room < sizeof text ? room : sizeof text);
    memmove(data + 2 + count, data + prefix, rest);
    memcpy(data + 2, text, count);
    data[0] = (uint8_t)count;
    data[1] = (uint8_t)(count >> 8);
    return 2 + count + rest;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    size_t prefix = fuzz_prefix(data, size), mutated = 0;
    unsigned choice = seed % 8;
    if (prefix > 2 && prefix <= size && choice == 1)
        mutated = mutate_prefix(data, size, capacity, prefix);
    if (prefix <= size && choice > 1) {
        mutated = fuzz_mutate_zip(data + prefix, size - prefix, capacity - prefix, seed / 8);
        if (!mutated)
            mutated =
                fuzz_mutate_safetensors(data + prefix, size - prefix, capacity - prefix, seed / 8);
        mutated += mutated ? prefix : 0;
    }
    return mutated ? mutated : LLVMFuzzerMutate(data, size, capacity);
}
