/*
 * Memory that backends with an address space of their own allocate on their devices, and its limit:
 * one account per device, for the whole process. Any thread.
 */
#ifndef AAC_BACKEND_ACCOUNT_H
#define AAC_BACKEND_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

#define AAC_ACCOUNTS 64 /* devices; higher numbers share the last */

/* What `allocate` returns; NULL if it fails, the limit would be exceeded or host memory is
 * exhausted. No error is set. */
void *aac_account_allocate(int device, size_t bytes, void *(*allocate)(size_t bytes));
/* `memory`: from aac_account_allocate, or NULL. */
void aac_account_release(void *memory, void (*release)(void *memory));

void aac_account_set_limit(int device, uint64_t bytes); /* 0: none */
uint64_t aac_account_limit(int device);
uint64_t aac_account_used(int device);

#endif
