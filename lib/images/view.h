/* Pixels in memory: whether a view is valid, and its rows as RGB8 whatever the format. */
#ifndef AAC_IMAGES_VIEW_H
#define AAC_IMAGES_VIEW_H

#include <stdbool.h>

#include <aaclip/image.h>

/* Which bytes of a row are used: colour c of pixel x is row[x * step + offset[c]]. */
typedef struct aac_layout {
    size_t step;
    size_t offset[3]; /* red, green, blue; of a 16-bit sample the high byte */
} aac_layout;

/* INVALID_ARGUMENT if the view has no pixels, no size, an unknown format or too small a stride. */
aaclip_status aac_view_check(const aaclip_image_view *view);

/* Whether a width and height are usable: from 1 to 2^31 - 1, else INVALID_ARGUMENT. */
aaclip_status aac_size_check(uint32_t width, uint32_t height);

/* Pillow's convert("L"). */
static inline uint8_t aac_grey(uint8_t red, uint8_t green, uint8_t blue)
{
    return (uint8_t)((red * 19595u + green * 38470u + blue * 7471u + 0x8000u) >> 16);
}

/* The following take checked views. */
aac_layout aac_view_layout(const aaclip_image_view *view);
const uint8_t *aac_view_row(const aaclip_image_view *view, uint32_t y);
void aac_view_row_rgb(const aaclip_image_view *view, uint32_t y, uint8_t *rgb);
/* Whether samples have 16 bits. */
bool aac_view_is_wide(const aaclip_image_view *view);
/* Whether the lower `bits`, 8 or more, hold all samples of a view of 16 bits. */
bool aac_view_fits(const aaclip_image_view *view, unsigned bits);

#endif
