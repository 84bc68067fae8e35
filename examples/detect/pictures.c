#include "detect.h"

#include <stdlib.h>
#include <string.h>

/* The image's file name without folder and ending; a number tells equal names apart. */
static char *output_path(const command_line *arguments, size_t index, const char *ending)
{
    const char *path = arguments->images.items[index], *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    int length = (int)(dot && dot != name ? (size_t)(dot - name) : strlen(name));
    size_t before = 0, size = strlen(arguments->out) + strlen(path) + strlen(ending) + 32;
    for (size_t i = 0; i < index; i++) {
        const char *other = strrchr(arguments->images.items[i], '/');
        other = other ? other + 1 : arguments->images.items[i];
        before +=
            strncmp(other, name, (size_t)length) == 0 && (other[length] == '.' || !other[length]);
    }
    char *result = malloc(size);
    if (result && before)
        snprintf(result, size, "%s/%.*s-%zu%s", arguments->out, length, name, before + 1, ending);
    else if (result)
        snprintf(result, size, "%s/%.*s%s", arguments->out, length, name, ending);
    return result;
}

static aaclip_status write_overlay(const char *path, const aaclip_image_view *photo,
                                   const float *probability)
{
    const float opacity = 0.5f;
    uint8_t *rgb = malloc((size_t)photo->width * photo->height * 3);
    if (!rgb)
        return AACLIP_ERROR_OUT_OF_MEMORY;
    const aaclip_image_view view = {rgb, photo->width, photo->height, 0, AACLIP_PIXEL_RGB8};
    aaclip_status status = aaclip_overlay(photo, probability, opacity, rgb);
    if (!status)
        status = aaclip_write_png(path, &view);
    free(rgb);
    return status;
}

static aaclip_status write_raw(const command_line *arguments, size_t index,
                               const aaclip_image_view *photo, const float *probability,
                               const aaclip_result *result)
{
    const size_t shape[] = {result->map_height, result->map_width};
    char *array = output_path(arguments, index, "_map.npy");
    char *picture = output_path(arguments, index, "_map.png");
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (array && picture)
        status = aaclip_write_npy(array, result->map, shape, 2);
    if (!status)
        status = aaclip_write_png16(picture, probability, photo->width, photo->height);
    free(array);
    free(picture);
    return status;
}

static aaclip_status write_all(const command_line *arguments, const region_setup *regions,
                               size_t index, const aaclip_image_view *photo,
                               const float *probability, const aaclip_result *result)
{
    char *overlay = output_path(arguments, index, "_overlay.png");
    char *mask = output_path(arguments, index, "_mask.png");
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (overlay && mask)
        status = write_overlay(overlay, photo, probability);
    if (!status && arguments->mask)
        status = write_mask(mask, regions, probability, photo);
    if (!status && arguments->raw)
        status = write_raw(arguments, index, photo, probability, result);
    free(overlay);
    free(mask);
    return status;
}

/* Pictures show the map at the size of the photograph. */
aaclip_status write_pictures(const command_line *arguments, const region_setup *regions,
                             size_t index, const aaclip_image_view *photo,
                             const aaclip_result *result)
{
    size_t pixels = (size_t)photo->width * photo->height;
    float *probability = malloc(pixels * sizeof *probability);
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (probability)
        status = aaclip_map_resize(result->map, result->map_width, result->map_height, probability,
                                   photo->width, photo->height);
    if (!status) {
        aaclip_map_probability(probability, pixels, result->level_count, probability);
        status = write_all(arguments, regions, index, photo, probability, result);
    }
    free(probability);
    return status;
}
