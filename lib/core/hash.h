/* The hash for tables whose keys come from untrusted files. */
#ifndef AAC_CORE_HASH_H
#define AAC_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * Keyed with a random key of this process, so that no one can construct colliding names. It differs
 * between runs: nothing visible may depend on it.
 */
uint64_t aac_hash(const void *bytes, size_t size);
/* SipHash-2-4. */
uint64_t aac_hash_keyed(const uint64_t key[2], const void *bytes, size_t size);

#endif
