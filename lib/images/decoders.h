/* The decoders, each from one file type to RGB8. Errors do not name the file. */
#ifndef AAC_IMAGES_DECODERS_H
#define AAC_IMAGES_DECODERS_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

#include "core/window.h"

typedef struct aac_pixels {
    uint8_t *rgb; /* from aac_alloc; width * height * 3 bytes, rows without padding */
    uint32_t width, height;
    size_t clipped; /* 16-bit grey: pixels clipped to 255, if that lost any distinction */
} aac_pixels;

/* INVALID_ARGUMENT, naming the function, unless it is valid. */
aaclip_status aac_window_check(const aac_window *window, const char *function);
/* Maps big-endian 16-bit samples to bytes. */
void aac_window_apply(const aac_window *window, const uint8_t *samples, size_t count,
                      uint8_t *bytes);

/* FORMAT for an empty image, UNSUPPORTED for one above the pixel limit. */
aaclip_status aac_pixels_check(uint32_t width, uint32_t height);
/* FORMAT if a file of `size` bytes is smaller than its pixels can be compressed to. */
aaclip_status aac_pixels_check_file(const char *type, uint32_t width, uint32_t height,
                                    uint64_t smallest, size_t size);
/* Checks the size and allocates the pixels, uninitialised. */
aaclip_status aac_pixels_new(aac_pixels *pixels, uint32_t width, uint32_t height);

/* `window`, which may be NULL, is for 16-bit files. The caller always frees pixels->rgb. */
aaclip_status aac_read_png(aac_pixels *pixels, const uint8_t *data, size_t size,
                           const aac_window *window);
aaclip_status aac_read_jpeg(aac_pixels *pixels, const uint8_t *data, size_t size,
                            const aac_window *window);
aaclip_status aac_read_bmp(aac_pixels *pixels, const uint8_t *data, size_t size,
                           const aac_window *window);

#endif
