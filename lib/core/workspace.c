#include "core/workspace.h"

#include <stdint.h>

#include "core/memory.h"

/* Of a workspace whose size overflows: more than can be allocated. */
#define TOO_LARGE ((size_t)PTRDIFF_MAX)

void *aac_take(aac_workspace *workspace, size_t count, size_t element_size)
{
    size_t bytes;
    void *piece = workspace->base ? workspace->base + workspace->used : NULL;
    if (!aac_size_multiply(&bytes, count, element_size) || workspace->used >= TOO_LARGE ||
        bytes >= TOO_LARGE - workspace->used)
        workspace->used = TOO_LARGE;
    else
        workspace->used += aac_align(bytes);
    return piece;
}
