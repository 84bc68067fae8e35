/* Damage of the shape: holes, breaks, dents, cuts, folds, bends. */
#include "flaw.h"

#include <stdlib.h>
#include <string.h>

#include "noise.h"
#include "numbers.h"

static void hole_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    static const rgb_colour dark = {NULL, 0.010f, 0.009f, 0.009f};
    surface_layer *layer = picture_subject(picture);
    float distance = distance_to_blob(picture, flaw, x, y);
    float share = share_inside(picture, distance);
    float rim = share_inside(picture, distance - 0.018f);
    mark(picture, i, rim);
    tint(layer, i, flaw->colour, 0.45f * (rim - share));
    tint(layer, i, dark, flaw->strength * share);
    fade_polish(layer, i, share);
    layer->height[i] -= 0.06f * (1 - ramp(-0.05f, 0.018f, distance));
    picture->print[i] *= 1 - rim;
}

static bool make_hole(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.strength = chance_between(stream, 0.75f, 0.96f)};
    if (!find_inside(picture, stream, 0.16f, &flaw))
        return false;
    shape_blob(&flaw, stream, (range){0.07f, 0.15f}, 1.5f, (range){0.12f, 0.3f});
    flaw.colour = contrasting(colour_at(picture, flaw.x, flaw.y), stream);
    visit(picture, &flaw, hole_at);
    return true;
}

/* Missing material shows the ground; along the break the part is matt and lower. */
static void broken_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    surface_layer *layer = picture_subject(picture);
    float distance = distance_to_blob(picture, flaw, x, y);
    float share = share_inside(picture, distance), face = 1 - ramp(0, 0.035f, distance);
    float chips = noise_fractal(flaw->seed + 5, 25 * x, 25 * y, 25 * picture->pixel, 2);
    mark(picture, i, share_inside(picture, distance - 0.025f));
    tint(layer, i, flaw->colour, 0.55f * face);
    fade_polish(layer, i, 0.6f * face);
    layer->height[i] -= face * (0.025f + 0.01f * chips);
    picture->print[i] *= 1 - face;
    picture->cover[i] *= 1 - share;
}

static bool make_broken(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {0};
    if (!find_place(picture, stream, -0.05f, 0.01f, &flaw))
        return false;
    shape_blob(&flaw, stream, (range){0.12f, 0.22f}, 1.5f, (range){0.2f, 0.35f});
    flaw.colour = contrasting(colour_at(picture, flaw.x, flaw.y), stream);
    visit(picture, &flaw, broken_at);
    return true;
}

static void dent_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    surface_layer *layer = picture_subject(picture);
    float right = x - flaw->x, down = y - flaw->y;
    float along = (flaw->cosine * right + flaw->sine * down) / flaw->stretch;
    float across = flaw->cosine * down - flaw->sine * right;
    float reach = sqrtf(along * along + across * across) / flaw->size;
    if (reach >= 1)
        return;
    float bowl = square(1 - reach * reach);
    mark(picture, i, ramp(1, 0.9f, reach));
    layer->height[i] -= flaw->depth * bowl;
    dim(layer, i, 1 - 0.15f * bowl, 1 - 0.15f * bowl, 1 - 0.15f * bowl);
}

static bool make_dent(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {0};
    if (!find_inside(picture, stream, 0.16f, &flaw))
        return false;
    shape_blob(&flaw, stream, (range){0.12f, 0.22f}, 1.6f, (range){0, 0});
    flaw.depth = flaw.size * chance_between(stream, 0.45f, 0.7f);
    visit(picture, &flaw, dent_at);
    return true;
}

static void cut_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    static const rgb_colour dark = {NULL, 0.012f, 0.010f, 0.010f};
    surface_layer *layer = picture_subject(picture);
    float along = 0, distance = distance_to_path(&flaw->paths[0], x, y, &along);
    float open = flaw->width * sine(0.5f * along), lip = open + 0.02f;
    float share = share_inside(picture, distance - open);
    float lips = mark(picture, i, share_inside(picture, distance - lip)) - share;
    tint(layer, i, flaw->colour, 0.4f * lips);
    tint(layer, i, dark, 0.93f * share);
    fade_polish(layer, i, share);
    layer->height[i] += flaw->depth * (0.6f * lips * (1 - distance / lip) - share);
}

