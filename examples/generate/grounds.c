/* Grounds that parts lie on. */
#include <stddef.h>

#include "noise.h"
#include "numbers.h"
#include "palette.h"
#include "recipes.h"

static void draw_paper(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {WHITE, LIGHT_GREY, CREAM, LIGHT_BLUE, GREY};
    look->main = PICK(kinds, stream, 0.1f);
    *words = (picture_words){.colour = look->main.name, .noun = "sheet of paper"};
}

static void paper_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float cloud = noise_fractal(look->seed, 2 * x, 2 * y, 2 * look->finest, 3);
    float fibre = noise_smooth(look->seed + 5, 50 * x, 50 * y);
    point->colour = colour_scaled(look->main, 1 + 0.03f * cloud + 0.03f * fibre);
    point->height = 0.0004f * fibre;
}

static void draw_cloth(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {GREY,  DARK_GREY, BLUE,  DARK_BLUE,
                                       GREEN, BEIGE,     WHITE, DARK_RED};
    look->main = PICK(kinds, stream, 0.15f);
    look->scale = chance_between(stream, 28, 40);
    *words = (picture_words){.colour = look->main.name, .noun = "cloth"};
}

static void cloth_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float u = look->scale * x, v = look->scale * y;
    int column = floor_of(u), row = floor_of(v);
    bool warp_above = (column + row) & 1;
    float across = u - (float)column - 0.5f, down = v - (float)row - 0.5f;
    float width = warp_above ? across : down, along = warp_above ? down : across;
    float bulge = 1 - 2 * width * width - along * along;
    float cloud = noise_fractal(look->seed, 2 * x, 2 * y, 2 * look->finest, 2);
    float own = noise_cell(look->seed + 3, column, row);
    point->colour = colour_scaled(look->main, 0.62f + 0.3f * bulge + 0.15f * own + 0.08f * cloud);
    point->height = 0.006f * bulge + 0.02f * cloud;
}

static void draw_belt(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {BLACK, DARK_GREY, DARK_GREEN, BLUE, GREY};
    look->main = PICK(kinds, stream, 0.15f);
    look->scale = chance_between(stream, 12, 22);
    *words = (picture_words){.colour = look->main.name, .noun = "rubber belt"};
}

/* Rubber with a pattern of small diamonds. */
static void belt_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float u = look->scale * (x + y), v = look->scale * (x - y);
    float across = fabsf(offset_from_whole(u)), down = fabsf(offset_from_whole(v));
    float edge = 0.5f - (across > down ? across : down);
    float bump = ramp(0.05f, 0.2f, edge);
    float dust = noise_fractal(look->seed, 6 * x, 6 * y, 6 * look->finest, 4);
    point->colour = colour_scaled(look->main, 0.85f + 0.12f * bump + 0.12f * dust);
    point->height = 0.006f * bump + 0.0005f * dust;
    point->gloss = 0.15f;
}

static void draw_table(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {BROWN, TAN, BEIGE, DARK_BROWN};
    look->main = PICK(kinds, stream, 0.15f);
    look->other = colour_scaled(look->main, chance_between(stream, 0.55f, 0.75f));
    look->scale = chance_between(stream, 3, 6);
    *words = (picture_words){.colour = look->main.name, .noun = "wooden table"};
}

static void table_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float bend = noise_smooth(look->seed, 0.5f * x, 1.3f * y);
    float rings = look->scale * (y + 0.5f * bend);
    float late = square(rings - (float)floor_of(rings));
    float fibre = noise_smooth(look->seed + 1, 5 * x, 80 * y);
    point->colour = colour_scaled(colour_mix(look->main, look->other, late), 1 + 0.1f * fibre);
    point->height = 0.001f * fibre;
    point->gloss = 0.15f;
}

static void draw_plate(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {GREY, DARK_GREY, LIGHT_GREY};
    look->main = PICK(kinds, stream, 0.15f);
    look->scale = chance_between(stream, 60, 100);
    *words = (picture_words){.colour = look->main.name, .noun = "metal plate"};
}

static void plate_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float brushed = noise_smooth(look->seed, 1.5f * x, look->scale * y);
    float wave = noise_fractal(look->seed + 1, x, y, look->finest, 2);
    point->colour = colour_scaled(look->main, 1 + 0.12f * brushed + 0.06f * wave);
    point->height = 0.0008f * brushed + 0.01f * wave;
    point->gloss = 0.25f;
    point->metal = 0.4f;
}

static void draw_tray(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {WHITE,      BLACK,     BLUE,   DARK_GREY,
                                       LIGHT_GREY, TURQUOISE, YELLOW, RED};
    look->main = PICK(kinds, stream, 0.12f);
    *words = (picture_words){.colour = look->main.name, .noun = "plastic tray"};
}

/* Moulded plastic, with the fine grain of its mould. */
static void tray_at(const recipe_look *look, float x, float y, surface_point *point)
{
    float grain = noise_smooth(look->seed, 45 * x, 45 * y);
    float scuffed = noise_smooth(look->seed + 1, 8 * x + 5 * y, 60 * y - 40 * x);
    float wave = noise_smooth(look->seed + 2, 1.1f * x, 1.1f * y);
    point->colour = colour_scaled(look->main, 1 + 0.04f * scuffed + 0.03f * grain);
    point->height = 0.0012f * grain + 0.015f * wave;
    point->gloss = 0.2f;
}

const class_recipe ground_recipes[] = {
    {"paper", draw_paper, paper_at, false, true, 0, {0}},
    {"cloth", draw_cloth, cloth_at, false, true, 0, {0}},
    {"belt", draw_belt, belt_at, false, true, 0, {0}},
    {"table", draw_table, table_at, false, true, 0, {0}},
    {"plate", draw_plate, plate_at, false, true, 0, {0}},
    {"tray", draw_tray, tray_at, false, true, 0, {0}},
    {0},
};
