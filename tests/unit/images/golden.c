#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <zlib.h>

#include <aaclip/status.h>

FILE *golden_open(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/images/%s", GOLDEN_DIR, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("no golden file %s", path);
    return file;
}

uint8_t *golden_bytes(const char *name, size_t *size)
{
    FILE *file = golden_open(name);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

uint32_t golden_crc(const void *bytes, size_t size)
{
    return (uint32_t)crc32(0, bytes, (uInt)size);
}

void fill_noise(uint8_t *bytes, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t x = ((uint32_t)i + seed) * 2654435761u;
        x ^= x >> 15;
        x *= 2246822519u;
        x ^= x >> 13;
        bytes[i] = (uint8_t)(x >> 16);
    }
}

static long allocations_left;
static int refused;

static void *allocate(size_t size, void *user)
{
    (void)user;
    if (allocations_left-- > 0)
        return malloc(size);
    refused = 1;
    return NULL;
}

static void deallocate(void *pointer, void *user)
{
    (void)user;
    free(pointer);
}

void fail_allocations_after(long count)
{
    static const aaclip_allocator failing = {allocate, deallocate, NULL};
    allocations_left = count;
    refused = 0;
    aaclip_set_allocator(&failing);
}

int stop_failing_allocations(void)
{
    aaclip_set_allocator(NULL);
    return refused;
}
