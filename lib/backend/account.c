#include "backend/account.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "core/memory.h"
#include "core/static_lock.h"

typedef struct allocation {
    struct allocation *next;
    void *memory;
    size_t bytes;
    int device;
} allocation;

static aac_static_lock guard; /* each store under it leaves the accounts whole */
static allocation *allocations;
static struct {
    uint64_t limit, used;
} accounts[AAC_ACCOUNTS];

static int index_of(int device)
{
    return device < AAC_ACCOUNTS ? device : AAC_ACCOUNTS - 1;
}

/* Counts the bytes if the limit allows them. */
static bool take(int device, size_t bytes)
{
    aac_static_lock_take(&guard);
    uint64_t limit = accounts[index_of(device)].limit, used = accounts[index_of(device)].used;
    bool may = !limit || (used <= limit && bytes <= limit - used);
    if (may)
        accounts[index_of(device)].used += bytes;
    aac_static_lock_release(&guard);
    return may;
}

static void give_back(int device, size_t bytes)
{
    aac_static_lock_take(&guard);
    accounts[index_of(device)].used -= bytes;
    aac_static_lock_release(&guard);
}

void *aac_account_allocate(int device, size_t bytes, void *(*allocate)(size_t bytes))
{
    if (!take(device, bytes))
        return NULL;
    allocation *made = aac_alloc(sizeof *made);
    void *memory = made ? allocate(bytes) : NULL;
    if (!memory) {
        aac_free(made);
        give_back(device, bytes);
        return NULL;
    }
    *made = (allocation){.memory = memory, .bytes = bytes, .device = device};
    aac_static_lock_take(&guard);
    made->next = allocations;
    atomic_signal_fence(memory_order_release); /* the list is whole at any time */
    allocations = made;
    aac_static_lock_release(&guard);
    return memory;
}

static allocation *take_out(const void *memory)
{
    aac_static_lock_take(&guard);
    allocation **link = &allocations;
    while (*link && (*link)->memory != memory)
        link = &(*link)->next;
    allocation *found = *link;
    if (found)
        *link = found->next;
    aac_static_lock_release(&guard);
    return found;
}

void aac_account_release(void *memory, void (*release)(void *memory))
{
    if (!memory)
        return;
    allocation *found = take_out(memory);
    release(memory);
    if (!found)
        return;
    give_back(found->device, found->bytes);
    aac_free(found);
}

void aac_account_set_limit(int device, uint64_t bytes)
{
    aac_static_lock_take(&guard);
    accounts[index_of(device)].limit = bytes;
    aac_static_lock_release(&guard);
}

static uint64_t read_value(const uint64_t *value)
{
    aac_static_lock_take(&guard);
    uint64_t read = *value;
    aac_static_lock_release(&guard);
    return read;
}

uint64_t aac_account_limit(int device)
{
    return read_value(&accounts[index_of(device)].limit);
}

uint64_t aac_account_used(int device)
{
    return read_value(&accounts[index_of(device)].used);
}
