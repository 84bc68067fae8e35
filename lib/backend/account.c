#include "backend/account.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "core/memory.h"
#include "core/platform.h"

typedef struct allocation {
    struct allocation *next;
    void *memory;
    size_t bytes;
    int device;
} allocation;

static atomic_uint holder; /* 0: none; else the forks of its process and 1, as of aac_mutex */
static allocation *allocations;
static struct {
    uint64_t limit, used;
} accounts[AAC_ACCOUNTS];

/*
 * Held for a few loads and stores, of which each leaves the accounts whole: so it is taken over
 * from a thread that a fork left behind, and closing handles waits for nobody in the child.
 */
static void lock(void)
{
    const double nap = 1e-6;
    const unsigned own = aac_forks() + 1;
    unsigned found = 0;
    while (!atomic_compare_exchange_weak(&holder, &found, own))
        if (found == own) {
            aac_sleep(nap);
            found = 0;
        }
}

static void unlock(void)
{
    atomic_store(&holder, 0);
}

static int index_of(int device)
{
    return device < AAC_ACCOUNTS ? device : AAC_ACCOUNTS - 1;
}

/* Counts the bytes if the limit allows them. */
static bool take(int device, size_t bytes)
{
    lock();
    uint64_t limit = accounts[index_of(device)].limit, used = accounts[index_of(device)].used;
    bool may = !limit || (used <= limit && bytes <= limit - used);
    if (may)
        accounts[index_of(device)].used += bytes;
    unlock();
    return may;
}

static void give_back(int device, size_t bytes)
{
    lock();
    accounts[index_of(device)].used -= bytes;
    unlock();
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
    lock();
    made->next = allocations;
    atomic_signal_fence(memory_order_release); /* the list is whole at any time */
    allocations = made;
    unlock();
    return memory;
}

static allocation *take_out(const void *memory)
{
    lock();
    allocation **link = &allocations;
    while (*link && (*link)->memory != memory)
        link = &(*link)->next;
    allocation *found = *link;
    if (found)
        *link = found->next;
    unlock();
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
    lock();
    accounts[index_of(device)].limit = bytes;
    unlock();
}

static uint64_t read_value(const uint64_t *value)
{
    lock();
    uint64_t read = *value;
    unlock();
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
