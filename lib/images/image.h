/* Images inside the library: opening without the warning that the public function logs. */
#ifndef AAC_IMAGES_IMAGE_H
#define AAC_IMAGES_IMAGE_H

#include <stdbool.h>

#include <aaclip/image.h>

#include "core/window.h"

/* aaclip_image_open for files that are read often, or for masks, whose grey levels do not matter.
 * `window`, which may be NULL, as of aaclip_image_open_window. */
aaclip_status aac_image_open(aaclip_image **image, const char *path, const aac_window *window);

/* Whether grey levels were lost when the image was clipped to 8 bits, and a warning about it. */
bool aac_image_is_clipped(const aaclip_image *image);
void aac_image_warn(const aaclip_image *image, const char *path);

#endif
