#include "light.h"

#include <string.h>

#include "numbers.h"

light_setting light_draw(chance *stream)
{
    float turns = chance_between(stream, 0, 1), steep = chance_between(stream, 0.45f, 0.82f);
    float flat = sqrtf(1 - steep * steep);
    float window = turns + chance_between(stream, -0.2f, 0.2f);
    float slant = chance_between(stream, 0, 0.22f), side = chance_between(stream, 0, 1);
    light_setting drawn = {
        .key = {flat * cosine(turns), flat * sine(turns), steep},
        .window = {cosine(window), sine(window)},
        .uneven = {slant * cosine(side), slant * sine(side)},
    };
    drawn.lamp = chance_between(stream, 0.75f, 1.05f);
    drawn.sky = chance_between(stream, 0.28f, 0.45f);
    drawn.shadow_length = chance_between(stream, 0.05f, 0.12f);
    drawn.shadow_softness = chance_between(stream, 0.03f, 0.07f);
    return drawn;
}

typedef struct normal {
    float x, y, z;
} normal;

static normal normal_at(const drawn_picture *picture, const float *height, unsigned x, unsigned y)
{
    const unsigned side = picture->side, last = side - 1;
    const float *row = height + (size_t)y * side;
    float left = row[x ? x - 1 : 0], right = row[x < last ? x + 1 : last];
    float above = (y ? row - side : row)[x], below = (y < last ? row + side : row)[x];
    float steepness = 1 / (2 * picture->pixel), limit = 2.5f;
    float slope_x = clamp((right - left) * steepness, -limit, limit);
    float slope_y = clamp((below - above) * steepness, -limit, limit);
    float length = 1 / sqrtf(slope_x * slope_x + slope_y * slope_y + 1);
    return (normal){-slope_x * length, -slope_y * length, length};
}

/* Light of the surroundings along the mirrored line of sight; blurred where the surface is dull.
 */
typedef struct mirrored {
    float lamp, strip, room;
} mirrored;

static mirrored mirror(const light_setting *lighting, normal n, float gloss)
{
    float x = 2 * n.z * n.x, y = 2 * n.z * n.y, z = 2 * n.z * n.z - 1;
    float to_lamp = x * lighting->key[0] + y * lighting->key[1] + z * lighting->key[2];
    float to_window = x * lighting->window[0] + y * lighting->window[1];
    float sharpness = 4 + 120 * gloss * gloss, soft = mix(0.6f, 0.12f, gloss);
    mirrored seen;
    seen.lamp = exponential2(sharpness * (to_lamp - 1));
    seen.strip = ramp(0.2f, 0.2f + soft, to_window) * (1 - ramp(0.62f, 0.62f + soft, to_window));
    seen.room = 0.42f + 0.33f * to_window + 0.2f * z;
    return seen;
}

/* Light from one place of a layer; `open` is the visible share of the sky, `lit` that of the lamp.
 */
static void shade_place(float out[3], const surface_layer *layer, size_t i,
                        const light_setting *lighting, normal n, float open, float lit,
                        const float colour[3])
{
    float facing = n.x * lighting->key[0] + n.y * lighting->key[1] + n.z * lighting->key[2];
    float lamp = lighting->lamp * lit, gloss = layer->gloss[i], metal = layer->metal[i];
    float diffuse = lighting->sky * open * (0.6f + 0.4f * n.z) + lamp * clamp(facing, 0, 1);
    for (int c = 0; c < 3; c++)
        out[c] = colour[c] * diffuse;
    if (gloss <= 0 && metal <= 0)
        return;
    mirrored seen = mirror(lighting, n, gloss);
    float rim = square(1 - n.z);
    float glare = gloss * (seen.lamp * lamp * (0.25f + 0.6f * gloss) +
                           seen.strip * open * (0.06f + 0.5f * rim));
    float reflected =
        open * (0.75f * clamp(seen.room, 0.04f, 1) + seen.strip * (0.25f + 0.45f * gloss)) +
        lamp * seen.lamp * (0.35f + 0.7f * gloss);
    for (int c = 0; c < 3; c++)
        out[c] = mix(out[c] + glare, colour[c] * reflected, metal);
}

