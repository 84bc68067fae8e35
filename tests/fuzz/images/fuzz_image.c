/* Whatever the bytes, decoding an image gives pixels or a status with a text. */
#include <stdlib.h>

#include <aaclip/image.h>
#include <aaclip/limits.h>

#include "../fuzz.h"

#define MOST_SIDE 48 /* of the part that is resized */

/* For one file size in sixteen, images of any size are allowed, but find no memory; the others are
 * limited to 16,384 pixels, to keep runs fast. */
static void set_limits(size_t size)
{
    aaclip_limits limits;
    aaclip_limits_init(&limits);
    limits.memory_bytes = (uint64_t)1 << 20;
    if (size % 16)
        limits.image_pixels = (uint64_t)1 << 14;
    if (aaclip_limits_set(&limits))
        abort();
}

static void resize(const aaclip_image *image)
{
    uint8_t resized[7 * 5 * 3];
    aaclip_image_view view = aaclip_image_get_view(image);
    view.stride = view.stride ? view.stride : (size_t)view.width * 3;
    view.width = view.width < MOST_SIDE ? view.width : MOST_SIDE;
    view.height = view.height < MOST_SIDE ? view.height : MOST_SIDE;
    if (aaclip_image_resize(&view, 7, 5, resized) == AACLIP_ERROR_INVALID_ARGUMENT)
        abort();
}

void fuzz_one(const uint8_t *data, size_t size)
{
    set_limits(size);
    aaclip_image *image;
    aaclip_status status = aaclip_image_decode(&image, data, size, "fuzz");
    if ((status == AACLIP_OK) != (image != NULL) || (status && !*aaclip_last_error()))
        abort();
    if (image)
        resize(image);
    aaclip_image_close(&image);
}
