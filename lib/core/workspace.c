#include "core/workspace.h"

#include "core/memory.h"

void *aac_take(aac_workspace *workspace, size_t count, size_t element_size)
{
    size_t bytes = aac_align(count * element_size);
    void *piece = workspace->base ? workspace->base + workspace->used : NULL;
    workspace->used += bytes;
    return piece;
}
