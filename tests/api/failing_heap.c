#include "failing_heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <aaclip/status.h>

#define EARLY 60 /* the first allocations of a call, each of which fails in turn */
#define LATER 20 /* of the further ones, about so many */

static struct {
    atomic_int made, open;
    int fail_at;
    bool fail_after;
} heap = {.fail_at = -1};

void *heap_allocate(size_t size, void *user)
{
    (void)user;
    int number = atomic_fetch_add(&heap.made, 1);
    if (heap.fail_at >= 0 && (number == heap.fail_at || (number > heap.fail_at && heap.fail_after)))
        return NULL;
    void *pointer = malloc(size);
    if (pointer)
        atomic_fetch_add(&heap.open, 1);
    return pointer;
}

void heap_free(void *pointer, void *user)
{
    (void)user;
    if (!pointer)
        return;
    atomic_fetch_sub(&heap.open, 1);
    free(pointer);
}

void heap_install(void)
{
    aaclip_set_allocator(&(aaclip_allocator){heap_allocate, heap_free, NULL});
}

int heap_open_count(void)
{
    return heap.open;
}

void heap_arm(int fail_at, bool fail_after)
{
    heap.made = 0;
    heap.fail_after = fail_after;
    heap.fail_at = fail_at;
}

int heap_disarm(void)
{
    heap.fail_at = -1;
    return heap.made;
}

void fail_each_allocation(const char *name, heap_run run, const void *user)
{
    int total = run(-1, false, user);
    bool every = getenv("AACLIP_TEST_EVERY_ALLOCATION") != NULL;
    int pace = !every && total > EARLY + LATER ? (total - EARLY + LATER - 1) / LATER : 1;
    print_message("%-32s %5d allocations\n", name, total);
    for (int i = 0; i < total; i += i < EARLY ? 1 : pace) {
        run(i, false, user);
        run(i, true, user);
    }
}
