/* Damage of the surface: scratches, cracks, stains, wrong colours. */
#include "flaw.h"

#include "noise.h"
#include "numbers.h"
#include "palette.h"

static void scratch_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    surface_layer *layer = picture_subject(picture);
    for (unsigned p = 0; p < flaw->path_count; p++) {
        float along = 0, distance = distance_to_path(&flaw->paths[p], x, y, &along);
        float width = flaw->width * (0.45f + 0.55f * sine(0.5f * along));
        float skips = 0.75f + 0.35f * noise_smooth(flaw->seed + p, 9 * along, 0);
        float share = share_inside(picture, distance - width) * clamp(skips, 0.3f, 1);
        if (share <= 0)
            continue;
        mark(picture, i, share);
        tint(layer, i, flaw->colour, share * flaw->strength);
        layer->height[i] -= flaw->depth * share;
        picture->print[i] *= 1 - share;
    }
}

static bool make_scratch(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.width = chance_between(stream, 0.013f, 0.024f),
                         .depth = chance_between(stream, 0.005f, 0.012f),
                         .strength = chance_between(stream, 0.8f, 1)};
    if (!find_inside(picture, stream, 0.12f, &flaw))
        return false;
    flaw.seed = (uint32_t)chance_bits(stream);
    flaw.colour = contrasting(colour_at(picture, flaw.x, flaw.y), stream);
    float turns = chance_between(stream, 0, 1), length = chance_between(stream, 0.4f, 0.9f);
    unsigned count = 1 + chance_below(stream, 3);
    for (unsigned i = 0; i < count; i++) {
        float from = chance_between(stream, 0.3f, 0.7f) * length;
        float aside = 0.075f * (float)i;
        add_path(&flaw, stream, flaw.x - from * cosine(turns) - aside * sine(turns),
                 flaw.y - from * sine(turns) + aside * cosine(turns),
                 turns + chance_between(stream, -0.01f, 0.01f), length, 0.01f, 0.05f);
    }
    visit(picture, &flaw, scratch_at);
    return true;
}

static void crack_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    surface_layer *layer = picture_subject(picture);
    for (unsigned p = 0; p < flaw->path_count; p++) {
        float along = 0, distance = distance_to_path(&flaw->paths[p], x, y, &along);
        float width = flaw->width * (1.05f - along) * (p ? 0.7f : 1);
        float share = mark(picture, i, share_inside(picture, distance - width - 0.002f));
        tint(layer, i, flaw->colour, 0.92f * share);
        fade_polish(layer, i, 0.9f * share);
        layer->height[i] -= flaw->depth * share;
        picture->print[i] *= 1 - share;
    }
}

static bool make_crack(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.width = chance_between(stream, 0.013f, 0.024f), .depth = 0.02f};
    if (!find_inside(picture, stream, 0.15f, &flaw))
        return false;
    rgb_colour around = colour_at(picture, flaw.x, flaw.y);
    bool dark = around.red + around.green + around.blue < 0.12f;
    flaw.colour = dark ? (rgb_colour){NULL, 0.3f, 0.3f, 0.28f} : colour_scaled(around, 0.12f);
    float turns = chance_between(stream, 0, 1), length = chance_between(stream, 0.5f, 0.95f);
    flaw_path *trunk = add_path(&flaw, stream, flaw.x - 0.4f * length * cosine(turns),
                                flaw.y - 0.4f * length * sine(turns), turns, length, 0.13f, 0.1f);
    unsigned branches = chance_below(stream, MOST_PATHS);
    for (unsigned b = 0; b < branches; b++) {
        unsigned knot = 8 + chance_below(stream, 24);
        float side = chance_happens(stream, 0.5f) ? 0.11f : -0.11f;
        add_path(&flaw, stream, trunk->x[knot], trunk->y[knot], turns + side,
                 length * chance_between(stream, 0.2f, 0.4f), 0.13f, 0.1f);
    }
    visit(picture, &flaw, crack_at);
    return true;
}

static void stain_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    surface_layer *layer = picture_subject(picture);
    float distance = distance_to_blob(picture, flaw, x, y);
    float soft = 0.25f * flaw->size, share = 1 - ramp(-soft, 0.4f * soft, distance);
    if (share <= 0)
        return;
    float edge = bell((distance + 0.3f * soft) / (0.4f * soft));
    float cloud = noise_fractal(flaw->seed + 7, 7 * x, 7 * y, 7 * picture->pixel, 3);
    float strength = flaw->strength * share * clamp(0.75f + 0.3f * edge + 0.2f * cloud, 0.3f, 1);
    mark(picture, i, share);
    dim(layer, i, mix(1, flaw->colour.red, strength), mix(1, flaw->colour.green, strength),
        mix(1, flaw->colour.blue, strength));
    tint(layer, i, flaw->colour, flaw->depth * strength);
    layer->metal[i] *= 1 - 0.8f * strength;
}

/* Water, oil, rust, ink, chalk: some darken, some cover. */
static bool make_stain(drawn_picture *picture, chance *stream)
{
    static const rgb_colour liquids[] = {{NULL, 0.30f, 0.20f, 0.10f},
                                         {NULL, 0.22f, 0.20f, 0.18f},
                                         {NULL, 0.45f, 0.16f, 0.04f},
                                         {NULL, 0.06f, 0.09f, 0.30f},
                                         {NULL, 0.70f, 0.70f, 0.66f}};
    surface_flaw flaw = {.strength = chance_between(stream, 0.8f, 1)};
    if (!find_inside(picture, stream, 0.14f, &flaw))
        return false;
    shape_blob(&flaw, stream, (range){0.13f, 0.24f}, 1.6f, (range){0.3f, 0.5f});
    rgb_colour around = colour_at(picture, flaw.x, flaw.y);
    float light = around.red + around.green + around.blue;
    unsigned kind = light < 0.3f ? 2 + 2 * chance_below(stream, 2) : chance_below(stream, 4);
    flaw.colour = liquids[kind];
    flaw.depth = light < 0.3f ? 0.75f : chance_between(stream, 0.2f, 0.5f); /* how far it covers */
    visit(picture, &flaw, stain_at);
    return true;
}

static void recolour_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x,
                        float y)
{
    surface_layer *layer = picture_subject(picture);
    float distance = distance_to_blob(picture, flaw, x, y);
    float share = mark(picture, i, 1 - ramp(-0.3f * flaw->size, 0, distance));
    tint(layer, i, flaw->colour, flaw->strength * share);
}

/* Dye that went wrong: another colour, the same surface. */
static bool make_colour_fault(drawn_picture *picture, chance *stream)
{
    static const rgb_colour dyes[] = {RED, BLUE, YELLOW, GREEN, PURPLE, DARK_BROWN, WHITE, BLACK};
    surface_flaw flaw = {.strength = chance_between(stream, 0.65f, 0.9f)};
    if (!find_inside(picture, stream, 0.14f, &flaw))
        return false;
    shape_blob(&flaw, stream, (range){0.12f, 0.22f}, 1.8f, (range){0.1f, 0.35f});
    flaw.colour = dyes[chance_below(stream, sizeof dyes / sizeof *dyes)];
    visit(picture, &flaw, recolour_at);
    return true;
}

const damage_kind surface_damages[] = {
    {"scratch", make_scratch},
    {"crack", make_crack},
    {"stain", make_stain},
    {"color", make_colour_fault},
    {0},
};
