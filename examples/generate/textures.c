/* Surfaces that fill the picture, and grounds that parts lie on. */
#include <stddef.h>

#include "noise.h"
#include "numbers.h"
#include "palette.h"
#include "recipes.h"

static void draw_wood(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {
        BROWN, TAN, DARK_BROWN, BEIGE, {"reddish brown", 0.26f, 0.080f, 0.035f}};
    look->main = PICK(kinds, stream, 0.15f);
    look->other = colour_scaled(look->main, chance_between(stream, 0.42f, 0.62f));
    look->scale = chance_between(stream, 3, 8);
    look->contrast = chance_between(stream, 0.5f, 1);
    look->shape[0] = chance_between(stream, 0.15f, 0.5f);
    *words = (picture_words){.colour = look->main.name, .material = "wood", .noun = "board"};
}

/* Rings of a trunk, cut along it: nearly parallel lines with a sharp dark side. */
static void wood_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float bend = noise_fractal(look->seed, 0.3f * x, 1.2f * y, look->finest, 3);
    float rings = look->scale * (y + look->shape[0] * bend) +
                  0.05f * noise_smooth(look->seed + 9, 3 * x, 40 * y);
    float late = rings - (float)floor_of(rings);
    late = late * late * (1 - ramp(0.93f, 1, late));
    float fibre = noise_smooth(look->seed + 1, 5 * x, 90 * y) +
                  0.6f * noise_smooth(look->seed + 2, 14 * x, 160 * y);
    noise_points pores = noise_scatter(look->seed + 3, 7 * x, 75 * y);
    float pore = (1 - ramp(0.12f, 0.3f, pores.nearest)) * (float)(pores.hash & 1);
    float broad = noise_smooth(look->seed + 4, 0.6f * x, 1.7f * y);
    point->colour = colour_mix(look->main, look->other, look->contrast * late);
    point->colour =
        colour_scaled(point->colour, (1 + 0.10f * fibre + 0.10f * broad) * (1 - 0.25f * pore));
    point->height = 0.0012f * fibre - 0.0025f * pore;
    point->gloss = 0.22f;
}

static void draw_leather(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {BROWN,    DARK_BROWN, TAN,       BLACK,
                                       DARK_RED, DARK_GREEN, DARK_BLUE, BEIGE};
    look->main = PICK(kinds, stream, 0.15f);
    look->scale = chance_between(stream, 9, 15);
    look->depth = chance_between(stream, 0.010f, 0.018f);
    look->contrast = chance_between(stream, 0.3f, 0.55f);
    *words = (picture_words){.colour = look->main.name, .material = "leather", .noun = "surface"};
}

/* Islands of skin between wrinkles, with pores. */
static void leather_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float bend_x = x + 0.05f * noise_smooth(look->seed, 5 * x, 5 * y);
    float bend_y = y + 0.05f * noise_smooth(look->seed + 1, 5 * x, 5 * y);
    noise_points islands =
        noise_scatter(look->seed + 2, look->scale * bend_x, look->scale * bend_y);
    noise_points small =
        noise_scatter(look->seed + 3, 2.3f * look->scale * bend_x, 2.3f * look->scale * bend_y);
    float island = ramp(0, 0.45f, islands.second - islands.nearest);
    float wrinkle = ramp(0, 0.5f, small.second - small.nearest);
    float skin = 0.68f * island + 0.32f * wrinkle;
    float mottled = noise_fractal(look->seed + 4, 1.5f * x, 1.5f * y, 1.5f * look->finest, 4);
    float grain = noise_smooth(look->seed + 8, 70 * x, 70 * y);
    point->colour = colour_scaled(look->main, 1 - look->contrast * (1 - skin) + 0.09f * mottled +
                                                  0.05f * grain);
    point->height = look->depth * skin + 0.0008f * grain;
    point->gloss = 0.3f + 0.1f * skin;
}

static void draw_tile(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour bases[] = {LIGHT_GREY, WHITE, CREAM, BEIGE, GREY, DARK_GREY, TAN};
    static const rgb_colour specks[] = {BLACK, DARK_BROWN, DARK_RED, DARK_GREEN, DARK_BLUE};
    look->main = PICK(bases, stream, 0.1f);
    look->other = PICK(specks, stream, 0.2f);
    look->accent = colour_scaled(look->main, chance_between(stream, 0.4f, 0.6f));
    look->scale = chance_between(stream, 11, 17);
    look->contrast = chance_between(stream, 0.2f, 0.34f);
    *words = (picture_words){.colour = look->main.name,
                             .material = "stone",
                             .noun = "tile",
                             .second_colour = look->other.name};
}

