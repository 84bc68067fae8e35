#include "core/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/status.h>

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

/* Stands directly before every pointer handed out. */
struct allocation {
    void *base;
    size_t size;
};

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

void *aac_alloc(size_t size)
{
    size_t total;
    if (!aac_size_add(&total, size, 2 * AAC_ALIGNMENT))
        return NULL;
    void *base = allocator.allocate(total, allocator.user);
    if (!base)
        return NULL;
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
    return aac_size_multiply(&total, count, size) ? aac_alloc(total) : NULL;
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

void aac_free(void *pointer)
{
    if (pointer)
        allocator.deallocate(header_of(pointer)->base, allocator.user);
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
