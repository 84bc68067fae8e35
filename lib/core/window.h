/* Which 16-bit values map to 0 to 255: aaclip_image_window. */
#ifndef AAC_CORE_WINDOW_H
#define AAC_CORE_WINDOW_H

#include <stdbool.h>

typedef struct aac_window {
    double low, high;
} aac_window;

/* Finite numbers, the smaller first. */
bool aac_window_is_valid(const aac_window *window);
/* Not both 0, which means none. */
bool aac_window_is_given(const aac_window *window);

#endif
