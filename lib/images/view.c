#include "images/view.h"

#include <string.h>

#include "core/error.h"
#include "core/memory.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HIGH_BYTE 1
#else
#define HIGH_BYTE 0
#endif

static const aac_layout layouts[] = {
    [AACLIP_PIXEL_RGB8] = {3, {0, 1, 2}},
    [AACLIP_PIXEL_BGR8] = {3, {2, 1, 0}},
    [AACLIP_PIXEL_RGBA8] = {4, {0, 1, 2}},
    [AACLIP_PIXEL_BGRA8] = {4, {2, 1, 0}},
    [AACLIP_PIXEL_GRAY8] = {1, {0, 0, 0}},
    [AACLIP_PIXEL_GRAY16] = {2, {HIGH_BYTE, HIGH_BYTE, HIGH_BYTE}},
    [AACLIP_PIXEL_RGB16] = {6, {HIGH_BYTE, 2 + HIGH_BYTE, 4 + HIGH_BYTE}},
    [AACLIP_PIXEL_BGR16] = {6, {4 + HIGH_BYTE, 2 + HIGH_BYTE, HIGH_BYTE}},
};

aaclip_status aac_size_check(uint32_t width, uint32_t height)
{
    if (!width || !height || width > INT32_MAX || height > INT32_MAX)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "image size: expected 1 to 2147483647 per side, found %ux%u", width,
                         height);
    return AACLIP_OK;
}

aaclip_status aac_view_check(const aaclip_image_view *view)
{
    if (!view || !view->pixels)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "image: no pixels");
    if ((size_t)view->format >= sizeof layouts / sizeof *layouts)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "image: unknown pixel format %d",
                         (int)view->format);
    aaclip_status status = aac_size_check(view->width, view->height);
    if (status)
        return status;
    size_t row = 0, apart; /* bytes of a row, and from the first row to the last */
    const bool fits = aac_size_multiply(&row, view->width, layouts[view->format].step);
    const size_t stride = view->stride ? view->stride : row;
    if (fits && stride < row)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "image stride: expected at least %zu bytes, found %zu", row, stride);
    if (!fits || row > PTRDIFF_MAX || !aac_size_multiply(&apart, stride, view->height - 1) ||
        apart > PTRDIFF_MAX - row)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "image: %ux%u pixels with a stride of %zu bytes exceed the address space",
                         view->width, view->height, stride);
    return AACLIP_OK;
}

aac_layout aac_view_layout(const aaclip_image_view *view)
{
    return layouts[view->format];
}

const uint8_t *aac_view_row(const aaclip_image_view *view, uint32_t y)
{
    size_t stride = view->stride ? view->stride : view->width * layouts[view->format].step;
    return (const uint8_t *)view->pixels + y * stride;
}

void aac_view_row_rgb(const aaclip_image_view *view, uint32_t y, uint8_t *rgb)
{
    const uint8_t *row = aac_view_row(view, y);
    const aac_layout layout = layouts[view->format];
    if (view->format == AACLIP_PIXEL_RGB8) {
        memcpy(rgb, row, (size_t)view->width * 3);
        return;
    }
    for (size_t x = 0; x < view->width; x++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * x + c] = row[x * layout.step + layout.offset[c]];
}

bool aac_view_is_wide(const aaclip_image_view *view)
{
    return view->format >= AACLIP_PIXEL_GRAY16;
}

bool aac_view_fits(const aaclip_image_view *view, unsigned bits)
{
    const size_t bytes = view->width * layouts[view->format].step;
    for (uint32_t y = 0; y < view->height; y++) {
        const uint8_t *row = aac_view_row(view, y);
        unsigned all = 0;
        for (size_t i = HIGH_BYTE; i < bytes; i += 2)
            all |= row[i];
        if (all >> (bits - 8))
            return false;
    }
    return true;
}
