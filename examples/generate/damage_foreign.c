/* Foreign matter on the surface, raised: fibres along paths, particles. */
#include "flaw.h"

#include "noise.h"
#include "numbers.h"
#include "palette.h"

static void fibre_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    surface_layer *layer = picture_subject(picture);
    for (unsigned p = 0; p < flaw->path_count; p++) {
        float along = 0, distance = distance_to_path(&flaw->paths[p], x, y, &along);
        float share = mark(picture, i, share_inside(picture, distance - flaw->width));
        float round = 1 - square(distance / (flaw->width + picture->pixel));
        float twist = noise_smooth(flaw->seed, 60 * along, 40 * distance);
        tint(layer, i, colour_scaled(flaw->colour, 0.8f + 0.3f * round + 0.15f * twist), share);
        fade_polish(layer, i, 0.8f * share);
        layer->height[i] += share * flaw->depth * (0.4f + 0.6f * round);
        picture->print[i] *= 1 - share;
    }
}

static void lay_fibre(drawn_picture *picture, chance *stream, surface_flaw *flaw, float length,
                      float bend)
{
    float turns = chance_between(stream, 0, 1);
    flaw->seed = (uint32_t)chance_bits(stream);
    add_path(flaw, stream, flaw->x - 0.35f * length * cosine(turns),
             flaw->y - 0.35f * length * sine(turns), turns, length, 0.03f, bend);
    visit(picture, flaw, fibre_at);
}

static void particle_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x,
                        float y)
{
    surface_layer *layer = picture_subject(picture);
    float distance = distance_to_blob(picture, flaw, x, y);
    float share = mark(picture, i, share_inside(picture, distance));
    float rough = noise_fractal(flaw->seed + 9, 30 * x, 30 * y, 30 * picture->pixel, 2);
    float round = clamp(-distance / flaw->size, 0, 1);
    tint(layer, i, colour_scaled(flaw->colour, 0.9f + 0.2f * rough), share);
    fade_polish(layer, i, 0.7f * share);
    layer->height[i] += share * flaw->depth * (0.3f + round + 0.15f * rough);
    picture->print[i] *= 1 - share;
}

static rgb_colour foreign_colour(drawn_picture *picture, const surface_flaw *flaw, chance *stream)
{
    static const rgb_colour things[] = {BLACK, WHITE, RED, BLUE, GREEN, YELLOW, BROWN, STEEL};
    rgb_colour around = colour_at(picture, flaw->x, flaw->y), found = around;
    float apart = 0;
    for (int i = 0; i < 8 && apart < 0.6f; i++) {
        found = colour_varied(things[chance_below(stream, 8)], stream, 0.2f);
        apart = fabsf(found.red - around.red) + fabsf(found.green - around.green) +
                fabsf(found.blue - around.blue);
    }
    return found;
}

static bool make_contamination(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.width = chance_between(stream, 0.013f, 0.022f),
                         .depth = chance_between(stream, 0.015f, 0.03f)};
    if (!find_inside(picture, stream, 0.12f, &flaw))
        return false;
    flaw.colour = foreign_colour(picture, &flaw, stream);
    if (chance_happens(stream, 0.4f)) {
        lay_fibre(picture, stream, &flaw, chance_between(stream, 0.4f, 0.8f), 0.9f);
        return true;
    }
    unsigned count = 1 + chance_below(stream, 4);
    float x = flaw.x, y = flaw.y;
    for (unsigned i = 0; i < count; i++) {
        flaw.x = x + (i ? chance_between(stream, -0.16f, 0.16f) : 0);
        flaw.y = y + (i ? chance_between(stream, -0.16f, 0.16f) : 0);
        float less = 1 / (1 + 0.3f * (float)i);
        shape_blob(&flaw, stream, (range){0.06f * less, 0.11f * less}, 1.6f, (range){0.25f, 0.25f});
        visit(picture, &flaw, particle_at);
    }
    return true;
}

static bool make_thread(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.width = chance_between(stream, 0.019f, 0.03f), .depth = 0.03f};
    if (!find_inside(picture, stream, 0.12f, &flaw))
        return false;
    flaw.colour = contrasting(colour_at(picture, flaw.x, flaw.y), stream);
    lay_fibre(picture, stream, &flaw, chance_between(stream, 0.5f, 1), 0.9f);
    return true;
}

const damage_kind foreign_damages[] = {
    {"contamination", make_contamination},
    {"thread", make_thread},
    {0},
};
