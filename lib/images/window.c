/* A window of values to 8 bits, for images whose samples fill only part of the 16-bit range. */
#include <stdbool.h>

#include <aaclip/image.h>

#include "core/cancel.h"
#include "core/error.h"
#include "images/decoders.h"
#include "images/view.h"

static uint8_t to_byte(double value, double low, double high)
{
    const double part = (value - low) / (high - low);
    return (uint8_t)(part > 0 ? (part < 1 ? 255 * part + 0.5 : 255) : 0);
}

void aac_window_apply(const aac_window *window, const uint8_t *samples, size_t count,
                      uint8_t *bytes)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = to_byte(samples[2 * i] << 8 | samples[2 * i + 1], window->low, window->high);
}

aaclip_status aac_window_check(const aac_window *window, const char *function)
{
    if (aac_window_is_valid(window))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                     "%s: expected two finite numbers, the smaller first, found %g and %g",
                     function, window->low, window->high);
}

static void write_row(const aaclip_image_view *image, uint32_t y, double low, double high,
                      uint8_t *rgb)
{
    const aac_layout layout = aac_view_layout(image);
    const bool wide = aac_view_is_wide(image);
    const bool grey = layout.offset[0] == layout.offset[2];
    const uint8_t *pixel = aac_view_row(image, y);
    for (uint32_t x = 0; x < image->width; x++, pixel += layout.step, rgb += 3)
        for (size_t c = 0; c < 3; c++) {
            const size_t at = layout.offset[c];
            if (c && grey)
                rgb[c] = rgb[0];
            else /* at ^ 1: the low byte of a 16-bit sample */
                rgb[c] = to_byte(wide ? pixel[at] << 8 | pixel[at ^ 1] : pixel[at], low, high);
        }
}

aaclip_status aaclip_image_window(const aaclip_image_view *image, double low, double high,
                                  uint8_t *rgb)
{
    aaclip_status status = aac_view_check(image);
    if (status)
        return status;
    if (!rgb)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_image_window: no output");
    status = aac_window_check(&(aac_window){low, high}, "aaclip_image_window");
    for (uint32_t y = 0; !status && y < image->height; y++) {
        write_row(image, y, low, high, rgb + (size_t)y * image->width * 3);
        status = aac_cancel_look();
    }
    return status;
}
