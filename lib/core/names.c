#include "core/names.h"

#include <string.h>

#include "core/hash.h"
#include "core/memory.h"

/* The slot that holds `name`, or the free slot where it belongs. */
static aac_name_slot *find_slot(const aac_names *names, const char *name)
{
    size_t mask = names->slot_count - 1, at = (size_t)aac_hash(name, strlen(name)) & mask;
    while (names->slots[at].name && strcmp(names->slots[at].name, name) != 0)
        at = (at + 1) & mask;
    return &names->slots[at];
}

bool aac_names_reserve(aac_names *names, size_t more)
{
    aac_names larger = {.slot_count = names->slot_count ? names->slot_count : 128,
                        .count = names->count};
    size_t needed;
    if (!aac_size_add(&needed, names->count, more) || !aac_size_multiply(&needed, needed, 2))
        return false;
    while (larger.slot_count < needed)
        if (!aac_size_multiply(&larger.slot_count, larger.slot_count, 2))
            return false;
    if (larger.slot_count == names->slot_count)
        return true;
    larger.slots = aac_calloc(larger.slot_count, sizeof *larger.slots);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < names->slot_count; i++)
        if (names->slots[i].name)
            *find_slot(&larger, names->slots[i].name) = names->slots[i];
    aac_free(names->slots);
    *names = larger;
    return true;
}

void aac_names_add(aac_names *names, const char *name, size_t number)
{
    *find_slot(names, name) = (aac_name_slot){name, number};
    names->count++;
}

size_t aac_names_find(const aac_names *names, const char *name)
{
    const aac_name_slot *slot = names->slot_count ? find_slot(names, name) : NULL;
    return slot && slot->name ? slot->number : AAC_NO_NAME;
}

void aac_names_empty(aac_names *names)
{
    if (names->slot_count)
        memset(names->slots, 0, names->slot_count * sizeof *names->slots);
    names->count = 0;
}

void aac_names_clear(aac_names *names)
{
    aac_free(names->slots);
    *names = (aac_names){0};
}