/* Chips of stone in a polished ground. */
static void tile_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float scale = look->scale;
    float ragged = 0.30f * noise_smooth(look->seed, 3 * scale * x, 3 * scale * y);
    float fine = noise_fractal(look->seed + 5, 40 * x, 40 * y, 40 * look->finest, 2);
    point->colour = colour_scaled(look->main, 1 + 0.10f * fine);
    for (uint32_t i = 0; i < 2; i++, scale *= 1.9f) {
        noise_points chips = noise_scatter(look->seed + 1 + i, scale * x, scale * y);
        float size = (float)(chips.hash >> 8 & 0xff) * (0.5f / 255);
        float edge = (chips.nearest + ragged * 0.5f - size) / scale;
        bool dark = (float)(chips.hash & 0xff) < 255 * look->contrast;
        bool any = dark || (chips.hash >> 16 & 3) == 0;
        if (any)
            lay(point, colour_scaled(dark ? look->other : look->accent, 1 + 0.2f * fine),
                inside(look, edge));
    }
    point->height = 0.0006f * fine;
    point->gloss = 0.6f;
}

static void draw_carpet(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {GREY, DARK_GREY, BEIGE, LIGHT_GREY,
                                       BLUE, DARK_RED,  GREEN, BROWN};
    look->main = PICK(kinds, stream, 0.15f);
    look->other = colour_scaled(look->main, chance_between(stream, 0.45f, 0.8f));
    look->scale = chance_between(stream, 15, 22);
    look->depth = chance_between(stream, 0.02f, 0.03f);
    *words = (picture_words){.colour = look->main.name, .material = "wool", .noun = "carpet"};
}

/* Staggered loops of wool. */
static void carpet_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float wander = noise_smooth(look->seed, 4 * x, 4 * y);
    float u = look->scale * x + 0.25f * wander;
    float v = look->scale * 0.75f * y + 0.25f * noise_smooth(look->seed + 1, 4 * x, 4 * y);
    int row = floor_of(v);
    u += 0.5f * (float)(row & 1);
    int column = floor_of(u);
    float across = u - (float)column - 0.5f, down = v - (float)row - 0.5f;
    float own = noise_cell(look->seed + 2, column, row);
    float bulge = 1 - ramp(0.1f, 0.62f, sqrtf(across * across + down * down));
    float fibre = noise_smooth(look->seed + 3, 60 * x + 20 * own, 25 * y) +
                  0.7f * noise_smooth(look->seed + 4, 90 * x, 90 * y);
    float broad = noise_fractal(look->seed + 5, 1.2f * x, 1.2f * y, look->finest, 3);
    point->colour = colour_mix(look->other, look->main, ramp(0.1f, 0.8f, own));
    point->colour =
        colour_scaled(point->colour, 0.55f + 0.5f * bulge + 0.13f * fibre + 0.07f * broad);
    point->height = look->depth * (bulge + 0.12f * fibre);
}

static void draw_fabric(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {WHITE, LIGHT_GREY, BLUE,   LIGHT_BLUE, RED,      GREEN,
                                       BEIGE, BLACK,      ORANGE, DARK_BLUE,  TURQUOISE};
    look->main = PICK(kinds, stream, 0.15f);
    look->other = colour_scaled(look->main, chance_between(stream, 0.6f, 1));
    look->scale = chance_between(stream, 12, 20);
    look->depth = chance_between(stream, 0.010f, 0.016f);
    look->count = chance_below(stream, 2); /* plain or twill */
    *words = (picture_words){.colour = look->main.name,
                             .material = "cotton",
                             .noun = look->count ? "twill fabric" : "woven fabric"};
}

/* Threads that go over and under each other. */
static void fabric_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float u = look->scale * x + 0.12f * noise_smooth(look->seed, 3 * x, 9 * y);
    float v = look->scale * y + 0.12f * noise_smooth(look->seed + 1, 9 * x, 3 * y);
    int column = floor_of(u), row = floor_of(v);
    float across = u - (float)column - 0.5f, down = v - (float)row - 0.5f;
    bool warp_above = look->count ? ((column + row) & 3) < 2 : (column + row) & 1;
    float width = warp_above ? across : down, along = warp_above ? down : across;
    float own =
        warp_above ? noise_cell(look->seed + 2, column, 0) : noise_cell(look->seed + 3, 0, row);
    float round = 1 - 3.4f * width * width;
    float arched = 1 - (look->count ? 0.8f : 1.8f) * along * along;
    float twisted = warp_above ? noise_smooth(look->seed + 4, 3 * u + 1.5f * v, 3.5f * v)
                               : noise_smooth(look->seed + 5, 3.5f * u, 3 * v + 1.5f * u);
    float hair = noise_smooth(look->seed + 6, 80 * x, 80 * y);
    float gap = ramp(0.38f, 0.5f, fabsf(width));
    point->colour = colour_mix(warp_above ? look->main : look->other, look->main, 0.3f);
    point->colour = colour_scaled(
        point->colour, (0.88f + 0.2f * own + 0.1f * twisted + 0.05f * hair) * (1 - 0.6f * gap));
    point->height = look->depth * (round + arched + 0.12f * twisted);
    point->gloss = 0.08f;
}

