/* The decoders: each turns the bytes of one type of file into RGB8. Errors do not name the file. */
#ifndef AAC_IMAGES_DECODERS_H
#define AAC_IMAGES_DECODERS_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

typedef struct aac_pixels {
    uint8_t *rgb; /* from aac_alloc; width * height * 3 bytes, rows without padding */
    uint32_t width, height;
    size_t clipped; /* 16-bit grey: pixels that count as 255, where they told anything apart */
} aac_pixels;

/* FORMAT for an empty image, UNSUPPORTED for one above the limit of pixels. */
aaclip_status aac_pixels_check(uint32_t width, uint32_t height);
/* FORMAT when a file of `size` bytes is smaller than its pixels can be, however well packed. */
aaclip_status aac_pixels_check_file(const char *type, uint32_t width, uint32_t height,
                                    uint64_t smallest, size_t size);
/* Checks the size and allocates the pixels, not set. */
aaclip_status aac_pixels_new(aac_pixels *pixels, uint32_t width, uint32_t height);

/* On failure the caller frees what pixels->rgb then holds. */
aaclip_status aac_read_png(aac_pixels *pixels, const uint8_t *data, size_t size);
aaclip_status aac_read_jpeg(aac_pixels *pixels, const uint8_t *data, size_t size);
aaclip_status aac_read_bmp(aac_pixels *pixels, const uint8_t *data, size_t size);

#endif
