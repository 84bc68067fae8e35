/* Memory of one reader: handed out piece by piece, freed all at once. */
#ifndef AAC_FILES_ARENA_H
#define AAC_FILES_ARENA_H

#include <stddef.h>

/* All zero is an empty arena. */
typedef struct aac_arena {
    struct aac_arena_chunk *chunks;
    unsigned char *next;
    size_t left;
} aac_arena;

/* Aligned for any scalar; not cleared. NULL when out of memory. */
void *aac_arena_alloc(aac_arena *arena, size_t size);
/* A copy of `length` bytes, zero-terminated. NULL when out of memory. */
char *aac_arena_text(aac_arena *arena, const void *bytes, size_t length);
void aac_arena_clear(aac_arena *arena);

#endif
