#include "text/symbols.h"

#include <string.h>

#include "core/hash.h"
#include "core/memory.h"

/* Slots for `count` entries: a power of two, at most half full. */
static size_t slot_count(size_t count)
{
    size_t slots = 16;
    while (slots / 2 < count)
        slots *= 2;
    return slots;
}

bool aac_spelling_table_init(aac_spelling_table *table, size_t count)
{
    size_t slots = slot_count(count);
    table->slots = aac_calloc(slots, sizeof *table->slots);
    table->mask = slots - 1;
    return table->slots != NULL;
}

/* The slot of the spelling, or the free slot where it belongs. */
static aac_spelling *spelling_slot(const aac_spelling_table *table, const char *start,
                                   size_t length)
{
    size_t at = (size_t)aac_hash(start, length) & table->mask;
    for (;; at = (at + 1) & table->mask) {
        aac_spelling *slot = &table->slots[at];
        if (!slot->start || (slot->length == length && memcmp(slot->start, start, length) == 0))
            return slot;
    }
}

int32_t aac_spelling_find(const aac_spelling_table *table, const char *start, size_t length)
{
    const aac_spelling *slot = spelling_slot(table, start, length);
    return slot->start ? slot->symbol : AAC_NO_SYMBOL;
}

bool aac_spelling_add(aac_spelling_table *table, const char *start, size_t length, int32_t symbol)
{
    aac_spelling *slot = spelling_slot(table, start, length);
    if (slot->start)
        return false;
    *slot = (aac_spelling){start, length, symbol};
    return true;
}

void aac_spelling_table_free(aac_spelling_table *table)
{
    aac_free(table->slots);
    *table = (aac_spelling_table){0};
}

bool aac_pair_table_init(aac_pair_table *table, size_t count)
{
    size_t slots = slot_count(count);
    table->slots = aac_alloc_array(slots, sizeof *table->slots);
    table->mask = slots - 1;
    for (size_t i = 0; table->slots && i < slots; i++)
        table->slots[i].left = -1;
    return table->slots != NULL;
}

static aac_pair *pair_slot(const aac_pair_table *table, int32_t left, int32_t right)
{
    const int32_t key[2] = {left, right};
    size_t at = (size_t)aac_hash(key, sizeof key) & table->mask;
    for (;; at = (at + 1) & table->mask) {
        aac_pair *slot = &table->slots[at];
        if (slot->left < 0 || (slot->left == left && slot->right == right))
            return slot;
    }
}

int32_t aac_pair_find(const aac_pair_table *table, int32_t left, int32_t right)
{
    const aac_pair *slot = pair_slot(table, left, right);
    return slot->left < 0 ? AAC_NO_SYMBOL : slot->merged;
}

void aac_pair_add(aac_pair_table *table, aac_pair pair)
{
    *pair_slot(table, pair.left, pair.right) = pair;
}

void aac_pair_table_free(aac_pair_table *table)
{
    aac_free(table->slots);
    *table = (aac_pair_table){0};
}
