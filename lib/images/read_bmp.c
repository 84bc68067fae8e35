/*
 * BMP files as Pillow reads them: palettes of 1, 4 and 8 bits; 16, 24 and 32 bits; bit fields and
 * run-length encoding; headers of OS/2 and Windows.
 */
#include <stdbool.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "images/decoders.h"

#define FILE_HEADER_SIZE 14

enum compression { RAW = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3 };

struct bmp {
    const uint8_t *data;
    size_t size;
    size_t pixels; /* where they begin in the file */
    uint32_t width, height, bits, compression;
    bool top_down;
    uint32_t mask[3];        /* of red, green and blue in a pixel of 16 bits or more */
    uint8_t palette[256][3]; /* RGB; black beyond the file's entries */
};

static uint32_t read_u16(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

static uint32_t read_u32(const uint8_t *bytes)
{
    return read_u16(bytes) | read_u16(bytes + 2) << 16;
}

static aaclip_status truncated(void)
{
    return aac_error(AACLIP_ERROR_FORMAT, "BMP: the file is truncated");
}

static aaclip_status unsupported(const char *what, uint32_t found)
{
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "BMP: unsupported %s %u", what, found);
}

static bool header_size_is_known(uint32_t size)
{
    static const uint8_t sizes[] = {12, 40, 52, 56, 64, 108, 124};
    return size <= 124 && memchr(sizes, (int)size, sizeof sizes);
}

/* Reads the header's fields; `colours` is the number of palette entries that it states. */
static void read_fields(struct bmp *bmp, const uint8_t *header, uint32_t *colours)
{
    if (read_u32(header) == 12) { /* OS/2 */
        bmp->width = read_u16(header + 4);
        bmp->height = read_u16(header + 6);
        bmp->bits = read_u16(header + 10);
        *colours = 0;
        return;
    }
    bmp->width = read_u32(header + 4);
    bmp->height = read_u32(header + 8);
    bmp->top_down = header[11] == 0xff; /* a negative height */
    if (bmp->top_down)
        bmp->height = 0u - bmp->height;
    bmp->bits = read_u16(header + 14);
    bmp->compression = read_u32(header + 16);
    *colours = read_u32(header + 32);
}

static aaclip_status check_kind(const struct bmp *bmp)
{
    static const uint8_t depths[] = {1, 4, 8, 16, 24, 32};
    if (bmp->bits > 32 || !memchr(depths, (int)bmp->bits, sizeof depths))
        return unsupported("depth", bmp->bits);
    if (bmp->compression > BITFIELDS)
        return unsupported("compression", bmp->compression);
    if ((bmp->compression == RLE8 && bmp->bits != 8) ||
        (bmp->compression == RLE4 && bmp->bits != 4) ||
        (bmp->compression == BITFIELDS && bmp->bits < 16))
        return aac_error(AACLIP_ERROR_FORMAT, "BMP: unsupported compression %u with %u bits",
                         bmp->compression, bmp->bits);
    return AACLIP_OK;
}

/* An 8-bit field on a byte boundary; the fields of 16-bit pixels are checked together. */
static bool is_byte_mask(uint32_t mask)
{
    return mask == 0xff || mask == 0xff00 || mask == 0xff0000 || mask == 0xff000000;
}

static aaclip_status check_masks(struct bmp *bmp)
{
    static const uint32_t standard[][3] = {
        {0xff0000, 0xff00, 0xff},
        {0xf800, 0x7e0, 0x1f},
        {0x7c00, 0x3e0, 0x1f},
    };
    const uint32_t *mask = bmp->mask;
    bool known = false;
    if (bmp->bits == 32 && !mask[0] && !mask[1] && !mask[2]) {
        memcpy(bmp->mask, standard[0], sizeof bmp->mask);
        known = true;
    } else if (bmp->bits == 32) {
        known = is_byte_mask(mask[0]) && is_byte_mask(mask[1]) && is_byte_mask(mask[2]);
    } else if (bmp->bits == 24) {
        known = memcmp(mask, standard[0], sizeof bmp->mask) == 0;
    } else {
        known = memcmp(mask, standard[1], sizeof bmp->mask) == 0 ||
                memcmp(mask, standard[2], sizeof bmp->mask) == 0;
    }
    return known ? AACLIP_OK
                 : aac_error(AACLIP_ERROR_UNSUPPORTED, "BMP: unsupported bit fields %08x %08x %08x",
                             mask[0], mask[1], mask[2]);
}

/* Bit fields are in the long headers, and follow the short one; `end` receives their end. */
static aaclip_status read_masks(struct bmp *bmp, size_t *end)
{
    static const uint32_t plain[][3] = {{0x7c00, 0x3e0, 0x1f}, {0xff0000, 0xff00, 0xff}};
    if (bmp->compression != BITFIELDS) {
        memcpy(bmp->mask, plain[bmp->bits != 16], sizeof bmp->mask);
        return AACLIP_OK;
    }
    const size_t start = FILE_HEADER_SIZE + 40;
    if (bmp->size < start + 12)
        return truncated();
    for (size_t c = 0; c < 3; c++)
        bmp->mask[c] = read_u32(bmp->data + start + 4 * c);
    if (*end < start + 12)
        *end = start + 12;
    return check_masks(bmp);
}

