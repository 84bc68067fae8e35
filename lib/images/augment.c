#include "images/augment.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "images/resize.h"
#include "images/view.h"

static const double pi = 3.14159265358979323846;

void aac_augment_options_init(aac_augment_options *options, const aaclip_config *config, int stage)
{
    *options = (aac_augment_options){.horizontal_flip = 0.5};
    const double colours = stage == 2 ? 1 : 0;
    options->colour_probability = 0.7;
    if (config->profile == AACLIP_PROFILE_DOCUMENT) {
        options->margin = 1.0 / 7;
        options->rotation = 5;
        options->rotation_probability = 1;
        options->brightness = options->contrast = options->saturation = 0.2 * colours;
        options->colour_jointly = true;
        options->rotation_bits = 16;
        return;
    }
    options->rotation = 30;
    options->rotation_probability = 0.5;
    options->translation = 0.15;
    options->translation_probability = 0.5;
    options->vertical_flip = 0.5;
    options->brightness = options->contrast = options->saturation = 0.5 * colours;
    options->colour_first = true;
    options->rotation_bits = 32;
    for (int c = 0; c < 3; c++)
        options->fill[c] = (uint8_t)lrintf(255 * fminf(fmaxf(config->image_mean[c], 0), 1));
}

aaclip_status aac_augment_options_check(const aac_augment_options *options)
{
    const struct {
        const char *name;
        double value, limit;
    } fields[] = {
        {"margin", options->margin, 4},
        {"rotation", options->rotation, 180},
        {"rotation probability", options->rotation_probability, 1},
        {"translation", options->translation, 1},
        {"translation probability", options->translation_probability, 1},
        {"horizontal flip", options->horizontal_flip, 1},
        {"vertical flip", options->vertical_flip, 1},
        {"brightness", options->brightness, 10},
        {"contrast", options->contrast, 10},
        {"saturation", options->saturation, 10},
        {"colour probability", options->colour_probability, 1},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!(fields[i].value >= 0 && fields[i].value <= fields[i].limit))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "augmentation: %s: expected 0 to %g, found %g", fields[i].name,
                             fields[i].limit, fields[i].value);
    return AACLIP_OK;
}

static bool happens(aac_random *random, double probability)
{
    return aac_random_unit(random) < probability;
}

static void draw_colour(aac_augmentation *augmentation, const aac_augment_options *options,
                        aac_colour_kind kind, aac_random *random)
{
    const double strengths[] = {options->brightness, options->contrast, options->saturation};
    const double strength = strengths[kind];
    if (strength == 0 ||
        (!options->colour_jointly && !happens(random, options->colour_probability)))
        return;
    double factor = aac_random_between(random, fmax(0, 1 - strength), 1 + strength);
    augmentation->colours[augmentation->colour_count].kind = kind;
    augmentation->colours[augmentation->colour_count++].factor = (float)factor;
}

static void draw_colours(aac_augmentation *augmentation, const aac_augment_options *options,
                         aac_random *random)
{
    size_t kinds[] = {AAC_COLOUR_BRIGHTNESS, AAC_COLOUR_CONTRAST, AAC_COLOUR_SATURATION};
    augmentation->colour_first = options->colour_first;
    if (options->colour_jointly) {
        if (!happens(random, options->colour_probability))
            return;
        aac_random_shuffle(random, kinds, 3);
    }
    for (int i = 0; i < 3; i++)
        draw_colour(augmentation, options, (aac_colour_kind)kinds[i], random);
}

