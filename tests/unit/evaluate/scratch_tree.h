/* A temporary folder that a test fills with the folders, images and lists of a data set. */
#ifndef TEST_SCRATCH_TREE_H
#define TEST_SCRATCH_TREE_H

#include <stddef.h>
#include <stdint.h>

/* cmocka setup and teardown: *state is the folder's path; it is removed with its contents. */
int scratch_tree_make(void **state);
int scratch_tree_remove(void **state);

/* The following create parent folders as needed. Paths are relative to `root`. */
void scratch_tree_text(const char *root, const char *path, const char *text);
/* A small image of the type given by the extension: png, bmp, jpg or jpeg, in any case. */
void scratch_tree_image(const char *root, const char *path);
/* A PNG (a BMP in a build without PNG) of the given size: noise from `seed`; for a mask, grey
 * values 0 and 255. */
void scratch_tree_noise(const char *root, const char *path, uint32_t width, uint32_t height,
                        uint32_t seed);
void scratch_tree_mask(const char *root, const char *path, uint32_t width, uint32_t height,
                       uint32_t seed);
/* The same, of one grey value. */
void scratch_tree_plain(const char *root, const char *path, uint32_t width, uint32_t height,
                        uint8_t value);

#endif