/* A place is darker the lower it lies than its surroundings. */
static void find_openness(float *open, float *scratch, const drawn_picture *picture,
                          const float *height)
{
    unsigned radius = (unsigned)(0.03f / picture->pixel + 0.5f);
    memcpy(open, height, picture->count * sizeof *open);
    plane_blur(open, scratch, picture->side, radius ? radius : 1, 2);
    for (size_t i = 0; i < picture->count; i++)
        open[i] = clamp(1 - 18 * (open[i] - height[i]), 0.35f, 1.1f);
}

static void shade_layer(float *light, const drawn_picture *picture, const surface_layer *layer,
                        const float *open, const float *shadow, const light_setting *lighting)
{
    const bool is_part = layer == &picture->part;
    const bool is_subject = is_part || !picture->has_part;
    for (unsigned y = 0; y < picture->side; y++)
        for (unsigned x = 0; x < picture->side; x++) {
            size_t i = (size_t)y * picture->side + x;
            if (is_part ? picture->cover[i] <= 0 : picture->cover[i] >= 1)
                continue;
            float ink = is_subject ? picture->print[i] : 0;
            float colour[3] = {mix(layer->red[i], picture->ink.red, ink),
                               mix(layer->green[i], picture->ink.green, ink),
                               mix(layer->blue[i], picture->ink.blue, ink)};
            float lit = shadow ? 1 - shadow[i] : 1, seen[3];
            float shielded = shadow ? open[i] * (1 - 0.5f * shadow[i]) : open[i];
            float level = 1 + place_of(picture, x) * lighting->uneven[0] +
                          place_of(picture, y) * lighting->uneven[1];
            normal n = normal_at(picture, layer->height, x, y);
            shade_place(seen, layer, i, lighting, n, shielded, lit, colour);
            float share = is_part ? picture->cover[i] : 1;
            for (int c = 0; c < 3; c++) {
                float *target = light + (size_t)c * picture->count + i;
                /* what is fully covered was not drawn, and must not round what is visible */
                *target = share < 1 ? mix(*target, level * seen[c], share) : level * seen[c];
            }
        }
}

/* The part's cover, blurred and moved away from the lamp, and closer contact below it. */
static void find_shadow(float *shadow, float *scratch, const drawn_picture *picture,
                        const light_setting *lighting)
{
    const int side = (int)picture->side;
    int right = (int)(-lighting->key[0] * lighting->shadow_length / picture->pixel);
    int down = (int)(-lighting->key[1] * lighting->shadow_length / picture->pixel);
    unsigned radius = (unsigned)(lighting->shadow_softness / picture->pixel + 0.5f);
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            int from_x = x - right, from_y = y - down;
            from_x = from_x < 0 ? 0 : from_x >= side ? side - 1 : from_x;
            from_y = from_y < 0 ? 0 : from_y >= side ? side - 1 : from_y;
            float contact = picture->cover[(size_t)y * picture->side + (size_t)x];
            float cast = picture->cover[(size_t)from_y * picture->side + (size_t)from_x];
            shadow[(size_t)y * picture->side + (size_t)x] = 0.3f * contact + 0.55f * cast;
        }
    plane_blur(shadow, scratch, picture->side, radius ? radius : 1, 2);
}

void light_shade(float *light, float *scratch, const drawn_picture *picture,
                 const light_setting *lighting)
{
    float *open = scratch, *spare = scratch + picture->count;
    float *shadow = NULL;
    if (picture->has_part) {
        shadow = scratch + 2 * picture->count;
        find_shadow(shadow, spare, picture, lighting);
    }
    find_openness(open, spare, picture, picture->ground.height);
    shade_layer(light, picture, &picture->ground, open, shadow, lighting);
    if (!picture->has_part)
        return;
    find_openness(open, spare, picture, picture->part.height);
    shade_layer(light, picture, &picture->part, open, NULL, lighting);
}