aac_augmentation aac_augment_draw(const aac_augment_options *options, uint32_t size,
                                  aac_random *random)
{
    const uint32_t spare = (uint32_t)lround(size * options->margin);
    aac_augmentation drawn = {.resized = size + spare, .rotation_bits = options->rotation_bits};
    memcpy(drawn.fill, options->fill, sizeof drawn.fill);
    draw_colours(&drawn, options, random);
    if (happens(random, options->rotation_probability))
        drawn.angle = aac_random_between(random, -options->rotation, options->rotation);
    if (happens(random, options->translation_probability)) {
        const double farthest = options->translation * drawn.resized;
        drawn.shift_x = (int32_t)lrint(aac_random_between(random, -farthest, farthest));
        drawn.shift_y = (int32_t)lrint(aac_random_between(random, -farthest, farthest));
    }
    drawn.crop_y = (uint32_t)aac_random_below(random, spare + 1);
    drawn.crop_x = (uint32_t)aac_random_below(random, spare + 1);
    drawn.flip_horizontal = happens(random, options->horizontal_flip);
    drawn.flip_vertical = happens(random, options->vertical_flip);
    return drawn;
}

/* Pillow's blend of two images in float32. The casts prevent the compiler from fusing the
 * operations. */
static uint8_t blend(uint8_t from, uint8_t to, float amount)
{
    float step = (float)((double)amount * (to - from));
    float value = (float)((double)from + step);
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

/* Blends every sample with one grey level: 0 changes the brightness, the mean grey the contrast. */
static void blend_with_grey(uint8_t *rgb, size_t pixels, uint8_t grey, float factor)
{
    uint8_t table[256];
    for (unsigned i = 0; i < 256; i++)
        table[i] = blend(grey, (uint8_t)i, factor);
    for (size_t i = 0; i < 3 * pixels; i++)
        rgb[i] = table[rgb[i]];
}

static uint8_t mean_grey(const uint8_t *rgb, size_t pixels)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < pixels; i++)
        sum += aac_grey(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
    return (uint8_t)((double)sum / (double)pixels + 0.5);
}

static void change_saturation(uint8_t *rgb, size_t pixels, float factor)
{
    for (size_t i = 0; i < pixels; i++, rgb += 3) {
        const uint8_t grey = aac_grey(rgb[0], rgb[1], rgb[2]);
        for (int c = 0; c < 3; c++)
            rgb[c] = blend(grey, rgb[c], factor);
    }
}

static void change_colours(const aac_augmentation *augmentation, uint8_t *rgb, size_t pixels)
{
    for (unsigned i = 0; i < augmentation->colour_count; i++) {
        const float factor = augmentation->colours[i].factor;
        switch (augmentation->colours[i].kind) {
        case AAC_COLOUR_BRIGHTNESS:
            blend_with_grey(rgb, pixels, 0, factor);
            break;
        case AAC_COLOUR_CONTRAST:
            blend_with_grey(rgb, pixels, mean_grey(rgb, pixels), factor);
            break;
        case AAC_COLOUR_SATURATION:
            change_saturation(rgb, pixels, factor);
            break;
        }
    }
}

/* The source of pixel (x, y) of the rotated square: (x0 + xx * x + xy * y) >> bits etc. */
struct rotation {
    unsigned bits;
    int64_t x0, xx, xy, y0, yx, yy;
};

static int64_t fixed(double value, unsigned bits)
{
    return (int64_t)floor(ldexp(value, (int)bits) + 0.5);
}

/* About the centre, pixel centres at .5, in Pillow's order of operations. */
static struct rotation rotation_of(const aac_augmentation *augmentation)
{
    double degrees = fmod(augmentation->angle, 360);
    if (degrees < 0)
        degrees += 360;
    const double angle = -degrees * (pi / 180), center = augmentation->resized / 2.0;
    const double cosine = cos(angle), sine = sin(angle);
    const double x0 = cosine * -center + sine * -center + center;
    const double y0 = -sine * -center + cosine * -center + center;
    const unsigned bits = augmentation->rotation_bits ? augmentation->rotation_bits : 16;
    return (struct rotation){
        .bits = bits,
        .x0 = fixed(x0 + cosine * 0.5 + sine * 0.5, bits),
        .xx = fixed(cosine, bits),
        .xy = fixed(sine, bits),
        .y0 = fixed(y0 - sine * 0.5 + cosine * 0.5, bits),
        .yx = fixed(-sine, bits),
        .yy = fixed(cosine, bits),
    };
}

