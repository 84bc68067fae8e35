/* Parts that are longer than wide. */
#include <stddef.h>

#include "noise.h"
#include "numbers.h"
#include "palette.h"
#include "recipes.h"

static void draw_capsule(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {RED,   ORANGE, YELLOW, GREEN,     BLUE,
                                       WHITE, BLACK,  PURPLE, TURQUOISE, PINK};
    unsigned first = chance_below(stream, 10), second = (first + 1 + chance_below(stream, 9)) % 10;
    look->main = colour_varied(kinds[first], stream, 0.12f);
    look->other = colour_varied(kinds[second], stream, 0.12f);
    bool bright = look->main.red + look->main.green > 0.7f;
    look->accent = bright ? (rgb_colour)BLACK : (rgb_colour)WHITE;
    look->shape[0] = chance_between(stream, 0.25f, 0.29f); /* radius */
    look->shape[1] = (float)chance_below(stream, 3);
    *words = (picture_words){.colour = look->main.name,
                             .second_colour = look->other.name,
                             .material = "gelatine",
                             .noun = "capsule"};
}

/* Two halves, one pushed over the other, with a number on the wider one. */
static void capsule_at(const recipe_look *look, float x, float y, surface_point *point)
{
    static const char *const texts[] = {"500", "PAC", "A10"};
    const float end = 0.47f, size = 0.2f;
    float wide = inside(look, x), radius = look->shape[0] - 0.012f * (1 - wide);
    float axis = distance_to_segment(x, y, -end, 0, end, 0);
    float text = distance_to_text(texts[(int)look->shape[1]], (x + 0.33f) / size, y / size) * size;
    float profile = 1 - square(axis / radius);
    float cloud = noise_fractal(look->seed, 2 * x, 2 * y, 2 * look->finest, 3);
    float groove = bell((x + 0.08f) / 0.015f);
    point->colour = colour_scaled(colour_mix(look->other, look->main, wide), 1 + 0.05f * cloud);
    point->height = radius * sqrtf(profile > 0 ? profile : 0) - 0.008f * groove;
    point->gloss = 0.8f;
    point->print = inside(look, text - 0.018f);
    point->distance = axis - radius;
}

static void draw_pill(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {WHITE, CREAM, PINK, YELLOW, LIGHT_BLUE, ORANGE, GREEN, RED};
    look->main = PICK(kinds, stream, 0.1f);
    look->other = colour_scaled(look->main, chance_between(stream, 0.5f, 0.8f));
    bool blue_ink = chance_happens(stream, 0.5f) || look->main.green < 0.25f;
    look->accent = blue_ink ? (rgb_colour)DARK_BLUE : (rgb_colour)DARK_RED;
    look->shape[0] = chance_between(stream, 0.4f, 0.62f); /* half its height */
    look->shape[1] = (float)chance_below(stream, 3);
    look->scale = chance_between(stream, 9, 14);
    *words = (picture_words){.colour = look->main.name,
                             .material = "pressed powder",
                             .noun = look->shape[0] > 0.55f ? "round pill" : "oval pill"};
}

/* A bevelled tablet with a number printed above the score line. */
static void pill_at(const recipe_look *look, float x, float y, surface_point *point)
{
    static const char *const texts[] = {"FF", "20", "LA"};
    const float size = 0.26f;
    float outline = distance_to_box(x, y, 0.64f, look->shape[0], look->shape[0] - 0.01f);
    float text = distance_to_text(texts[(int)look->shape[1]], (x + 0.3f) / size, y / size) * size;
    noise_points specks = noise_scatter(look->seed, look->scale * x, look->scale * y);
    float speck = (1 - ramp(0.06f, 0.16f, specks.nearest)) * (float)((specks.hash & 3) == 0);
    float powder =
        noise_smooth(look->seed + 1, 60 * x, 60 * y) + noise_smooth(look->seed + 2, 25 * x, 25 * y);
    float score = bell((x - 0.04f) / 0.02f);
    point->colour = colour_scaled(look->main, 1 + 0.025f * powder);
    lay(point, look->other, 0.6f * speck);
    point->height = 0.0013f * powder - 0.1f * ramp(-0.15f, 0.03f, outline) +
                    0.10f * (1 - square(x) - square(y)) - 0.03f * score;
    point->gloss = 0.12f;
    point->print = inside(look, text - 0.026f) * 0.9f;
    point->distance = outline;
}

static void draw_screw(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {STEEL, STEEL, BRASS, GUNMETAL, COPPER};
    static const char *const materials[] = {"steel", "steel", "brass", "iron", "copper"};
    unsigned kind = chance_below(stream, 5);
    look->main = colour_varied(kinds[kind], stream, 0.1f);
    look->scale = chance_between(stream, 11, 16);          /* turns of the thread in a unit */
    look->shape[0] = chance_between(stream, 0.11f, 0.14f); /* core */
    look->shape[1] = chance_between(stream, -0.4f, -0.1f); /* where the thread begins */
    *words =
        (picture_words){.colour = look->main.name, .material = materials[kind], .noun = "screw"};
}

/* From the side: head, shank, thread, point. */
static void screw_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float head_end = -0.56f, tip = 0.78f, head = 0.27f;
    float threaded = ramp(look->shape[1], look->shape[1] + 0.08f, x);
    float turn = fabsf(offset_from_whole(look->scale * x + 1.6f * y)) * 2;
    float crest = 1 - ramp(0.15f, 0.85f, turn), taper = clamp((tip - x) / 0.22f, 0, 1);
    float core = look->shape[0] * mix(1.12f, 0.86f, threaded);
    float radius = (core + 0.05f * crest * threaded) * sqrtf(taper);
    float shaft = fabsf(y) - radius, end = x - tip;
    shaft = shaft > end ? shaft : end;
    shaft = shaft > head_end - 0.05f - x ? shaft : head_end - 0.05f - x;
    float cap = distance_to_box(x - head_end + 0.1f, y, 0.1f, head, 0.05f);
    bool in_head = cap < shaft;
    float profile = 1 - square(y / (in_head ? head : radius + 1e-4f));
    float worn = noise_fractal(look->seed, 5 * x, 12 * y, 12 * look->finest, 3);
    float slot = distance_to_box(x - head_end + 0.2f, y, 0.035f, 0.05f, 0.005f);
    point->colour = colour_scaled(look->main, 0.85f + 0.06f * worn);
    point->height = (in_head ? 0.55f * head : radius) * sqrtf(profile > 0 ? profile : 0) +
                    0.0012f * worn - (in_head ? 0.06f * ramp(-0.05f, 0, cap) : 0) -
                    0.05f * inside(look, slot);
    point->gloss = 0.5f;
    point->metal = 1;
    point->distance = in_head ? cap : shaft;
}

const class_recipe long_recipes[] = {
    {"capsule",
     draw_capsule,
     capsule_at,
     true,
     true,
     0.76f,
     {"misprint", "dent", "crack", "scratch", "hole", "contamination"}},
    {"pill",
     draw_pill,
     pill_at,
     true,
     true,
     0.66f,
     {"misprint", "broken", "crack", "color", "contamination", "scratch"}},
    {"screw",
     draw_screw,
     screw_at,
     true,
     true,
     0.8f,
     {"broken", "bent", "scratch", "stain", "contamination"}},
    {0},
};