static void draw_concrete(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {GREY, LIGHT_GREY, BEIGE, DARK_GREY};
    look->main = PICK(kinds, stream, 0.15f);
    look->scale = chance_between(stream, 5, 9);
    look->contrast = chance_between(stream, 0.10f, 0.2f);
    *words = (picture_words){.colour = look->main.name, .material = "concrete", .noun = "surface"};
}

static void concrete_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float cloud = noise_fractal(look->seed, 1.6f * x, 1.6f * y, 1.6f * look->finest, 5);
    float sand = noise_smooth(look->seed + 9, 55 * x, 55 * y) +
                 0.7f * noise_smooth(look->seed + 10, 100 * x, 100 * y);
    noise_points pits = noise_scatter(look->seed + 11, look->scale * x, look->scale * y);
    float size = square((float)(pits.hash & 0xff) / 255);
    float pit = 1 - ramp(0.02f + 0.05f * size, 0.05f + 0.12f * size, pits.nearest);
    pit *= (float)((pits.hash >> 8 & 3) == 0);
    point->colour =
        colour_scaled(look->main, (1 + look->contrast * cloud + 0.07f * sand) * (1 - 0.35f * pit));
    point->height = 0.0015f * sand + 0.002f * cloud - 0.01f * pit;
    point->gloss = 0.05f;
}

static void draw_sheet(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {STEEL, STEEL, BRASS, COPPER, GUNMETAL};
    static const char *const materials[] = {"steel", "steel", "brass", "copper", "iron"};
    unsigned kind = chance_below(stream, 5);
    look->main = colour_varied(kinds[kind], stream, 0.08f);
    look->scale = chance_between(stream, 70, 120);
    look->depth = chance_between(stream, 0.0006f, 0.0014f);
    *words =
        (picture_words){.colour = look->main.name, .material = materials[kind], .noun = "sheet"};
}

/* Metal with the marks of a brush. */
static void sheet_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float brushed = noise_smooth(look->seed, 1.2f * x, look->scale * y) +
                    0.8f * noise_smooth(look->seed + 1, 3 * x, 1.9f * look->scale * y);
    float wave = noise_smooth(look->seed + 2, 0.9f * x, 0.9f * y);
    point->colour = colour_scaled(look->main, 0.86f + 0.11f * brushed + 0.05f * wave);
    point->height = look->depth * brushed + 0.02f * wave;
    point->gloss = 0.45f;
    point->metal = 1;
}

static void draw_cardboard(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {TAN, BEIGE, WHITE, LIGHT_GREY};
    look->main = PICK(kinds, stream, 0.12f);
    look->scale = chance_between(stream, 5, 9);
    *words = (picture_words){.colour = look->main.name, .material = "cardboard", .noun = "sheet"};
}

/* Fluted inside: faint waves below a skin of fibres. */
static void cardboard_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float flute = cosine(look->scale * y + 0.1f * noise_smooth(look->seed, x, y));
    float fibre =
        noise_smooth(look->seed + 1, 16 * x, 50 * y) + noise_smooth(look->seed + 2, 60 * x, 25 * y);
    float cloud = noise_fractal(look->seed + 3, 2 * x, 2 * y, 2 * look->finest, 4);
    noise_points specks = noise_scatter(look->seed + 8, 14 * x, 14 * y);
    float speck = (1 - ramp(0.04f, 0.1f, specks.nearest)) * (float)((specks.hash & 7) == 0);
    point->colour = colour_scaled(look->main, (1 + 0.06f * fibre + 0.05f * cloud + 0.03f * flute) *
                                                  (1 - 0.35f * speck));
    point->height = 0.002f * flute + 0.0006f * fibre;
    point->gloss = 0.04f;
}

const class_recipe texture_recipes[] = {
    {"wood",
     draw_wood,
     wood_at,
     false,
     false,
     0,
     {"scratch", "hole", "stain", "crack", "color", "dent"}},
    {"leather",
     draw_leather,
     leather_at,
     false,
     true,
     0,
     {"cut", "fold", "hole", "color", "scratch", "stain"}},
    {"tile",
     draw_tile,
     tile_at,
     false,
     true,
     0,
     {"crack", "stain", "scratch", "contamination", "hole"}},
    {"carpet",
     draw_carpet,
     carpet_at,
     false,
     false,
     0,
     {"hole", "color", "cut", "thread", "contamination", "stain"}},
    {"fabric",
     draw_fabric,
     fabric_at,
     false,
     false,
     0,
     {"hole", "stain", "cut", "fold", "thread", "contamination"}},
    {"concrete",
     draw_concrete,
     concrete_at,
     false,
     true,
     0,
     {"crack", "hole", "stain", "contamination", "scratch"}},
    {"metal_sheet",
     draw_sheet,
     sheet_at,
     false,
     true,
     0,
     {"scratch", "dent", "stain", "hole", "contamination"}},
    {"cardboard",
     draw_cardboard,
     cardboard_at,
     false,
     false,
     0,
     {"cut", "fold", "hole", "stain", "dent"}},
    {0},
};
