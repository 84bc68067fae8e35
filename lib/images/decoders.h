/* The decoders: each turns the bytes of one type of file into RGB8. Errors do not name the file. */
#ifndef AAC_IMAGES_DECODERS_H
#define AAC_IMAGES_DECODERS_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

#include "core/window.h"

typedef struct aac_pixels {
    uint8_t *rgb; /* from aac_alloc; width * height * 3 bytes, rows without padding */
    uint32_t width, height;
    size_t clipped; /* 16-bit grey: pixels that count as 255, where they told anything apart */
} aac_pixels;

/* Of values of 16 bits, high byte first, bytes; one for each. */
void aac_window_apply(const aac_window *window, const uint8_t *samples, size_t count,
                      uint8_t *bytes);

/* FORMAT for an empty image, UNSUPPORTED for one above the limit of pixels. */
aaclip_status aac_pixels_check(uint32_t width, uint32_t height);
/* FORMAT when a file of `size` bytes is smaller than its pixels can be, however well packed. */
aaclip_status aac_pixels_check_file(const char *type, uint32_t width, uint32_t height,
                                    uint64_t smallest, size_t size);
/* Checks the size and allocates the pixels, not set. */
aaclip_status aac_pixels_new(aac_pixels *pixels, uint32_t width, uint32_t height);

/* `window`, which may be NULL, is for files of 16 bits. On failure the caller frees what
 * pixels->rgb then holds. */
aaclip_status aac_read_png(aac_pixels *pixels, const uint8_t *data, size_t size,
                           const aac_window *window);
aaclip_status aac_read_jpeg(aac_pixels *pixels, const uint8_t *data, size_t size,
                            const aac_window *window);
aaclip_status aac_read_bmp(aac_pixels *pixels, const uint8_t *data, size_t size,
                           const aac_window *window);

#endif
