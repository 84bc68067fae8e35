/* Maps at the size of the photograph, bilinear. */
#include <aaclip/image.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "images/view.h"

/* Between which two inputs an output lies, and how far from the first. */
struct between {
    size_t first, second;
    float fraction;
};

static struct between locate(uint32_t i, uint32_t in, uint32_t out)
{
    float scale = out > 1 ? (float)(in - 1) / (float)(out - 1) : 0;
    float position = scale * (float)i;
    size_t first = (size_t)position;
    if (first > in - 1)
        first = in - 1;
    float fraction = position - (float)first;
    return (struct between){first, first + (first < in - 1), fraction < 1 ? fraction : 1};
}

static void interpolate_row(const float *above, const float *below, float fraction,
                            const struct between *columns, uint32_t width, float *out)
{
    for (uint32_t x = 0; x < width; x++) {
        const struct between at = columns[x];
        float upper = (1 - at.fraction) * above[at.first] + at.fraction * above[at.second];
        float lower = (1 - at.fraction) * below[at.first] + at.fraction * below[at.second];
        out[x] = (1 - fraction) * upper + fraction * lower;
    }
}

aaclip_status aaclip_map_resize(const float *map, uint32_t width, uint32_t height,
                                uint32_t new_width, uint32_t new_height, float *resized)
{
    if (!map || !resized)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_map_resize: no map or no output");
    aaclip_status status = aac_size_check(width, height);
    if (!status)
        status = aac_size_check(new_width, new_height);
    if (status)
        return status;
    struct between *columns = aac_alloc_array(new_width, sizeof *columns);
    if (!columns)
        return aac_error_memory();
    for (uint32_t x = 0; x < new_width; x++)
        columns[x] = locate(x, width, new_width);
    for (uint32_t y = 0; !status && y < new_height; y++) {
        const struct between row = locate(y, height, new_height);
        interpolate_row(map + row.first * width, map + row.second * width, row.fraction, columns,
                        new_width, resized + (size_t)y * new_width);
        status = aac_cancel_look();
    }
    aac_free(columns);
    return status;
}
