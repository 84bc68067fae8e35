/**
 * @file
 * Images: decode files, describe pixels in memory, write maps and overlays.
 */
#ifndef AACLIP_IMAGE_H
#define AACLIP_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/** Layout of one pixel, in memory order. 16-bit samples are in the machine's byte order. */
typedef enum aaclip_pixel_format {
    AACLIP_PIXEL_RGB8 = 0,   /**< as in Pillow */
    AACLIP_PIXEL_BGR8 = 1,   /**< as in OpenCV */
    AACLIP_PIXEL_RGBA8 = 2,  /**< alpha is dropped, as Pillow's convert("RGB") does */
    AACLIP_PIXEL_BGRA8 = 3,  /**< alpha is dropped */
    AACLIP_PIXEL_GRAY8 = 4,  /**< used as R, G and B */
    AACLIP_PIXEL_GRAY16 = 5, /**< the high byte is used */
    AACLIP_PIXEL_RGB16 = 6,  /**< the high byte is used */
    AACLIP_PIXEL_BGR16 = 7   /**< the high byte is used */
} aaclip_pixel_format;

/** Pixels that the caller owns; the library does not keep them after a call. */
typedef struct aaclip_image_view {
    const void *pixels;         /**< the first pixel of the first row */
    uint32_t width,             /**< pixels in a row */
        height;                 /**< rows */
    size_t stride;              /**< bytes from one row to the next, 0: no padding */
    aaclip_pixel_format format; /**< of one pixel */
} aaclip_image_view;

/** A decoded image, RGB8. Immutable; may be read from several threads. */
typedef struct aaclip_image aaclip_image;

/**
 * Decodes a PNG, JPEG or BMP file to the pixels that Pillow's `Image.open(path).convert("RGB")`
 * gives (gamma, colour profiles and EXIF orientation are ignored, as there). The type is detected
 * from the content, not the name. Close with aaclip_image_close.
 * 16-bit PNGs keep the high byte, except grey without alpha, whose values are clipped at 255, as in
 * Pillow; where that merges different values of more than one pixel in a hundred, a warning in the
 * log names the file. Where versions of Pillow differ (damaged palettes, BMP headers, run lengths),
 * the pixels are those of Pillow 13. A PNG without its end, a BMP without its last padding and a
 * JPEG with damaged but complete data are read, as there; a wrong PNG checksum is an error here.
 * Errors: NOT_FOUND, IO, FORMAT (empty, damaged or truncated), UNSUPPORTED (CMYK or 12-bit JPEG,
 * another type of file, more pixels than aaclip_limits allows, a build without PNG or JPEG),
 * OUT_OF_MEMORY. On failure *image is NULL.
 */
AACLIP_API aaclip_status aaclip_image_open(aaclip_image **image, const char *path);

/**
 * aaclip_image_open, except that in 16-bit PNGs, grey or colour, the values from `low` to `high`
 * become 0 to 255 as in aaclip_image_window: for scans of 10 to 16 bits. 8-bit files are read as
 * usual.
 * Errors: also INVALID_ARGUMENT (low >= high).
 */
AACLIP_API aaclip_status aaclip_image_open_window(aaclip_image **image, const char *path,
                                                  double low, double high);

/**
 * aaclip_image_open from `size` bytes in memory; `name` stands for the path in error texts. Errors
 * as there, except NOT_FOUND and IO.
 */
AACLIP_API aaclip_status aaclip_image_decode(aaclip_image **image, const void *bytes, size_t size,
                                             const char *name);

/** aaclip_image_decode with the window of aaclip_image_open_window. */
AACLIP_API aaclip_status aaclip_image_decode_window(aaclip_image **image, const void *bytes,
                                                    size_t size, const char *name, double low,
                                                    double high);

/** The pixels, RGB8; valid as long as the image. For NULL all members are 0. */
AACLIP_API aaclip_image_view aaclip_image_get_view(const aaclip_image *image);

