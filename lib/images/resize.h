/* Internal resizing: the masks of data sets. */
#ifndef AAC_IMAGES_RESIZE_H
#define AAC_IMAGES_RESIZE_H

#include <stdbool.h>

#include <aaclip/image.h>

/* Whether any pixel of a mask (a valid view) is nonzero, and whether any is zero. */
void aac_mask_values(const aaclip_image_view *mask, bool *any_set, bool *any_clear);

/*
 * Resizes a mask like Pillow's NEAREST and writes 1 where it is nonzero, 0 elsewhere (width *
 * height bytes). Zero is what Pillow's convert("L") calls zero, and for 16-bit formats a pixel
 * whose samples are all zero. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
aaclip_status aac_resize_mask(const aaclip_image_view *mask, uint32_t width, uint32_t height,
                              uint8_t *out);

#endif