/* Rotates, shifts, crops and flips in one pass, as each of them only selects pixels. */
static void move_pixels(const aac_augmentation *a, const uint8_t *rgb, const uint8_t *mask,
                        uint32_t size, uint8_t *rgb_out, uint8_t *mask_out)
{
    const struct rotation r = rotation_of(a);
    const int64_t side = a->resized;
    for (uint32_t row = 0; row < size; row++)
        for (uint32_t column = 0; column < size; column++) {
            const int64_t x =
                (int64_t)a->crop_x - a->shift_x + (a->flip_horizontal ? size - 1 - column : column);
            const int64_t y =
                (int64_t)a->crop_y - a->shift_y + (a->flip_vertical ? size - 1 - row : row);
            const int64_t from_x = (r.x0 + r.xx * x + r.xy * y) >> r.bits;
            const int64_t from_y = (r.y0 + r.yx * x + r.yy * y) >> r.bits;
            const bool inside = x >= 0 && x < side && y >= 0 && y < side && from_x >= 0 &&
                                from_x < side && from_y >= 0 && from_y < side;
            const size_t from = inside ? (size_t)(from_y * side + from_x) : 0;
            memcpy(rgb_out, inside ? rgb + 3 * from : a->fill, 3);
            rgb_out += 3;
            *mask_out++ = inside ? mask[from] : 0;
        }
}

/* Resizes a copy of the image with changed colours. */
static aaclip_status resize_changed(const aac_augmentation *augmentation,
                                    const aaclip_image_view *image, uint8_t *resized)
{
    aaclip_status status = aac_view_check(image);
    if (status)
        return status;
    const size_t pixels = (size_t)image->width * image->height;
    uint8_t *copy = aac_alloc_array(pixels, 3);
    if (!copy)
        return aac_error_memory();
    for (uint32_t y = 0; y < image->height; y++)
        aac_view_row_rgb(image, y, copy + (size_t)y * image->width * 3);
    change_colours(augmentation, copy, pixels);
    const aaclip_image_view changed = {copy, image->width, image->height, 0, AACLIP_PIXEL_RGB8};
    status = aaclip_image_resize(&changed, augmentation->resized, augmentation->resized, resized);
    aac_free(copy);
    return status;
}

static aaclip_status resize_sample(const aac_augmentation *augmentation,
                                   const aaclip_image_view *image, const aaclip_image_view *mask,
                                   uint8_t *rgb, uint8_t *mask_out)
{
    const uint32_t side = augmentation->resized;
    aaclip_status status = augmentation->colour_first && augmentation->colour_count
                               ? resize_changed(augmentation, image, rgb)
                               : aaclip_image_resize(image, side, side, rgb);
    if (!status && mask)
        status = aac_resize_mask(mask, side, side, mask_out);
    else
        memset(mask_out, 0, (size_t)side * side);
    return status;
}

aaclip_status aac_augment_apply(const aac_augmentation *augmentation,
                                const aaclip_image_view *image, const aaclip_image_view *mask,
                                uint32_t size, uint8_t *rgb, uint8_t *mask_out)
{
    const size_t pixels = (size_t)augmentation->resized * augmentation->resized;
    uint8_t *resized = aac_alloc_array(pixels, 4);
    if (!resized)
        return aac_error_memory();
    uint8_t *resized_mask = resized + 3 * pixels;
    aaclip_status status = resize_sample(augmentation, image, mask, resized, resized_mask);
    if (!status) {
        move_pixels(augmentation, resized, resized_mask, size, rgb, mask_out);
        if (!augmentation->colour_first)
            change_colours(augmentation, rgb, (size_t)size * size);
    }
    aac_free(resized);
    return status;
}
