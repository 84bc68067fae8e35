#include "detect.h"

#include <stdlib.h>
#include <string.h>

/* Endings of picture names. */
static const char overlay_ending[] = "_overlay.png", mask_ending[] = "_mask.png",
                  array_ending[] = "_map.npy", map_ending[] = "_map.png";

static bool add_stem(string_list *stems, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    int length = (int)(dot && dot != name ? (size_t)(dot - name) : strlen(name));
    char *stem = malloc((size_t)length + 1);
    if (stem)
        snprintf(stem, (size_t)length + 1, "%s", name);
    bool added = stem && list_add(stems, stem);
    free(stem);
    return added;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Position of the first of equal names among the sorted ones, or where it would be. */
static size_t position_of(char **sorted, size_t count, const char *name)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(sorted[middle], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* `uses[k]`: how often sorted[k], the first of equal names, was used with a number. */
static bool add_name(string_list *names, const char *stem, char **sorted, size_t *uses,
                     size_t count)
{
    size_t size = strlen(stem) + 32, at = position_of(sorted, count, stem);
    char *name = malloc(size);
    if (!name)
        return false;
    snprintf(name, size, "%s", stem);
    for (bool taken = uses[at] > 0; taken;) {
        snprintf(name, size, "%s-%zu", stem, ++uses[at]);
        size_t other = position_of(sorted, count, name);
        taken = other < count && strcmp(sorted[other], name) == 0;
    }
    uses[at] += uses[at] == 0;
    bool added = list_add(names, name);
    free(name);
    return added;
}

bool name_pictures(const string_list *images, string_list *names)
{
    string_list stems = {0};
    bool good = true;
    for (size_t i = 0; good && i < images->count; i++)
        good = add_stem(&stems, images->items[i]);
    char **sorted = calloc(images->count + 1, sizeof *sorted);
    size_t *uses = calloc(images->count + 1, sizeof *uses);
    good = good && sorted && uses;
    for (size_t i = 0; good && i < images->count; i++)
        sorted[i] = stems.items[i];
    if (good)
        qsort(sorted, images->count, sizeof *sorted, compare_names);
    for (size_t i = 0; good && i < images->count; i++)
        good = add_name(names, stems.items[i], sorted, uses, images->count);
    free(sorted);
    free(uses);
    list_clear(&stems);
    return good;
}

static char *output_path(const command_line *arguments, size_t index, const char *ending)
{
    const char *name = arguments->names.items[index];
    size_t size = strlen(arguments->out) + strlen(name) + strlen(ending) + 2;
    char *result = malloc(size);
    if (result)
        snprintf(result, size, "%s/%s%s", arguments->out, name, ending);
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
    char *array = output_path(arguments, index, array_ending);
    char *picture = output_path(arguments, index, map_ending);
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
    char *overlay = output_path(arguments, index, overlay_ending);
    char *mask = output_path(arguments, index, mask_ending);
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
        status = aaclip_map_resize(result->map, result->map_width, result->map_height, photo->width,
                                   photo->height, probability);
    if (!status) {
        aaclip_map_probability(probability, pixels, result->level_count, probability);
        status = write_all(arguments, regions, index, photo, probability, result);
    }
    free(probability);
    return status;
}

bool pictures_to_json(const command_line *arguments, size_t index, json_t *image)
{
    const struct {
        const char *field, *ending;
        bool written;
    } files[] = {
        {"overlay", overlay_ending, true},
        {"map", array_ending, arguments->raw},
        {"map_picture", map_ending, arguments->raw},
        {"mask", mask_ending, arguments->mask},
    };
    bool complete = true;
    for (size_t i = 0; arguments->out && complete && i < sizeof files / sizeof *files; i++) {
        if (!files[i].written)
            continue;
        char *path = output_path(arguments, index, files[i].ending);
        complete = path && json_object_set_new(image, files[i].field,
                                               text_json(path + strlen(arguments->out) + 1)) == 0;
        free(path);
    }
    return complete;
}