/* Entries missing from the file stay black. */
static aaclip_status read_palette(struct bmp *bmp, size_t entry_size, uint32_t colours, size_t *end)
{
    if (colours > 65536)
        return unsupported("palette size", colours);
    for (size_t i = 0; i < 256 && i < colours; i++) {
        size_t at = *end + i * entry_size;
        if (at + 3 > bmp->size)
            return truncated();
        for (size_t c = 0; c < 3; c++)
            bmp->palette[i][c] = bmp->data[at + 2 - c];
    }
    *end += colours * entry_size;
    return AACLIP_OK;
}

static aaclip_status read_header(struct bmp *bmp)
{
    if (bmp->size < FILE_HEADER_SIZE + 4)
        return truncated();
    const uint8_t *header = bmp->data + FILE_HEADER_SIZE;
    const uint32_t header_size = read_u32(header);
    uint32_t colours = 0;
    if (!header_size_is_known(header_size))
        return unsupported("header size", header_size);
    size_t end = FILE_HEADER_SIZE + header_size;
    if (bmp->size < end)
        return truncated();
    read_fields(bmp, header, &colours);
    aaclip_status status = check_kind(bmp);
    if (!status)
        status = read_masks(bmp, &end);
    if (!status && bmp->bits <= 8)
        status =
            read_palette(bmp, header_size == 12 ? 3 : 4, colours ? colours : 1u << bmp->bits, &end);
    /* Some writers store the end of the header, as if there were no palette. */
    bmp->pixels = read_u32(bmp->data + 10);
    if (!bmp->pixels || (bmp->pixels == FILE_HEADER_SIZE + header_size && bmp->bits <= 8))
        bmp->pixels = end;
    return status;
}

static uint8_t *output_row(const struct bmp *bmp, aac_pixels *pixels, uint32_t y)
{
    return pixels->rgb + (size_t)(bmp->top_down ? y : bmp->height - 1 - y) * bmp->width * 3;
}

static void unpack_indices(const struct bmp *bmp, const uint8_t *row, uint8_t *rgb)
{
    const uint32_t bits = bmp->bits, per_byte = 8 / bits, most = (1u << bits) - 1;
    for (uint32_t x = 0; x < bmp->width; x++) {
        uint32_t shift = 8 - bits * (x % per_byte + 1);
        uint32_t index = (uint32_t)row[x / per_byte] >> shift & most;
        memcpy(rgb + 3 * (size_t)x, bmp->palette[index], 3);
    }
}

/* The field of a pixel as 8 bits; 5 and 6 bits are scaled and rounded down, as in Pillow. */
static uint8_t field_of(uint32_t pixel, uint32_t mask)
{
    uint32_t shift = (uint32_t)__builtin_ctz(mask), most = mask >> shift;
    return (uint8_t)((pixel >> shift & most) * 255 / most);
}

static void unpack_words(const struct bmp *bmp, const uint8_t *row, uint8_t *rgb)
{
    for (uint32_t x = 0; x < bmp->width; x++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * (size_t)x + c] = field_of(read_u16(row + 2 * (size_t)x), bmp->mask[c]);
}

static void unpack_bytes(const struct bmp *bmp, const uint8_t *row, uint8_t *rgb)
{
    const size_t step = bmp->bits / 8;
    const size_t offset[3] = {(size_t)__builtin_ctz(bmp->mask[0]) / 8,
                              (size_t)__builtin_ctz(bmp->mask[1]) / 8,
                              (size_t)__builtin_ctz(bmp->mask[2]) / 8};
    for (size_t x = 0; x < bmp->width; x++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * x + c] = row[x * step + offset[c]];
}

static aaclip_status read_raw(const struct bmp *bmp, aac_pixels *pixels)
{
    const uint64_t row_bits = (uint64_t)bmp->width * bmp->bits;
    const uint64_t stride = (row_bits + 31) / 32 * 4, row_bytes = (row_bits + 7) / 8;
    /* The padding of the last row may be missing. */
    const uint64_t needed = (bmp->height - 1) * stride + row_bytes;
    if (bmp->pixels > bmp->size || needed > bmp->size - bmp->pixels)
        return truncated();
    aaclip_status status = aac_pixels_new(pixels, bmp->width, bmp->height);
    if (status)
        return status;
    for (uint32_t y = 0; !status && y < bmp->height; y++) {
        const uint8_t *row = bmp->data + bmp->pixels + y * stride;
        uint8_t *rgb = output_row(bmp, pixels, y);
        if (bmp->bits <= 8)
            unpack_indices(bmp, row, rgb);
        else if (bmp->bits == 16)
            unpack_words(bmp, row, rgb);
        else
            unpack_bytes(bmp, row, rgb);
        status = aac_cancel_look();
    }
    return status;
}

