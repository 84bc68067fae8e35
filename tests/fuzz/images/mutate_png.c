/* Mutates PNG files with correct chunk checksums, and pixels inside the zlib stream. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../mutate.h"

enum { SIGNATURE = 8, CHUNK = 12, LARGEST = 1 << 16 };

static uint32_t read_be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void write_be32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static bool is_png(const uint8_t *data, size_t size)
{
    return size >= SIGNATURE && memcmp(data, "\x89PNG\r\n\x1a\n", SIGNATURE) == 0;
}

/* Repairs the checksum of every chunk in the file. */
static void repair_checksums(uint8_t *data, size_t size)
{
    for (size_t at = SIGNATURE; at + CHUNK <= size;) {
        uint32_t length = read_be32(data + at);
        if (length > size - at - CHUNK)
            return;
        write_be32(data + at + 8 + length, (uint32_t)crc32(0, data + at + 4, length + 4));
        at += CHUNK + length;
    }
}

/* The first IDAT chunk; 0 if there is none. */
static size_t find_pixels(const uint8_t *data, size_t size, uint32_t *length)
{
    for (size_t at = SIGNATURE; at + CHUNK <= size; at += CHUNK + *length) {
        *length = read_be32(data + at);
        if (*length > size - at - CHUNK)
            return 0;
        if (memcmp(data + at + 4, "IDAT", 4) == 0)
            return at;
    }
    return 0;
}

/* Mutates filters and rows of a file that has them in one chunk. */
static size_t mutate_rows(uint8_t *data, size_t size, size_t capacity)
{
    static uint8_t rows[LARGEST], packed[LARGEST + 1024], tail[LARGEST];
    uint32_t length = 0;
    size_t at = find_pixels(data, size, &length);
    uLongf count = LARGEST, packed_size = sizeof packed;
    if (!at || uncompress(rows, &count, data + at + 8, length) != Z_OK)
        return 0;
    count = LLVMFuzzerMutate(rows, count, LARGEST);
    size_t rest = size - at - CHUNK - length;
    if (compress2(packed, &packed_size, rows, count, 1) != Z_OK || rest > LARGEST ||
        at + CHUNK + packed_size + rest > capacity)
        return 0;
    memcpy(tail, data + size - rest, rest);
    write_be32(data + at, (uint32_t)packed_size);
    memcpy(data + at + 8, packed, packed_size);
    memcpy(data + at + CHUNK + packed_size, tail, rest);
    return at + CHUNK + packed_size + rest;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    size_t mutated = 0;
    if (is_png(data, size) && seed % 4 == 1)
        mutated = mutate_rows(data, size, capacity);
    if (!mutated)
        mutated = LLVMFuzzerMutate(data, size, capacity);
    if (is_png(data, mutated) && seed % 4)
        repair_checksums(data, mutated);
    return mutated;
}
