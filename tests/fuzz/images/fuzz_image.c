/* Whatever the bytes, decoding an image gives pixels or a status with a text. */
#include <stdlib.h>

#include <aaclip/image.h>

#include "../fuzz.h"

/* Files may ask for half a gigabyte of pixels; a small limit keeps the runs quick. */
static void *allocate(size_t size, void *user)
{
    (void)user;
    return size <= 1 << 20 ? malloc(size) : NULL;
}

static void deallocate(void *pointer, void *user)
{
    (void)user;
    free(pointer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const aaclip_allocator small = {allocate, deallocate, NULL};
    aaclip_set_allocator(&small);
    aaclip_image *image;
    aaclip_status status = aaclip_image_decode(&image, data, size, "fuzz");
    if ((status == AACLIP_OK) != (image != NULL) || (status && !*aaclip_last_error()))
        abort();
    if (image) {
        aaclip_image_view view = aaclip_image_get_view(image);
        uint8_t resized[7 * 5 * 3];
        if (aaclip_image_resize(&view, 7, 5, resized) == AACLIP_ERROR_INVALID_ARGUMENT)
            abort();
    }
    aaclip_image_close(&image);
    return 0;
}
