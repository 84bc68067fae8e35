#include "evaluate.h"

#include <stdlib.h>
#include <string.h>

enum { GAP = 6, SCALE_WIDTH = 10 }; /* white between panels; the scale of colours */

/* Where Pillow's NEAREST looks for each of `size` places among `from`: it adds up steps. */
static void nearest_places(uint32_t *places, uint32_t size, uint32_t from)
{
    const double step = (double)from / size;
    double at = step * 0.5;
    for (uint32_t i = 0; i < size; i++, at += step)
        places[i] = at < from ? (uint32_t)at : from - 1;
}

bool mask_resize(const mask_image *mask, uint8_t *resized, uint32_t width, uint32_t height)
{
    uint32_t *columns = malloc(((size_t)width + height) * sizeof *columns);
    if (!columns)
        return false;
    uint32_t *rows = columns + width;
    nearest_places(columns, width, mask->width);
    nearest_places(rows, height, mask->height);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            resized[(size_t)y * width + x] =
                mask->marks[(size_t)rows[y] * mask->width + columns[x]];
    free(columns);
    return true;
}

/* Pillow's convert("L"), of which only black counts as normal. */
static void mark_abnormal(const aaclip_image_view *view, uint8_t *marks)
{
    const size_t stride = view->stride ? view->stride : (size_t)view->width * 3;
    for (uint32_t y = 0; y < view->height; y++) {
        const uint8_t *rgb = (const uint8_t *)view->pixels + y * stride;
        for (uint32_t x = 0; x < view->width; x++, rgb += 3)
            *marks++ = (rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16 != 0;
    }
}

aaclip_status mask_open(mask_image *mask, const char *path)
{
    aaclip_image *image = NULL;
    *mask = (mask_image){0};
    aaclip_status status = aaclip_image_open(&image, path);
    if (status)
        return status;
    const aaclip_image_view view = aaclip_image_get_view(image);
    mask->width = view.width;
    mask->height = view.height;
    mask->marks = malloc((size_t)view.width * view.height);
    if (mask->marks)
        mark_abnormal(&view, mask->marks);
    aaclip_image_close(&image);
    return mask->marks ? AACLIP_OK : AACLIP_ERROR_OUT_OF_MEMORY;
}

/* White where abnormal; grey where nothing is known. */
static bool draw_truth(const picture *panels, uint32_t width, uint32_t height, uint8_t *rgb)
{
    const uint8_t unknown = panels->label == 0 ? 0 : 128;
    uint8_t *marks = malloc((size_t)width * height);
    bool drawn = marks && (!panels->truth || mask_resize(panels->truth, marks, width, height));
    for (size_t i = 0; drawn && i < (size_t)width * height; i++)
        memset(rgb + 3 * i, panels->truth ? 255 * marks[i] : unknown, 3);
    free(marks);
    return drawn;
}

/* The probability on the fixed scale of aaclip_colour_map: a good part stays blue. */
static aaclip_status draw_heat(const picture *panels, const aaclip_image_view *photo, uint8_t *rgb)
{
    const float opacity = 0.5f;
    const size_t pixels = (size_t)photo->width * photo->height;
    if (!panels->map) {
        memset(rgb, 128, pixels * 3);
        return AACLIP_OK;
    }
    float *values = malloc(pixels * sizeof *values);
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (values)
        status = aaclip_map_resize(panels->map->values, panels->map->width, panels->map->height,
                                   values, photo->width, photo->height);
    if (!status) {
        aaclip_map_probability(values, pixels, panels->levels, values);
        status = aaclip_overlay(photo, values, opacity, rgb);
    }
    free(values);
    return status;
}

/* Every row from 1 at the top to 0 at the bottom. */
static void draw_scale(uint8_t *rgb, size_t stride, uint32_t height)
{
    for (uint32_t y = 0; y < height; y++) {
        const float value = height > 1 ? 1 - (float)y / (float)(height - 1) : 1;
        uint8_t colour[3];
        aaclip_colour_map(&value, 1, colour);
        for (size_t x = 0; x < SCALE_WIDTH; x++)
            memcpy(rgb + y * stride + 3 * x, colour, sizeof colour);
    }
}

static aaclip_status write_beside(const char *path, const uint8_t *panels, uint32_t width,
                                  uint32_t height)
{
    const size_t row = (size_t)width * 3, panel = row * height, step = row + 3 * GAP;
    const uint32_t whole = 3 * (width + GAP) + SCALE_WIDTH;
    const size_t stride = (size_t)whole * 3;
    uint8_t *rgb = malloc(stride * height);
    if (!rgb)
        return AACLIP_ERROR_OUT_OF_MEMORY;
    memset(rgb, 255, stride * height);
    for (uint32_t y = 0; y < height; y++)
        for (size_t i = 0; i < 3; i++)
            memcpy(rgb + y * stride + i * step, panels + i * panel + y * row, row);
    draw_scale(rgb + 3 * step, stride, height);
    const aaclip_image_view view = {rgb, whole, height, 0, AACLIP_PIXEL_RGB8};
    aaclip_status status = aaclip_write_png(path, &view);
    free(rgb);
    return status;
}

static uint32_t scaled(uint32_t length, uint32_t longest, uint32_t most)
{
    if (longest <= most)
        return length;
    uint32_t smaller = (uint32_t)((uint64_t)length * most / longest);
    return smaller ? smaller : 1;
}

aaclip_status write_panels(const char *path, const picture *panels, uint32_t most)
{
    const aaclip_image_view *photo = &panels->photo;
    const uint32_t longest = photo->width > photo->height ? photo->width : photo->height;
    const uint32_t width = scaled(photo->width, longest, most);
    const uint32_t height = scaled(photo->height, longest, most);
    const size_t panel = (size_t)width * height * 3;
    uint8_t *rgb = malloc(3 * panel);
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (rgb)
        status = aaclip_image_resize(photo, width, height, rgb);
    const aaclip_image_view small = {rgb, width, height, 0, AACLIP_PIXEL_RGB8};
    if (!status)
        status = draw_heat(panels, &small, rgb + 2 * panel);
    if (!status && !draw_truth(panels, width, height, rgb + panel))
        status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (!status)
        status = write_beside(path, rgb, width, height);
    free(rgb);
    return status;
}
