/*
 * Memory that backends with memory of their own take on their devices, and its limit: for each
 * device one account of the process. Any thread.
 */
#ifndef AAC_BACKEND_ACCOUNT_H
#define AAC_BACKEND_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

#define AAC_ACCOUNTS 64 /* devices; those above share the last */

/* What `allocate` gives; NULL where it gives nothing, the limit would be passed, or the host's
 * memory is out. No error is set. */
void *aac_account_allocate(int device, size_t bytes, void *(*allocate)(size_t bytes));
/* Memory of the above, or NULL. */
void aac_account_release(void *memory, void (*release)(void *memory));

void aac_account_set_limit(int device, uint64_t bytes); /* 0: none */
uint64_t aac_account_limit(int device);
uint64_t aac_account_used(int device);

#endif
