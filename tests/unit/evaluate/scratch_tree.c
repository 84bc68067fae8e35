#include "scratch_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <aaclip/image.h>

#include "core/platform.h"
#include "system.h"

int scratch_tree_make(void **state)
{
    *state = system_temporary_folder("aaclip-tree");
    return *state ? 0 : -1;
}

int scratch_tree_remove(void **state)
{
    int failed = system_remove(*state);
    free(*state);
    return failed;
}

static void make_path(char path[4096], const char *root, const char *name)
{
    assert_in_range(snprintf(path, 4096, "%s/%s", root, name), 1, 4095);
    for (char *slash = path + strlen(root); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        system_make_folder(path);
        *slash = '/';
    }
}

static void write_file(const char *root, const char *name, const void *data, size_t size)
{
    char path[4096];
    make_path(path, root, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        fail_msg("cannot write %s", path);
}

void scratch_tree_text(const char *root, const char *path, const char *text)
{
    write_file(root, path, text, strlen(text));
}

void scratch_tree_image(const char *root, const char *path)
{
    const char *ending = strrchr(path, '.');
    const bool bmp = strcmp(ending, ".bmp") == 0 || strcmp(ending, ".BMP") == 0;
    const bool png = strcmp(ending, ".png") == 0 || strcmp(ending, ".PNG") == 0;
    const char *golden = bmp   ? GOLDEN_DIR "/images/bits24.bmp"
                         : png ? GOLDEN_DIR "/images/rgb8.png"
                               : GOLDEN_DIR "/images/colour-420.jpg";
    aac_mapping file;
    if (aac_map_file(&file, golden))
        fail_msg("no golden image %s", golden);
    write_file(root, path, file.data, file.size);
    aac_unmap_file(&file);
}

static uint8_t *noise(size_t count, uint32_t seed)
{
    uint8_t *bytes = malloc(count);
    assert_non_null(bytes);
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < count; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(x >> 24);
    }
    return bytes;
}

#ifdef AAC_HAVE_PNG

static void write_image(const char *root, const char *name, const aaclip_image_view *view)
{
    char path[4096];
    make_path(path, root, name);
    assert_int_equal(aaclip_write_png(path, view), AACLIP_OK);
}

#else

/* The same pixels as a BMP of 24 bits, from the top down; the name does not matter. */
static void write_image(const char *root, const char *name, const aaclip_image_view *view)
{
    const size_t stride = ((size_t)view->width * 3 + 3) / 4 * 4, size = 54 + stride * view->height;
    const unsigned step = view->format == AACLIP_PIXEL_RGB8 ? 3 : 1;
    uint8_t *bytes = calloc(1, size);
    assert_non_null(bytes);
    const int32_t header[] = {(int32_t)size,          0,           54, 40, (int32_t)view->width,
                              -(int32_t)view->height, 24 << 16 | 1};
    memcpy(bytes, "BM", 2);
    memcpy(bytes + 2, header, sizeof header);
    for (uint32_t y = 0; y < view->height; y++)
        for (uint32_t x = 0; x < view->width; x++) {
            const uint8_t *from =
                (const uint8_t *)view->pixels + (y * (size_t)view->width + x) * step;
            for (unsigned c = 0; c < 3; c++)
                bytes[54 + y * stride + 3 * x + c] = from[step == 3 ? 2 - c : 0];
        }
    write_file(root, name, bytes, size);
    free(bytes);
}

#endif

void scratch_tree_noise(const char *root, const char *path, uint32_t width, uint32_t height,
                        uint32_t seed)
{
    uint8_t *pixels = noise((size_t)width * height * 3, seed);
    write_image(root, path, &(aaclip_image_view){pixels, width, height, 0, AACLIP_PIXEL_RGB8});
    free(pixels);
}

void scratch_tree_plain(const char *root, const char *path, uint32_t width, uint32_t height,
                        uint8_t value)
{
    uint8_t *pixels = malloc((size_t)width * height);
    assert_non_null(pixels);
    memset(pixels, value, (size_t)width * height);
    write_image(root, path, &(aaclip_image_view){pixels, width, height, 0, AACLIP_PIXEL_GRAY8});
    free(pixels);
}

void scratch_tree_mask(const char *root, const char *path, uint32_t width, uint32_t height,
                       uint32_t seed)
{
    uint8_t *pixels = noise((size_t)width * height, seed);
    for (size_t i = 0; i < (size_t)width * height; i++)
        pixels[i] = pixels[i] > 199 ? 255 : 0;
    write_image(root, path, &(aaclip_image_view){pixels, width, height, 0, AACLIP_PIXEL_GRAY8});
    free(pixels);
}
