#include "arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/status.h>
#include <jansson.h>
#include <sanitizer/asan_interface.h>

#include "core/memory.h"

#define LARGE     ((size_t)1 << 20) /* from here on malloc, as for whatever finds no room */
#define MOST_FILL 4096              /* as in AddressSanitizer */
#define UNCHECKED __attribute__((no_sanitize("address")))

/* Poisoned, like the free space after a block; sixteen bytes, to keep the next block aligned. */
typedef struct block_header {
    uint64_t size, mark;
} block_header;

#define TAKEN 0x5bd1e995a11cdb10u

static _Alignas(AAC_ALIGNMENT) uint8_t arena[(size_t)64 << 20];
static size_t used, blocks; /* bytes; blocks not yet freed */

static void *take_large(size_t size)
{
    void *block = malloc(size);
    blocks += block != NULL;
    return block;
}

/* `size` bytes at an address that is `remainder` above a multiple of `alignment`. */
UNCHECKED static void *take(size_t size, size_t alignment, size_t remainder)
{
    const size_t lowest = used + sizeof(block_header) - remainder + alignment - 1;
    const size_t begin = lowest / alignment * alignment + remainder;
    uint8_t *block = arena + begin;
    *((block_header *)block - 1) = (block_header){size, TAKEN};
    used = (begin + size + sizeof(block_header) - 1) / sizeof(block_header) * sizeof(block_header);
    blocks++;
    ASAN_UNPOISON_MEMORY_REGION(block, size);
    memset(block, 0xbe, size < MOST_FILL ? size : MOST_FILL);
    return block;
}

static bool has_room(size_t size)
{
    return size <= LARGE && used + size + 4 * AAC_ALIGNMENT <= sizeof arena;
}

static void *allocate(size_t size)
{
    return has_room(size) ? take(size, sizeof(block_header), 0) : take_large(size);
}

/* The library aligns a part of these, after its own sixteen bytes, and leaves the rest unused. */
static void *allocate_aligned(size_t size, void *user)
{
    (void)user;
    return has_room(size) ? take(size - 2 * AAC_ALIGNMENT + 16, AAC_ALIGNMENT, AAC_ALIGNMENT - 16)
                          : take_large(size);
}

UNCHECKED static void deallocate(void *block)
{
    if (!block)
        return;
    blocks--;
    if ((uint8_t *)block < arena || (uint8_t *)block >= arena + sizeof arena) {
        free(block);
        return;
    }
    block_header *header = (block_header *)block - 1;
    if (header->mark != TAKEN) {
        fprintf(stderr, "%p: freed twice, or never taken\n", block);
        abort();
    }
    header->mark = 0;
    ASAN_POISON_MEMORY_REGION(block, header->size);
}

static void deallocate_aligned(void *block, void *user)
{
    (void)user;
    deallocate(block);
}

void arena_start(void)
{
    static const aaclip_allocator library = {allocate_aligned, deallocate_aligned, NULL};
    ASAN_POISON_MEMORY_REGION(arena, sizeof arena);
    aaclip_set_allocator(&library);
    json_set_alloc_funcs(allocate, deallocate);
}

void arena_reset(void)
{
    if (blocks) {
        fprintf(stderr, "%zu blocks were not freed\n", blocks);
        abort();
    }
    used = 0;
}
