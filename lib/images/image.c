/* Images in the public API: the type of a file from its content, the handle. */
#include <stdbool.h>
#include <string.h>

#include <aaclip/image.h>

#include "core/error.h"
#include "core/limits.h"
#include "core/memory.h"
#include "core/platform.h"
#include "images/decoders.h"
#include "images/image.h"

struct aaclip_image {
    aac_pixels pixels;
};

static const struct file_type {
    const char *signature;
    size_t length;
    aaclip_status (*read)(aac_pixels *pixels, const uint8_t *data, size_t size,
                          const aac_window *window);
} file_types[] = {
    {"\x89PNG\r\n\x1a\n", 8, aac_read_png},
    {"\xff\xd8\xff", 3, aac_read_jpeg},
    {"BM", 2, aac_read_bmp},
};

aaclip_status aac_pixels_check(uint32_t width, uint32_t height)
{
    if (!width || !height)
        return aac_error(AACLIP_ERROR_FORMAT, "an image of %ux%u pixels", width, height);
    const uint64_t most = aac_limit(AAC_LIMIT_IMAGE_PIXELS);
    if ((uint64_t)width * height <= most)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_UNSUPPORTED,
                     "expected at most %llu pixels, found %ux%u" AAC_LIMIT_HINT,
                     (unsigned long long)most, width, height);
}

aaclip_status aac_pixels_check_file(const char *type, uint32_t width, uint32_t height,
                                    uint64_t smallest, size_t size)
{
    if (size >= smallest)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_FORMAT,
                     "%s: the file is truncated: expected at least %llu bytes for %ux%u pixels, "
                     "found %zu",
                     type, (unsigned long long)smallest, width, height, size);
}

aaclip_status aac_pixels_new(aac_pixels *pixels, uint32_t width, uint32_t height)
{
    aaclip_status status = aac_pixels_check(width, height);
    if (status)
        return status;
    *pixels = (aac_pixels){
        .rgb = aac_alloc_array((size_t)width * height, 3), .width = width, .height = height};
    return pixels->rgb ? AACLIP_OK : aac_error_memory();
}

static aaclip_status read_pixels(aac_pixels *pixels, const uint8_t *data, size_t size,
                                 const aac_window *window)
{
    if (!size)
        return aac_error(AACLIP_ERROR_FORMAT, "the file is empty");
    for (size_t i = 0; i < sizeof file_types / sizeof *file_types; i++) {
        const struct file_type *type = &file_types[i];
        if (size >= type->length && memcmp(data, type->signature, type->length) == 0)
            return type->read(pixels, data, size, window);
    }
    return aac_error(AACLIP_ERROR_UNSUPPORTED,
                     "expected a PNG, JPEG or BMP image, found another "
                     "type of file");
}

static aaclip_status decode(aaclip_image **image, const void *bytes, size_t size, const char *name,
                            const aac_window *window)
{
    aaclip_image *decoded = aac_calloc(1, sizeof *decoded);
    if (!decoded)
        return aac_error_prefix(aac_error_memory(), "%s", name);
    aaclip_status status = read_pixels(&decoded->pixels, bytes, size, window);
    if (status) {
        aaclip_image_close(&decoded);
        return aac_error_prefix(status, "%s", name);
    }
    *image = decoded;
    return AACLIP_OK;
}

bool aac_image_is_clipped(const aaclip_image *image)
{
    return image->pixels.clipped > 0;
}

void aac_image_warn(const aaclip_image *image, const char *path)
{
    const aac_pixels *pixels = &image->pixels;
    aac_log(AACLIP_LOG_WARNING,
            "%s: 16-bit grey: %zu of %zu pixels are above 255 and are clipped to 255, as in "
            "Pillow; choose a window of values (docs/faq.md, \"Pictures with more than 8 bits\")",
            path, pixels->clipped, (size_t)pixels->width * pixels->height);
}

aaclip_status aaclip_image_decode(aaclip_image **image, const void *bytes, size_t size,
                                  const char *name)
{
    if (!image)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_image_decode: no output");
    *image = NULL;
    if (!bytes || !name)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_image_decode: no bytes or no name");
    aaclip_status status = decode(image, bytes, size, name, NULL);
    if (!status && aac_image_is_clipped(*image))
        aac_image_warn(*image, name);
    return status;
}

aaclip_status aaclip_image_decode_window(aaclip_image **image, const void *bytes, size_t size,
                                         const char *name, double low, double high)
{
    const aac_window window = {low, high};
    if (!image)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_image_decode_window: no output");
    *image = NULL;
    if (!bytes || !name)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_image_decode_window: no bytes or no name");
    aaclip_status status = aac_window_check(&window, "aaclip_image_decode_window");
    return status ? status : decode(image, bytes, size, name, &window);
}

aaclip_status aac_image_open(aaclip_image **image, const char *path, const aac_window *window)
{
    aac_mapping file;
    *image = NULL;
    aaclip_status status = aac_read_file(&file, path);
    if (status)
        return status;
    status = decode(image, file.data, file.size, path, window);
    aac_unmap_file(&file);
    return status;
}

aaclip_status aaclip_image_open(aaclip_image **image, const char *path)
{
    if (!image)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_image_open: no output");
    *image = NULL;
    if (!path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_image_open: no path");
    aaclip_status status = aac_image_open(image, path, NULL);
    if (!status && aac_image_is_clipped(*image))
        aac_image_warn(*image, path);
    return status;
}

aaclip_status aaclip_image_open_window(aaclip_image **image, const char *path, double low,
                                       double high)
{
    const aac_window window = {low, high};
    if (!image)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_image_open_window: no output");
    *image = NULL;
    if (!path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_image_open_window: no path");
    aaclip_status status = aac_window_check(&window, "aaclip_image_open_window");
    return status ? status : aac_image_open(image, path, &window);
}

aaclip_image_view aaclip_image_get_view(const aaclip_image *image)
{
    if (!image)
        return (aaclip_image_view){0};
    return (aaclip_image_view){
        .pixels = image->pixels.rgb,
        .width = image->pixels.width,
        .height = image->pixels.height,
        .stride = (size_t)image->pixels.width * 3,
        .format = AACLIP_PIXEL_RGB8,
    };
}

void aaclip_image_close(aaclip_image **image)
{
    if (!image || !*image)
        return;
    aac_free((*image)->pixels.rgb);
    aac_free(*image);
    *image = NULL;
}
