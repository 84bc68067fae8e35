/* Visualisation of maps: colours, blending over an image, enlarging to the image's size. */
#include <aaclip/image.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "images/view.h"

static float clamp_unit(float value)
{
    return value > 0 ? (value < 1 ? value : 1) : 0; /* NaN becomes 0 */
}

static uint8_t to_byte(float value)
{
    return (uint8_t)(value * 255.0f + 0.5f);
}

/* Piecewise linear: blue - cyan - green - yellow - red at 0, 1/4, 1/2, 3/4 and 1. */
static void colour_of(float value, uint8_t *rgb)
{
    float position = 4 * clamp_unit(value);
    rgb[0] = to_byte(clamp_unit(position - 2));
    rgb[1] = to_byte(clamp_unit(position < 2 ? position : 4 - position));
    rgb[2] = to_byte(clamp_unit(2 - position));
}

void aaclip_colour_map(const float *values, size_t count, uint8_t *rgb)
{
    for (size_t i = 0; values && rgb && i < count; i++)
        colour_of(values[i], rgb + 3 * i);
}

aaclip_status aaclip_overlay(const aaclip_image_view *image, const float *values, float opacity,
                             uint8_t *rgb)
{
    aaclip_status status = aac_view_check(image);
    if (status)
        return status;
    if (!values || !rgb)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_overlay: no values or no output");
    if (!(opacity >= 0 && opacity <= 1))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_overlay: opacity: expected 0 to 1, found %g", (double)opacity);
    for (uint32_t y = 0; !status && y < image->height; y++) {
        uint8_t *row = rgb + (size_t)y * image->width * 3;
        const float *row_values = values + (size_t)y * image->width;
        aac_view_row_rgb(image, y, row);
        for (size_t x = 0; x < image->width; x++) {
            uint8_t colour[3];
            colour_of(row_values[x], colour);
            for (size_t c = 0; c < 3; c++) {
                float mixed = (1 - opacity) * row[3 * x + c] + opacity * colour[c];
                row[3 * x + c] = (uint8_t)(mixed + 0.5f);
            }
        }
        status = aac_cancel_look();
    }
    return status;
}

/* The two inputs that an output lies between, and its distance from the first. */
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

aaclip_status aaclip_map_resize(const float *map, uint32_t width, uint32_t height, float *resized,
                                uint32_t new_width, uint32_t new_height)
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
