#define _GNU_SOURCE

#include "scratch_tree.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include <aaclip/image.h>

#include "core/platform.h"

int scratch_tree_make(void **state)
{
    *state = strdup("/tmp/aaclip-tree-XXXXXX");
    return *state && mkdtemp(*state) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *position)
{
    (void)info;
    (void)type;
    (void)position;
    return remove(path);
}

int scratch_tree_remove(void **state)
{
    int failed = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return failed;
}

static void make_path(char path[4096], const char *root, const char *name)
{
    assert_in_range(snprintf(path, 4096, "%s/%s", root, name), 1, 4095);
    for (char *slash = path + strlen(root); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
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
    const char *golden = strcasecmp(ending, ".bmp") == 0   ? GOLDEN_DIR "/images/bits24.bmp"
                         : strcasecmp(ending, ".png") == 0 ? GOLDEN_DIR "/images/rgb8.png"
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

static void write_png(const char *root, const char *name, const aaclip_image_view *view)
{
    char path[4096];
    make_path(path, root, name);
    assert_int_equal(aaclip_write_png(path, view), AACLIP_OK);
}

void scratch_tree_noise(const char *root, const char *path, uint32_t width, uint32_t height,
                        uint32_t seed)
{
    uint8_t *pixels = noise((size_t)width * height * 3, seed);
    write_png(root, path, &(aaclip_image_view){pixels, width, height, 0, AACLIP_PIXEL_RGB8});
    free(pixels);
}

void scratch_tree_mask(const char *root, const char *path, uint32_t width, uint32_t height,
                       uint32_t seed)
{
    uint8_t *pixels = noise((size_t)width * height, seed);
    for (size_t i = 0; i < (size_t)width * height; i++)
        pixels[i] = pixels[i] > 199 ? 255 : 0;
    write_png(root, path, &(aaclip_image_view){pixels, width, height, 0, AACLIP_PIXEL_GRAY8});
    free(pixels);
}
