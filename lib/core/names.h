/* Finds names: a hash table from texts to numbers. All zero is an empty one. */
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

/* Makes room for `more` names; false, and nothing changes, when out of memory. */
bool aac_names_reserve(aac_names *names, size_t more);
/* A name that is not there yet, into room that was made. It is not copied and must outlive the
 * table. */
void aac_names_add(aac_names *names, const char *name, size_t number);
/* The number of a name, or AAC_NO_NAME. */
size_t aac_names_find(const aac_names *names, const char *name);
/* No name is left, but the room for them. */
void aac_names_empty(aac_names *names);
/* The memory goes, the names stay the caller's. */
void aac_names_clear(aac_names *names);

#endif