/* Run lengths fill the pixels in order, row after row, from `filled` on. */
struct runs {
    const struct bmp *bmp;
    aac_pixels *pixels;
    size_t filled, total;
    size_t column; /* as counted by the runs; an absolute run may exceed the row */
    size_t at;     /* in the file */
};

/* Fills pixels within one row with two alternating colours. */
static void fill(uint8_t *rgb, size_t count, const uint8_t *first, const uint8_t *second)
{
    for (size_t i = 0; i < count; i++, rgb += 3) {
        const uint8_t *colour = i % 2 ? second : first;
        rgb[0] = colour[0];
        rgb[1] = colour[1];
        rgb[2] = colour[2];
    }
}

static void put(struct runs *runs, size_t count, uint8_t first, uint8_t second)
{
    const struct bmp *bmp = runs->bmp;
    const uint8_t *colours[2] = {bmp->palette[first], bmp->palette[second]};
    size_t left = runs->total - runs->filled;
    left = count < left ? count : left;
    for (size_t done = 0, part; done < left; done += part, runs->filled += part) {
        const size_t x = runs->filled % bmp->width, row = bmp->width - x;
        uint8_t *rgb = output_row(bmp, runs->pixels, (uint32_t)(runs->filled / bmp->width)) + 3 * x;
        part = left - done < row ? left - done : row;
        fill(rgb, part, colours[done % 2], colours[(done + 1) % 2]);
    }
}

static void put_run(struct runs *runs, size_t count, uint8_t value)
{
    const size_t width = runs->bmp->width;
    size_t space = runs->column < width ? width - runs->column : 0;
    if (count > space)
        count = space;
    if (runs->bmp->compression == RLE4)
        put(runs, count, value >> 4, value & 15);
    else
        put(runs, count, value, value);
    runs->column += count;
}

static aaclip_status put_literals(struct runs *runs, size_t count)
{
    const struct bmp *bmp = runs->bmp;
    const bool packed = bmp->compression == RLE4;
    size_t left = runs->total - runs->filled;
    size_t used = count < left ? count : left;
    size_t bytes = packed ? (used + 1) / 2 : used;
    if (bytes > bmp->size - runs->at)
        return truncated();
    for (size_t i = 0; i < used; i++) {
        uint8_t byte = bmp->data[runs->at + (packed ? i / 2 : i)];
        uint8_t value = !packed ? byte : i % 2 ? byte & 15 : byte >> 4;
        put(runs, 1, value, value);
    }
    runs->column += count;
    runs->at += bytes;
    runs->at += runs->at & 1;
    return AACLIP_OK;
}

/* Skips pixels: they get colour 0. */
static void skip_pixels(struct runs *runs, size_t count)
{
    put(runs, count, 0, 0);
    runs->column = runs->filled % runs->bmp->width;
}

static void end_line(struct runs *runs)
{
    const size_t width = runs->bmp->width;
    put(runs, (width - runs->filled % width) % width, 0, 0);
    runs->column = 0;
}

static aaclip_status read_runs(const struct bmp *bmp, aac_pixels *pixels)
{
    enum { END_OF_LINE, END_OF_IMAGE, DELTA };
    aaclip_status status = aac_pixels_new(pixels, bmp->width, bmp->height);
    struct runs runs = {bmp, pixels, 0, (size_t)bmp->width * bmp->height, 0, bmp->pixels};
    while (!status && runs.filled < runs.total) {
        if (runs.at > bmp->size || bmp->size - runs.at < 2)
            return truncated();
        const uint8_t count = bmp->data[runs.at], value = bmp->data[runs.at + 1];
        runs.at += 2;
        if (count) {
            put_run(&runs, count, value);
        } else if (value == END_OF_LINE) {
            end_line(&runs);
        } else if (value == END_OF_IMAGE) {
            put(&runs, runs.total - runs.filled, 0, 0);
        } else if (value == DELTA) {
            if (bmp->size - runs.at < 2)
                return truncated();
            skip_pixels(&runs, bmp->data[runs.at] + (size_t)bmp->data[runs.at + 1] * bmp->width);
            runs.at += 2;
        } else {
            status = put_literals(&runs, value);
        }
        if (!status)
            status = aac_cancel_look();
    }
    return status;
}

aaclip_status aac_read_bmp(aac_pixels *pixels, const uint8_t *data, size_t size,
                           const aac_window *window)
{
    (void)window; /* 8 bits */
    struct bmp bmp = {.data = data, .size = size};
    aaclip_status status = read_header(&bmp);
    if (status)
        return status;
    if (!bmp.width || !bmp.height)
        return aac_error(AACLIP_ERROR_FORMAT, "BMP: an image of %ux%u pixels", bmp.width,
                         bmp.height);
    bool packed = bmp.compression == RLE8 || bmp.compression == RLE4;
    return packed ? read_runs(&bmp, pixels) : read_raw(&bmp, pixels);
}
