/* A temporary folder that a test fills with the folders, images and lists of a data set. */
#ifndef TEST_SCRATCH_TREE_H
#define TEST_SCRATCH_TREE_H

#include <stddef.h>
#include <stdint.h>

/* cmocka setup and teardown: *state becomes the folder's path; it is removed with all in it. */
int scratch_tree_make(void **state);
int scratch_tree_remove(void **state);

/* The following make the folders on the way. Paths are relative to `root`. */
void scratch_tree_text(const char *root, const char *path, const char *text);
/* A small image of the type that the ending names: png, bmp, jpg or jpeg, in any case. */
void scratch_tree_image(const char *root, const char *path);
/* A PNG, in a build without it a BMP, of a size: noise from `seed`; grey values of 0 and 255 when
 * it is a mask. */
void scratch_tree_noise(const char *root, const char *path, uint32_t width, uint32_t height,
                        uint32_t seed);
void scratch_tree_mask(const char *root, const char *path, uint32_t width, uint32_t height,
                       uint32_t seed);
/* The same, of one grey value. */
void scratch_tree_plain(const char *root, const char *path, uint32_t width, uint32_t height,
                        uint8_t value);

#endif
