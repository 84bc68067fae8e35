/* Allocation through the user's hooks. Every pointer is 64-byte aligned and freed with aac_free. */
#ifndef AAC_CORE_MEMORY_H
#define AAC_CORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>

#define AAC_ALIGNMENT 64

/* Rounds up, so that the next part of a block is also aligned. */
static inline size_t aac_align(size_t size)
{
    return (size + AAC_ALIGNMENT - 1) / AAC_ALIGNMENT * AAC_ALIGNMENT;
}

/* NULL when out of memory, beyond the memory limit, or if count * size overflows. A size of 0 gives
 * a unique pointer. */
void *aac_alloc(size_t size);
void *aac_alloc_array(size_t count, size_t size);
void *aac_calloc(size_t count, size_t size);
void *aac_realloc(void *pointer, size_t size);
/* The array with room for `needed` items, and for more if it had to grow; NULL on failure, with the
 * array unchanged. */
void *aac_grow(void *items, size_t *capacity, size_t needed, size_t item_size);
void aac_free(void *pointer);
/* After a lot was freed: lets it leave the process, unless the program has its own allocator. */
void aac_release_freed(void);

char *aac_strdup(const char *text);
/* A new string from a printf format; NULL when out of memory. */
char *aac_format(const char *format, ...) AACLIP_PRINTF(1, 2);

/* An allocation that would have exceeded the limit, for the error text. */
typedef struct aac_refusal {
    uint64_t needed, /* bytes in total, including it */
        limit;       /* 0: nothing was refused */
} aac_refusal;

/* Whether the limit refused this thread's last failed allocation; resets the record. */
aac_refusal aac_alloc_take_refusal(void);

/* false if the result overflows. */
bool aac_size_add(size_t *result, size_t a, size_t b);
bool aac_size_multiply(size_t *result, size_t a, size_t b);

#endif