/** Frees the image and sets *image to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_image_close(aaclip_image **image);

/**
 * Resizes to width x height RGB8 (`rgb` holds width * height * 3 bytes, no padding), bit for bit as
 * Pillow's `Image.resize((width, height), Image.BICUBIC)`: antialiased, a = -0.5, fixed point,
 * columns first. (Pillow 12.3 and later resize the rows of some tall images first; their results
 * then differ by the rounding and clipping between the passes.)
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY, UNSUPPORTED for an image so narrow that it has more
 * pixels than aaclip_limits.image_pixels once its shorter side is enlarged and its longer one is
 * not yet reduced. Any thread; large images use the threads of OpenMP.
 */
AACLIP_API aaclip_status aaclip_image_resize(const aaclip_image_view *image, uint32_t width,
                                             uint32_t height, uint8_t *rgb);

/**
 * Maps the values from `low` to `high` to RGB8, for images that fill only part of their 16 bits (0
 * to 4095, say): `low` and less becomes 0, `high` and more 255, linear in between, rounded to
 * nearest. `rgb` holds width * height * 3 bytes, no padding; with an 8-bit view the values are its
 * 8-bit ones. Use one window for all images that are calibrated, trained or compared together.
 * Errors: INVALID_ARGUMENT (also low >= high).
 */
AACLIP_API aaclip_status aaclip_image_window(const aaclip_image_view *image, double low,
                                             double high, uint8_t *rgb);

/**
 * @file
 *
 * Writers. Each file appears whole or not at all; existing files are replaced. Except on Windows,
 * the new file has the permissions of the old one, and where the path is a symbolic link, its
 * target is replaced. This holds for every file that the library writes. Errors: IO,
 * INVALID_ARGUMENT, UNSUPPORTED (PNG in a build without it), OUT_OF_MEMORY.
 */

/**
 * Writes an 8-bit PNG: grey for GRAY8, RGB for everything else. Errors: IO, INVALID_ARGUMENT,
 * OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_write_png(const char *path, const aaclip_image_view *image);

/**
 * Writes a 16-bit grey PNG of width x height values in [0, 1] (clamped; NaN is 0), 65535 = 1. No
 * padding. Errors: IO, INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_write_png16(const char *path, const float *values, uint32_t width,
                                            uint32_t height);

/**
 * Writes a NumPy array of float32, row-major: shape[0] * ... * shape[rank - 1] values, `rank` 1
 * to 8. Errors: IO, INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_write_npy(const char *path, const float *values,
                                          const size_t *shape, unsigned rank);

/**
 * Maps values in [0, 1] (clamped; NaN is 0, blue) to colours, from blue through cyan, green and
 * yellow to red, on a fixed scale: a value has the same colour in every image. `rgb` holds
 * count * 3 bytes. If `values` or `rgb` is NULL, nothing is written.
 * With v = 4 * value and every result clamped to [0, 1]: red = v - 2, green = min(v, 4 - v),
 * blue = 2 - v.
 */
AACLIP_API void aaclip_colour_map(const float *values, size_t count, uint8_t *rgb);

/**
 * Blends a heat map over an image of the same size: (1 - opacity) * image + opacity * colour.
 * `values` in [0, 1], width * height of the image; `opacity` in [0, 1]; `rgb` holds
 * width * height * 3 bytes. Errors: INVALID_ARGUMENT.
 */
AACLIP_API aaclip_status aaclip_overlay(const aaclip_image_view *image, const float *values,
                                        float opacity, uint8_t *rgb);

/**
 * Bilinear resize of a float map, corners aligned (the interpolation of the anomaly map), from
 * width x height values to new_width x new_height in `resized`, which must not overlap `map`.
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_map_resize(const float *map, uint32_t width, uint32_t height,
                                           uint32_t new_width, uint32_t new_height, float *resized);

/**
 * Resizes a mask by nearest neighbour, as Pillow's NEAREST, and as detectors do with their region
 * of interest: for programs that decide on maps of another size. `mask` has width x height values,
 * which are kept as they are, `resized` new_width x new_height; they must not overlap.
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_mask_resize(const uint8_t *mask, uint32_t width, uint32_t height,
                                            uint32_t new_width, uint32_t new_height,
                                            uint8_t *resized);

AACLIP_END_DECLS

#endif
