/* The hash of tables whose keys come from files of strangers. */
#ifndef AAC_CORE_HASH_H
#define AAC_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * Under a key that this process drew: nobody can choose names that meet in one slot. So it differs
 * between runs, and nothing that is seen may depend on it.
 */
uint64_t aac_hash(const void *bytes, size_t size);
/* SipHash-2-4. */
uint64_t aac_hash_keyed(const uint64_t key[2], const void *bytes, size_t size);

#endif
