/* Maps made visible: colours, the blend over an image. */
#include <aaclip/image.h>

#include "core/cancel.h"
#include "core/error.h"
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
