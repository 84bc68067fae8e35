/* Allocation through the user's hooks. Every pointer is 64-byte aligned and freed with aac_free. */
#ifndef AAC_CORE_MEMORY_H
#define AAC_CORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>

#define AAC_ALIGNMENT 64

/* The size of a part of a block whose next part is aligned, too. */
static inline size_t aac_align(size_t size)
{
    return (size + AAC_ALIGNMENT - 1) / AAC_ALIGNMENT * AAC_ALIGNMENT;
}

/* NULL when out of memory, beyond the limit of it, or when count * size overflows. A size of 0
 * gives a unique pointer. */
void *aac_alloc(size_t size);
void *aac_alloc_array(size_t count, size_t size);
void *aac_calloc(size_t count, size_t size);
void *aac_realloc(void *pointer, size_t size);
/* An array with room for `needed` items, and for more to come where it had to grow; NULL, and it
 * stays, when that fails. */
void *aac_grow(void *items, size_t *capacity, size_t needed, size_t item_size);
void aac_free(void *pointer);

char *aac_strdup(const char *text);
/* A new string from a printf format; NULL when out of memory. */
char *aac_format(const char *format, ...) AACLIP_PRINTF(1, 2);

/* An allocation that would have passed the limit, for the text of the error. */
typedef struct aac_refusal {
    uint64_t needed, /* bytes in all with it */
        limit;       /* 0: nothing was refused */
} aac_refusal;

/* Whether the last allocation that failed in this thread was refused; asked for once. */
aac_refusal aac_alloc_take_refusal(void);

/* false when the result does not fit. */
bool aac_size_add(size_t *result, size_t a, size_t b);
bool aac_size_multiply(size_t *result, size_t a, size_t b);

#endif
