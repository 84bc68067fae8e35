/* A hash table from names to numbers. All zeros is an empty table. */
#ifndef AAC_CORE_NAMES_H
#define AAC_CORE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AAC_NO_NAME SIZE_MAX

typedef struct aac_name_slot {
    const char *name; /* NULL: free */
    size_t number;
} aac_name_slot;

typedef struct aac_names {
    aac_name_slot *slots; /* a power of two, at most half in use */
    size_t slot_count, count;
} aac_names;

/* Makes room for `more` names; false when out of memory, with nothing changed. */
bool aac_names_reserve(aac_names *names, size_t more);
/* Adds a name not yet present, into reserved room. It is not copied and must outlive the table. */
void aac_names_add(aac_names *names, const char *name, size_t number);
/* The number of a name, or AAC_NO_NAME. */
size_t aac_names_find(const aac_names *names, const char *name);
/* Removes all names but keeps the room. */
void aac_names_empty(aac_names *names);
/* Frees the table's memory; the names belong to the caller. */
void aac_names_clear(aac_names *names);

#endif