static bool make_cut(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.width = chance_between(stream, 0.022f, 0.04f),
                         .depth = chance_between(stream, 0.02f, 0.03f)};
    if (!find_inside(picture, stream, 0.18f, &flaw))
        return false;
    rgb_colour pale = {NULL, 0.7f, 0.65f, 0.55f};
    flaw.colour = colour_mix(colour_at(picture, flaw.x, flaw.y), pale, 0.5f);
    float turns = chance_between(stream, 0, 1), length = chance_between(stream, 0.45f, 0.9f);
    add_path(&flaw, stream, flaw.x - 0.5f * length * cosine(turns),
             flaw.y - 0.5f * length * sine(turns), turns, length, 0.012f, 0.08f);
    visit(picture, &flaw, cut_at);
    return true;
}

static void fold_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    surface_layer *layer = picture_subject(picture);
    float along = 0, distance = distance_to_path(&flaw->paths[0], x, y, &along);
    float width = flaw->width * (0.5f + 0.5f * sine(0.5f * along));
    if (distance >= width)
        return;
    float ridge = 1 - distance / width, crease = bell(distance / (0.22f * width));
    mark(picture, i, ramp(0, 0.15f, ridge));
    layer->height[i] += flaw->depth * ridge * ridge;
    tint(layer, i, flaw->colour, 0.5f * crease);
    dim(layer, i, 1 - 0.3f * ridge * (1 - crease), 1 - 0.3f * ridge * (1 - crease),
        1 - 0.3f * ridge * (1 - crease));
}

static bool make_fold(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.width = chance_between(stream, 0.05f, 0.085f),
                         .depth = chance_between(stream, 0.04f, 0.06f)};
    if (!find_inside(picture, stream, 0.1f, &flaw))
        return false;
    flaw.colour = contrasting(colour_at(picture, flaw.x, flaw.y), stream);
    float turns = chance_between(stream, 0, 1), length = chance_between(stream, 0.7f, 1.2f);
    add_path(&flaw, stream, flaw.x - 0.5f * length * cosine(turns),
             flaw.y - 0.5f * length * sine(turns), turns, length, 0.02f, 0.12f);
    visit(picture, &flaw, fold_at);
    return true;
}

/* A plane interpolated between its pixels. */
static float plane_at(const float *plane, const drawn_picture *picture, float x, float y)
{
    const float last = (float)picture->side - 1.001f;
    float right = clamp((x + 1) / picture->pixel - 0.5f, 0, last);
    float down = clamp((y + 1) / picture->pixel - 0.5f, 0, last);
    size_t column = (size_t)right, row = (size_t)down;
    const float *at = plane + row * picture->side + column;
    float across = right - (float)column;
    float above = mix(at[0], at[1], across);
    float below = mix(at[picture->side], at[picture->side + 1], across);
    return mix(above, below, down - (float)row);
}

/* Pushes one plane of the part aside around the flaw. */
static void push_plane(drawn_picture *picture, const surface_flaw *flaw, float *plane, float *old)
{
    memcpy(old, plane, picture->count * sizeof *old);
    for (unsigned row = 0; row < picture->side; row++)
        for (unsigned column = 0; column < picture->side; column++) {
            float x = place_of(picture, column), y = place_of(picture, row);
            float far = (square(x - flaw->x) + square(y - flaw->y)) / square(flaw->size);
            if (far >= 1)
                continue;
            float push = flaw->depth * square(1 - far);
            size_t i = (size_t)row * picture->side + column;
            plane[i] = plane_at(old, picture, x - push * flaw->cosine, y - push * flaw->sine);
            float change = fabsf(plane[i] - old[i]) * flaw->strength;
            if (change > picture->damage[i])
                picture->damage[i] = clamp(change, 0, 1);
        }
}

static bool make_bent(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.size = chance_between(stream, 0.25f, 0.42f)};
    if (!find_inside(picture, stream, 0.05f, &flaw))
        return false;
    float turns = chance_between(stream, 0, 1);
    float *old = malloc(picture->count * sizeof *old);
    surface_layer *part = &picture->part;
    float *const planes[] = {part->height, part->red,   part->green,       part->blue,
                             part->gloss,  part->metal, picture->distance, picture->cover};
    const float weights[] = {6, 2.5f, 2.5f, 2.5f, 0, 1, 0, 1};
    flaw.depth = flaw.size * chance_between(stream, 0.25f, 0.38f);
    flaw.cosine = cosine(turns);
    flaw.sine = sine(turns);
    for (size_t i = 0; old && i < sizeof planes / sizeof *planes; i++) {
        flaw.strength = weights[i];
        push_plane(picture, &flaw, planes[i], old);
    }
    free(old);
    return old != NULL;
}

const damage_kind shape_damages[] = {
    {"hole", make_hole},
    {"broken", make_broken},
    {"dent", make_dent},
    {"cut", make_cut},
    {"fold", make_fold},
    {"bent", make_bent},
    {0},
};
