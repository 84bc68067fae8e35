/* PNG files of every kind as RGB8. */
#include "images/decoders.h"

#include "core/error.h"

#ifdef AAC_HAVE_PNG

#include <stdbool.h>
#include <string.h>

#include "core/memory.h"
#include "images/png_hooks.h"

/* Bytes that a byte of deflate can expand to: 258 for one bit of length and one of distance. */
#define MOST_UNFOLDED 1032
/* Bytes of a row, two of which libpng holds: two million pixels of the largest kind. */
#define LONGEST_ROW ((size_t)16 << 20)

struct source {
    const uint8_t *data;
    size_t size, position;
    const aac_window *window;
    aac_png_failure failure;
};

static void read_bytes(png_structp png, png_bytep out, size_t count)
{
    struct source *source = png_get_io_ptr(png);
    if (count > source->size - source->position)
        png_error(png, "the file is truncated");
    memcpy(out, source->data + source->position, count);
    source->position += count;
}

/* 16-bit grey stays as it is and, with a window, all 16-bit channels but alpha; the rest becomes
 * RGB8. */
static void set_transforms(png_structp png, int depth, int colour_type, bool windowed)
{
    if (depth == 16 && windowed)
        png_set_strip_alpha(png);
    if (depth == 16 && (windowed || colour_type == PNG_COLOR_TYPE_GRAY))
        return;
    if (colour_type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (depth < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16)
        png_set_strip_16(png);
    if (!(colour_type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
}

/* Everything that libpng may jump out of before the size is known; false if it did. */
static bool read_header(png_structp png, png_infop info, struct source *source)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_read_fn(png, source, read_bytes);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    /* Colour profiles, gamma, text and transparency are ignored and not even inflated. */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, (png_const_bytep) "tRNS", 1);
    png_read_info(png, info);
    set_transforms(png, png_get_bit_depth(png, info), png_get_color_type(png, info),
                   source->window);
    return true;
}

/*
 * Reads all rows `passes` times. Nothing after the last row is read: Pillow also accepts files
 * without their end.
 */
static bool read_rows(png_structp png, png_infop info, int passes, uint8_t *rows, size_t stride)
{
    const uint32_t height = png_get_image_height(png, info);
    if (setjmp(png_jmpbuf(png)))
        return false;
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < height; y++) {
            png_read_row(png, rows + y * stride, NULL);
            aac_png_look(png);
        }
    return true;
}

static bool start_rows(png_structp png, png_infop info, int *passes)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    *passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return true;
}

/*
 * Pillow clips 16-bit grey at 255 instead of taking the high byte. The clipped pixels are counted
 * if they are more than one in a hundred and not all the same, unlike the white of a mask.
 */
static void clip_gray16(const uint8_t *samples, size_t count, aac_pixels *pixels)
{
    size_t above = 0;
    const uint8_t *first = NULL;
    bool differ = false;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *sample = samples + 2 * i;
        memset(pixels->rgb + 3 * i, sample[0] ? 255 : sample[1], 3);
        if (!sample[0])
            continue;
        first = first ? first : sample;
        differ = differ || sample[0] != first[0] || sample[1] != first[1];
        above++;
    }
    pixels->clipped = differ && above > count / 100 ? above : 0;
}

/* Expands one byte per pixel to three, from the last one backwards. */
static void spread_gray(uint8_t *rgb, size_t count)
{
    while (count--)
        memset(rgb + 3 * count, rgb[count], 3);
}

static aaclip_status read_wide(aac_pixels *pixels, png_structp png, png_infop info, int passes,
                               const struct source *source)
{
    const size_t count = (size_t)pixels->width * pixels->height;
    const size_t channels = png_get_channels(png, info);
    uint8_t *samples = aac_alloc_array(count, 2 * channels);
    if (!samples)
        return aac_error_memory();
    aaclip_status status = AACLIP_OK;
    if (!read_rows(png, info, passes, samples, (size_t)pixels->width * 2 * channels))
        status = aac_png_report(&source->failure, AACLIP_ERROR_FORMAT);
    else if (!source->window)
        clip_gray16(samples, count, pixels);
    else
        aac_window_apply(source->window, samples, count * channels, pixels->rgb);
    if (!status && source->window && channels == 1)
        spread_gray(pixels->rgb, count);
    aac_free(samples);
    return status;
}

/* Small files that claim many pixels are refused before libpng clears a row of a gigabyte. */
static aaclip_status check_size(png_structp png, png_infop info, size_t size)
{
    const uint32_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    const size_t row = png_get_rowbytes(png, info);
    aaclip_status status = aac_pixels_check(width, height);
    if (!status)
        status = aac_pixels_check_file("PNG", width, height, (uint64_t)row * height / MOST_UNFOLDED,
                                       size);
    if (!status && row > LONGEST_ROW)
        status = aac_error(AACLIP_ERROR_UNSUPPORTED,
                           "PNG: expected at most %zu bytes a row, found %zu", LONGEST_ROW, row);
    return status;
}

static aaclip_status read_image(aac_pixels *pixels, png_structp png, png_infop info,
                                struct source *source)
{
    int passes = 1;
    if (!read_header(png, info, source))
        return aac_png_report(&source->failure, AACLIP_ERROR_FORMAT);
    aaclip_status status = check_size(png, info, source->size);
    if (!status)
        status =
            aac_pixels_new(pixels, png_get_image_width(png, info), png_get_image_height(png, info));
    if (status)
        return status;
    if (!start_rows(png, info, &passes))
        return aac_png_report(&source->failure, AACLIP_ERROR_FORMAT);
    if (png_get_bit_depth(png, info) == 16)
        return read_wide(pixels, png, info, passes, source);
    if (!read_rows(png, info, passes, pixels->rgb, (size_t)pixels->width * 3))
        return aac_png_report(&source->failure, AACLIP_ERROR_FORMAT);
    return AACLIP_OK;
}

aaclip_status aac_read_png(aac_pixels *pixels, const uint8_t *data, size_t size,
                           const aac_window *window)
{
    struct source source = {.data = data, .size = size, .window = window};
    png_structp png =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &source.failure, aac_png_error,
                                 aac_png_warning, &source.failure, aac_png_allocate, aac_png_free);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    aaclip_status status = info ? read_image(pixels, png, info, &source)
                                : aac_png_report(&source.failure, AACLIP_ERROR_FORMAT);
    png_destroy_read_struct(&png, &info, NULL);
    return status;
}

#else

aaclip_status aac_read_png(aac_pixels *pixels, const uint8_t *data, size_t size,
                           const aac_window *window)
{
    (void)pixels, (void)data, (void)size, (void)window;
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "PNG: not supported by this build");
}

#endif
