#include "files/arena.h"

#include <string.h>

#include "core/memory.h"

#define CHUNK_SIZE 65536
#define GRANULE    16 /* keeps every piece aligned */

struct aac_arena_chunk {
    struct aac_arena_chunk *previous;
    _Alignas(GRANULE) unsigned char bytes[];
};

void *aac_arena_alloc(aac_arena *arena, size_t size)
{
    size_t rounded;
    if (!aac_size_add(&rounded, size, GRANULE - 1))
        return NULL;
    rounded &= ~(size_t)(GRANULE - 1);
    if (rounded > arena->left || !arena->next) {
        size_t room = rounded > CHUNK_SIZE ? rounded : CHUNK_SIZE, total;
        if (!aac_size_add(&total, room, sizeof(struct aac_arena_chunk)))
            return NULL;
        struct aac_arena_chunk *chunk = aac_alloc(total);
        if (!chunk)
            return NULL;
        chunk->previous = arena->chunks;
        arena->chunks = chunk;
        arena->next = chunk->bytes;
        arena->left = room;
    }
    void *piece = arena->next;
    arena->next += rounded;
    arena->left -= rounded;
    return piece;
}

char *aac_arena_text(aac_arena *arena, const void *bytes, size_t length)
{
    size_t size;
    if (!aac_size_add(&size, length, 1))
        return NULL;
    char *text = aac_arena_alloc(arena, size);
    if (!text)
        return NULL;
    if (length)
        memcpy(text, bytes, length);
    text[length] = '\0';
    return text;
}

void aac_arena_clear(aac_arena *arena)
{
    while (arena->chunks) {
        struct aac_arena_chunk *previous = arena->chunks->previous;
        aac_free(arena->chunks);
        arena->chunks = previous;
    }
    *arena = (aac_arena){0};
}
