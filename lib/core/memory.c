#include "core/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/status.h>

#include "core/limits.h"
#include "core/platform.h"

#define LARGE ((size_t)4 << 20) /* worth asking for large pages */

static void *default_allocate(size_t size, void *user)
{
    (void)user;
    return malloc(size);
}

static void default_deallocate(void *pointer, void *user)
{
    (void)user;
    free(pointer);
}

static aaclip_allocator allocator = {default_allocate, default_deallocate, NULL};

/* Precedes every pointer handed out. */
struct allocation {
    void *base;
    size_t size;
};

#define OVERHEAD ((size_t)2 * AAC_ALIGNMENT) /* per allocation */

static _Atomic uint64_t held; /* bytes, by this allocator */
static AAC_THREAD_LOCAL aac_refusal refusal;

_Static_assert(sizeof(struct allocation) <= AAC_ALIGNMENT, "the header must fit its gap");

void aaclip_set_allocator(const aaclip_allocator *replacement)
{
    allocator =
        replacement ? *replacement : (aaclip_allocator){default_allocate, default_deallocate, NULL};
}

bool aac_size_add(size_t *result, size_t a, size_t b)
{
    return !__builtin_add_overflow(a, b, result);
}

bool aac_size_multiply(size_t *result, size_t a, size_t b)
{
    return !__builtin_mul_overflow(a, b, result);
}

static struct allocation *header_of(void *pointer)
{
    return (struct allocation *)pointer - 1;
}

/* Fails an allocation for a reason other than the limit. */
static void *fail(void)
{
    refusal = (aac_refusal){0};
    return NULL;
}

/* Counts the bytes if the limit allows them. */
static bool take(uint64_t bytes)
{
    const uint64_t limit = aac_limit(AAC_LIMIT_MEMORY_BYTES);
    uint64_t before = atomic_load_explicit(&held, memory_order_relaxed);
    do {
        if (before > limit || bytes > limit - before) {
            const bool counts = bytes <= UINT64_MAX - before;
            refusal = counts ? (aac_refusal){before + bytes, limit} : (aac_refusal){0};
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&held, &before, before + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void give_back(uint64_t bytes)
{
    atomic_fetch_sub_explicit(&held, bytes, memory_order_relaxed);
}

aac_refusal aac_alloc_take_refusal(void)
{
    const aac_refusal last = refusal;
    refusal = (aac_refusal){0};
    return last;
}

void *aac_alloc(size_t size)
{
    size_t total;
    if (!aac_size_add(&total, size, OVERHEAD))
        return fail();
    if (!take(total))
        return NULL;
    void *base = allocator.allocate(total, allocator.user);
    if (!base) {
        give_back(total);
        return fail();
    }
    if (total >= LARGE)
        aac_prefer_large_pages(base, total);
    uintptr_t address = (uintptr_t)base + sizeof(struct allocation);
    address = (address + AAC_ALIGNMENT - 1) & ~(uintptr_t)(AAC_ALIGNMENT - 1);
    void *pointer = (char *)base + (address - (uintptr_t)base);
    *header_of(pointer) = (struct allocation){base, size};
    return pointer;
}

void *aac_alloc_array(size_t count, size_t size)
{
    size_t total;
    return aac_size_multiply(&total, count, size) ? aac_alloc(total) : fail();
}

void *aac_calloc(size_t count, size_t size)
{
    void *pointer = aac_alloc_array(count, size);
    if (pointer)
        memset(pointer, 0, count * size);
    return pointer;
}

void *aac_realloc(void *pointer, size_t size)
{
    if (!pointer)
        return aac_alloc(size);
    void *moved = aac_alloc(size);
    if (!moved)
        return NULL;
    size_t old = header_of(pointer)->size;
    memcpy(moved, pointer, old < size ? old : size);
    aac_free(pointer);
    return moved;
}

void *aac_grow(void *items, size_t *capacity, size_t needed, size_t item_size)
{
    if (needed <= *capacity)
        return items;
    size_t larger = *capacity ? *capacity : 32, size;
    if (!aac_size_multiply(&larger, larger, 2) || larger < needed)
        larger = needed;
    void *moved = aac_size_multiply(&size, larger, item_size) ? aac_realloc(items, size) : fail();
    if (moved)
        *capacity = larger;
    return moved;
}

void aac_free(void *pointer)
{
    if (!pointer)
        return;
    const struct allocation freed = *header_of(pointer);
    allocator.deallocate(freed.base, allocator.user);
    give_back(freed.size + OVERHEAD);
}

void aac_release_freed(void)
{
    if (allocator.deallocate == default_deallocate)
        aac_heap_trim();
}

char *aac_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = aac_alloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

char *aac_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return NULL;
    char *text = aac_alloc((size_t)length + 1);
    if (!text)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}
