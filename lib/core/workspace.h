/*
 * Working memory of a call, allocated as one block. The same layout function runs twice, first
 * without memory to learn the size, then to hand out the pieces.
 */
#ifndef AAC_CORE_WORKSPACE_H
#define AAC_CORE_WORKSPACE_H

#include <stddef.h>

typedef struct aac_workspace {
    char *base;  /* NULL while measuring */
    size_t used; /* more than can be allocated if the sum of the sizes overflows */
} aac_workspace;

/* The next `count` elements, 64-byte aligned; NULL while measuring. */
void *aac_take(aac_workspace *workspace, size_t count, size_t element_size);

#endif
