#include "evaluate/components.h"

#include <stdbool.h>

#include "core/error.h"
#include "core/memory.h"

/*
 * Union-find in two passes, with the label image itself as the forest: in the first pass a pixel
 * inside holds 1 + the index of its parent, which never follows it in row order; a root holds 1 +
 * its own.
 */

static size_t find_root(uint32_t *labels, size_t pixel)
{
    while (labels[pixel] - 1 != pixel) {
        labels[pixel] = labels[labels[pixel] - 1]; /* halves the path for the next search */
        pixel = labels[pixel] - 1;
    }
    return pixel;
}

/* The earlier root remains one. */
static size_t join(uint32_t *labels, size_t root, size_t neighbour)
{
    size_t other = find_root(labels, neighbour);
    size_t first = root < other ? root : other;
    labels[root] = labels[other] = (uint32_t)first + 1;
    return first;
}

/* The root of what the pixel touches on the left and above; itself if it touches nothing. */
static size_t join_neighbours(uint32_t *labels, size_t pixel, uint32_t x, bool top, uint32_t width)
{
    const bool left = x > 0, right = x + 1 < width;
    if (!top && labels[pixel - width])
        return find_root(labels, pixel - width); /* it touches all the others */
    size_t root = pixel;
    labels[pixel] = (uint32_t)pixel + 1;
    if (left && labels[pixel - 1])
        root = join(labels, root, pixel - 1);
    else if (left && !top && labels[pixel - width - 1])
        root = join(labels, root, pixel - width - 1);
    if (right && !top && labels[pixel - width + 1])
        root = join(labels, root, pixel - width + 1);
    return root;
}

static void build_forest(uint32_t *labels, const uint8_t *mask, uint32_t width, uint32_t height)
{
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            const size_t pixel = (size_t)y * width + x;
            labels[pixel] = 0;
            if (mask[pixel])
                labels[pixel] = (uint32_t)join_neighbours(labels, pixel, x, y == 0, width) + 1;
        }
}

/* Parents precede their children, so they already hold a number when these are reached. */
static size_t number_trees(uint32_t *labels, size_t pixels)
{
    uint32_t count = 0;
    for (size_t pixel = 0; pixel < pixels; pixel++) {
        if (!labels[pixel])
            continue;
        const size_t parent = labels[pixel] - 1;
        labels[pixel] = parent == pixel ? ++count : labels[parent];
    }
    return count;
}

static void measure(aac_component *components, const uint32_t *labels, uint32_t width,
                    uint32_t height)
{
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            const uint32_t label = labels[(size_t)y * width + x];
            if (!label)
                continue;
            aac_component *component = &components[label - 1];
            if (component->area++ == 0)
                *component = (aac_component){1, x, y, x + 1, y + 1};
            if (x < component->left)
                component->left = x;
            if (x >= component->right)
                component->right = x + 1;
            component->bottom = y + 1;
        }
}

aaclip_status aac_find_components(aac_component **components, size_t *count, uint32_t *labels,
                                  const uint8_t *mask, uint32_t width, uint32_t height)
{
    *components = NULL;
    *count = 0;
    if ((uint64_t)width * height >= UINT32_MAX)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "mask: expected fewer than 2^32 - 1 pixels, found %ux%u", width, height);
    build_forest(labels, mask, width, height);
    const size_t found = number_trees(labels, (size_t)width * height);
    if (!found)
        return AACLIP_OK;
    *components = aac_calloc(found, sizeof **components);
    if (!*components)
        return aac_error_memory();
    measure(*components, labels, width, height);
    *count = found;
    return AACLIP_OK;
}
