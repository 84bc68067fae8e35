#include "picture.h"

#include <stdlib.h>
#include <string.h>

#include "numbers.h"

static void place_layer(surface_layer *layer, float *planes, size_t count)
{
    layer->height = planes;
    layer->red = planes + count;
    layer->green = planes + 2 * count;
    layer->blue = planes + 3 * count;
    layer->gloss = planes + 4 * count;
    layer->metal = planes + 5 * count;
}

bool picture_create(drawn_picture *picture, unsigned side)
{
    size_t count = (size_t)side * side;
    *picture = (struct drawn_picture){.side = side, .count = count, .pixel = 2 / (float)side};
    picture->planes = calloc(PICTURE_PLANES * count, sizeof *picture->planes);
    if (!picture->planes)
        return false;
    place_layer(&picture->ground, picture->planes, count);
    place_layer(&picture->part, picture->planes + LAYER_PLANES * count, count);
    picture->cover = picture->planes + 2 * LAYER_PLANES * count;
    picture->distance = picture->cover + count;
    picture->print = picture->distance + count;
    picture->damage = picture->print + count;
    return true;
}

void picture_free(drawn_picture *picture)
{
    free(picture->planes);
    *picture = (struct drawn_picture){0};
}

void picture_copy(drawn_picture *target, const drawn_picture *source)
{
    memcpy(target->planes, source->planes, PICTURE_PLANES * source->count * sizeof(float));
    target->has_part = source->has_part;
    target->ink = source->ink;
    target->words = source->words;
}

surface_layer *picture_subject(drawn_picture *picture)
{
    return picture->has_part ? &picture->part : &picture->ground;
}

void layer_set(surface_layer *layer, size_t i, const surface_point *point)
{
    layer->height[i] = point->height;
    layer->red[i] = clamp(point->colour.red, 0, 1);
    layer->green[i] = clamp(point->colour.green, 0, 1);
    layer->blue[i] = clamp(point->colour.blue, 0, 1);
    layer->gloss[i] = clamp(point->gloss, 0, 1);
    layer->metal[i] = clamp(point->metal, 0, 1);
}

/* Rows of `from` become blurred columns of `to`: two calls blur both directions. */
static void blur_and_turn(float *to, const float *from, unsigned side, int radius)
{
    const float share = 1 / (float)(2 * radius + 1);
    const int last = (int)side - 1;
    for (unsigned y = 0; y < side; y++) {
        const float *row = from + (size_t)y * side;
        float sum = row[0];
        for (int x = 1; x <= radius; x++)
            sum += row[0] + row[x < last ? x : last];
        for (int x = 0; x <= last; x++) {
            to[(size_t)x * side + y] = sum * share;
            int leaving = x - radius, entering = x + radius + 1;
            sum += row[entering < last ? entering : last] - row[leaving > 0 ? leaving : 0];
        }
    }
}

void plane_blur(float *plane, float *scratch, unsigned side, unsigned radius, unsigned times)
{
    for (unsigned i = 0; i < times && radius; i++) {
        blur_and_turn(scratch, plane, side, (int)radius);
        blur_and_turn(plane, scratch, side, (int)radius);
    }
}

rgb_colour colour_mix(rgb_colour a, rgb_colour b, float share)
{
    return (rgb_colour){a.name, mix(a.red, b.red, share), mix(a.green, b.green, share),
                        mix(a.blue, b.blue, share)};
}

rgb_colour colour_scaled(rgb_colour a, float factor)
{
    return (rgb_colour){a.name, a.red * factor, a.green * factor, a.blue * factor};
}

rgb_colour colour_varied(rgb_colour a, chance *stream, float amount)
{
    float light = 1 + chance_between(stream, -amount, amount);
    float warm = chance_between(stream, -0.4f, 0.4f) * amount;
    return (rgb_colour){a.name, a.red * light * (1 + warm), a.green * light,
                        a.blue * light * (1 - warm)};
}
