#include "evaluate.h"

#include <stdlib.h>
#include <string.h>

enum {
    GAP = 6,          /* white between panels */
    SCALE_WIDTH = 10, /* of the scale of colours */
    PICTURE_SIDE = 512
};

/* The source of each of `size` pixels among `from` in Pillow's NEAREST, which adds up steps. */
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

/* The contents of a row's panels, while it is open. */
typedef struct sources {
    const image_row *row;
    aaclip_image *photo;
    mask_image truth; /* without marks, and without values, where there is none */
    map_image map;
} sources;

static aaclip_status open_sources(sources *open, const image_row *row, const result_store *store)
{
    *open = (sources){.row = row};
    aaclip_status status = open_photo(&open->photo, row->sample->image_path, &store->window);
    if (!status && row->sample->mask_path)
        status = mask_open(&open->truth, row->sample->mask_path);
    if (!status)
        store_read_map(store, row, &open->map);
    return status;
}

static void close_sources(sources *open)
{
    aaclip_image_close(&open->photo);
    free(open->truth.marks);
    free(open->map.values);
}

/* White where abnormal; grey where unknown. */
static bool draw_truth(const sources *open, uint32_t width, uint32_t height, uint8_t *rgb)
{
    const bool known = open->truth.marks != NULL;
    const uint8_t unknown = open->row->sample->label == 0 ? 0 : 128;
    uint8_t *marks = malloc((size_t)width * height);
    bool drawn = marks && (!known || mask_resize(&open->truth, marks, width, height));
    for (size_t i = 0; drawn && i < (size_t)width * height; i++)
        memset(rgb + 3 * i, known ? 255 * marks[i] : unknown, 3);
    free(marks);
    return drawn;
}

static aaclip_status draw_heat(const sources *open, const aaclip_image_view *photo, uint8_t *rgb)
{
    const float opacity = 0.5f;
    const map_scale *scale = &open->row->scale;
    const float width = scale->largest - scale->least;
    const size_t pixels = (size_t)photo->width * photo->height;
    if (!open->map.values) {
        memset(rgb, 128, pixels * 3);
        return AACLIP_OK;
    }
    float *values = malloc(pixels * sizeof *values);
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (values)
        status = aaclip_map_resize(open->map.values, open->map.width, open->map.height,
                                   photo->width, photo->height, values);
    if (!status) {
        for (size_t i = 0; i < pixels; i++)
            values[i] = width > 0 ? (values[i] - scale->least) / width : 0;
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

static aaclip_status draw_panels(const char *path, const sources *open, uint32_t most)
{
    const aaclip_image_view photo = aaclip_image_get_view(open->photo);
    const uint32_t longest = photo.width > photo.height ? photo.width : photo.height;
    const uint32_t width = scaled(photo.width, longest, most);
    const uint32_t height = scaled(photo.height, longest, most);
    const size_t panel = (size_t)width * height * 3;
    uint8_t *rgb = malloc(3 * panel);
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (rgb)
        status = aaclip_image_resize(&photo, width, height, rgb);
    const aaclip_image_view small = {rgb, width, height, 0, AACLIP_PIXEL_RGB8};
    if (!status)
        status = draw_heat(open, &small, rgb + 2 * panel);
    if (!status && !draw_truth(open, width, height, rgb + panel))
        status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (!status)
        status = write_beside(path, rgb, width, height);
    free(rgb);
    return status;
}

aaclip_status write_panels(const char *path, const image_row *row, const result_store *store,
                           uint32_t most)
{
    sources open;
    aaclip_status status = open_sources(&open, row, store);
    if (!status)
        status = draw_panels(path, &open, most);
    close_sources(&open);
    return status;
}

char *picture_file(const char *folder, const aaclip_sample *sample)
{
    return image_file(folder, sample, hash_text(HASH_START, sample->image_path), ".png");
}

static bool draw_picture(const image_row *row, const result_store *store, const char *folder)
{
    char *path = picture_file(folder, row->sample);
    bool drawn = path || !complain(PROGRAM, "out of memory");
    drawn = drawn && make_folder_of(path) && !failed(write_panels(path, row, store, PICTURE_SIDE));
    free(path);
    return drawn;
}

bool draw_pictures(const evaluation *result, const result_store *store, const char *out,
                   progress_bar *bar)
{
    char *folder = format_text("%s/%s", out, result->pictures);
    bool drawn = folder || !complain(PROGRAM, "out of memory");
    progress_start(bar, "pictures");
    for (size_t i = 0; drawn && i < result->count; i++) {
        drawn = !result->rows[i].done || draw_picture(&result->rows[i], store, folder);
        progress_update(bar, i + 1, result->count);
    }
    progress_end(bar);
    free(folder);
    return drawn;
}
