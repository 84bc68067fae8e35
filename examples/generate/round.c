/* Round parts, seen from above. */
#include <stddef.h>

#include "noise.h"
#include "numbers.h"
#include "palette.h"
#include "recipes.h"

/* Where in a sector of a part with `count` teeth: -0.5 to 0.5. */
static float sector(float x, float y, unsigned count)
{
    return offset_from_whole(angle_of(x, y) * (float)count);
}

/* A half circle over a band from `inner` to `outer`. */
static float bulge(float radius, float inner, float outer)
{
    float from_middle = (2 * radius - inner - outer) / (outer - inner);
    float height = 1 - from_middle * from_middle;
    return height > 0 ? sqrtf(height) * 0.5f * (outer - inner) : 0;
}

static void draw_bottle(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {{"brown", 0.10f, 0.038f, 0.012f},
                                       {"dark green", 0.018f, 0.070f, 0.026f},
                                       {"green", 0.06f, 0.20f, 0.07f},
                                       {"blue", 0.030f, 0.075f, 0.24f},
                                       {"black", 0.016f, 0.016f, 0.017f}};
    look->main = PICK(kinds, stream, 0.2f);
    look->other = colour_scaled(look->main, 0.08f);
    look->shape[0] = chance_between(stream, 0.42f, 0.5f);  /* opening */
    look->shape[1] = chance_between(stream, 0.62f, 0.68f); /* mouth */
    *words =
        (picture_words){.colour = look->main.name, .material = "glass", .noun = "bottle mouth"};
}

/* The opening with the dark inside, the rim, a thread and the shoulder. */
static void bottle_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float outline = 0.8f, opening = look->shape[0], mouth = look->shape[1];
    float radius = sqrtf(x * x + y * y);
    float ripple = noise_smooth(look->seed, 4 * x, 4 * y);
    float within = inside(look, radius - opening);
    float below = noise_smooth(look->seed + 1, 2.2f * x, 2.2f * y);
    float ring = bell((radius - 0.72f * opening) / 0.035f);
    point->colour = colour_mix(look->main, look->other, within * (0.93f - 0.35f * ring));
    point->colour = colour_scaled(point->colour, 1 + 0.15f * ripple + 0.25f * within * below);
    point->height = radius < opening
                        ? -0.12f - 0.25f * ramp(opening, 0.8f * opening, radius) + 0.05f * ring
                        : 0.9f * bulge(radius, opening, mouth) +
                              0.6f * bulge(radius, mouth, outline) -
                              0.16f * ramp(mouth, outline, radius);
    point->height += 0.003f * ripple;
    point->gloss = 0.85f - 0.4f * within;
    point->metal = 0.12f * (1 - within);
    point->distance = radius - outline;
}

static void draw_nut(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {STEEL, STEEL, BRASS, GUNMETAL, COPPER};
    static const char *const materials[] = {"steel", "steel", "brass", "iron", "copper"};
    unsigned kind = chance_below(stream, 5);
    look->main = colour_varied(kinds[kind], stream, 0.1f);
    look->shape[0] = chance_between(stream, 0.32f, 0.4f); /* thread */
    look->scale = chance_between(stream, 40, 70);
    *words =
        (picture_words){.colour = look->main.name, .material = materials[kind], .noun = "hex nut"};
}

static float distance_to_hexagon(float x, float y, float half_width)
{
    float along = angle_of(x, y) * 6, radius = sqrtf(x * x + y * y);
    return radius * cosine(offset_from_whole(along) / 6) - half_width;
}

static void nut_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float hole = look->shape[0];
    float radius = sqrtf(x * x + y * y);
    float flat = distance_to_hexagon(x, y, 0.64f), round = radius - 0.71f;
    float outline = flat > round ? flat : round;
    outline = outline > hole - radius ? outline : hole - radius;
    float turned = noise_smooth(look->seed, look->scale * radius, 3 * angle_of(x, y)) +
                   0.5f * noise_smooth(look->seed + 1, 30 * x, 30 * y);
    float rusty = noise_fractal(look->seed + 2, 3 * x, 3 * y, 3 * look->finest, 3);
    float thread = radius < hole + 0.09f ? cosine((radius - hole) * 33) : 0;
    point->colour = colour_scaled(look->main, 0.8f + 0.06f * turned + 0.05f * rusty);
    point->colour = colour_scaled(point->colour, 1 - 0.45f * (1 - ramp(hole, hole + 0.1f, radius)));
    point->height = 0.0006f * turned + 0.012f * thread -
                    0.22f * (1 - ramp(hole - 0.02f, hole + 0.12f, radius)) -
                    0.12f * ramp(0.55f, 0.74f, radius) - 0.1f * ramp(-0.05f, 0.02f, flat);
    point->gloss = 0.45f;
    point->metal = 1;
    point->distance = outline;
}

static void draw_washer(recipe_look *look, chance *stream, picture_words *words)
{
    draw_nut(look, stream, words);
    look->shape[0] = chance_between(stream, 0.27f, 0.4f);
    words->noun = "washer";
}

static void washer_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float hole = look->shape[0], outline = 0.7f;
    float radius = sqrtf(x * x + y * y), turns = angle_of(x, y);
    float brushed = noise_smooth(look->seed, 4 * x, look->scale * y) +
                    0.6f * noise_smooth(look->seed + 1, look->scale * radius, 8 * turns);
    float cloud = noise_fractal(look->seed + 2, 2.5f * x, 2.5f * y, 2.5f * look->finest, 3);
    float edge = radius - hole < outline - radius ? radius - hole : outline - radius;
    point->colour = colour_scaled(look->main, 0.85f + 0.07f * brushed + 0.06f * cloud);
    point->height = 0.0006f * brushed + 0.012f * cloud - 0.05f * (1 - ramp(0, 0.05f, edge));
    point->gloss = 0.5f;
    point->metal = 1;
    point->distance = -edge;
}

static void draw_gear(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour plastics[] = {WHITE, BLACK, BLUE, ORANGE, YELLOW, GREEN, RED};
    bool metal = chance_happens(stream, 0.5f);
    draw_nut(look, stream, words);
    if (!metal) {
        look->main = PICK(plastics, stream, 0.15f);
        *words = (picture_words){.colour = look->main.name, .material = "plastic"};
    }
    look->contrast = metal;
    look->count = 12 + chance_below(stream, 13);
    look->shape[0] = chance_between(stream, 0.14f, 0.2f);
    look->shape[1] = chance_between(stream, 0.55f, 0.6f);
    words->noun = "gear wheel";
}

/* Teeth around a rim, a thinner web with holes, a hub. */
static void gear_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float root = 0.66f, tip = 0.76f, bore = look->shape[0], web = look->shape[1];
    float radius = sqrtf(x * x + y * y), along = sector(x, y, look->count);
    float pitch = 6.2832f * radius / (float)look->count;
    float flank = (fabsf(along) - mix(0.3f, 0.17f, ramp(root, tip, radius))) * pitch;
    float tooth = flank > radius - tip ? flank : radius - tip;
    float outline = radius - root < tooth ? radius - root : tooth;
    float key = distance_to_box(x - bore, y, 0.06f, 0.05f, 0.01f);
    float shaft = radius - bore < key ? radius - bore : key;
    float around = sector(x, y, 5) / 5, from_hole = radius - 0.41f;
    float hole = sqrtf(square(from_hole) + square(6.2832f * around * 0.41f)) - 0.085f;
    float grain = noise_smooth(look->seed, 35 * x, 35 * y) +
                  0.8f * look->contrast * noise_smooth(look->seed + 1, look->scale * radius, 3);
    outline = outline > -shaft ? outline : -shaft;
    outline = outline > -hole ? outline : -hole;
    float sunk = ramp(0.26f, 0.29f, radius) * (1 - ramp(web - 0.03f, web, radius));
    point->colour = colour_scaled(look->main, (0.9f + 0.04f * grain) * (1 - 0.12f * sunk));
    point->height = 0.0005f * grain - 0.05f * sunk - 0.03f * (1 - ramp(0, 0.03f, -outline));
    point->gloss = 0.4f;
    point->metal = look->contrast;
    point->distance = outline;
}

static void draw_coin(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {STEEL, BRASS, COPPER, GUNMETAL};
    static const char *const materials[] = {"nickel", "brass", "copper", "iron"};
    unsigned kind = chance_below(stream, 4);
    look->main = colour_varied(kinds[kind], stream, 0.12f);
    look->count = 5 + chance_below(stream, 4);
    look->shape[0] = (float)chance_below(stream, 3);
    *words =
        (picture_words){.colour = look->main.name, .material = materials[kind], .noun = "coin"};
}

/* A value in relief between a rim, a ring of beads and one of larger dots. */
static void coin_at(const recipe_look *look, float x, float y, surface_point *point)
{
    static const char *const values[] = {"50", "10", "25"};
    const float outline = 0.74f, ring = 0.61f, wreath = 0.47f, size = 0.42f, turn = 6.2832f;
    float radius = sqrtf(x * x + y * y), count = (float)(4 * look->count);
    float rim = ramp(0.66f, 0.68f, radius) - ramp(0.71f, 0.75f, radius);
    float bead = sqrtf(square(radius - ring) + square(ring * turn / 56 * sector(x, y, 56)));
    float along = wreath * turn / count * sector(x, y, 4 * look->count);
    float dot = sqrtf(square(radius - wreath) + square(1.6f * along));
    float text = distance_to_text(values[(int)look->shape[0]], x / size, y / size) * size;
    float worn = noise_fractal(look->seed, 4 * x, 4 * y, 4 * look->finest, 4);
    float fine = noise_smooth(look->seed + 5, 50 * x, 50 * y);
    float relief = rim + 0.7f * (1 - ramp(0.012f, 0.022f, bead)) +
                   0.8f * (1 - ramp(0.015f, 0.04f, dot)) + 1.2f * (1 - ramp(0.024f, 0.048f, text));
    point->colour = colour_scaled(look->main, 0.72f + 0.1f * worn + 0.14f * relief);
    point->height = 0.016f * relief + 0.001f * worn + 0.0006f * fine;
    point->gloss = 0.42f;
    point->metal = 1;
    point->distance = radius - outline;
}

static void draw_button(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {WHITE, BLACK,  RED,       BLUE, GREEN, YELLOW,
                                       BROWN, PURPLE, TURQUOISE, PINK, CREAM};
    look->main = PICK(kinds, stream, 0.15f);
    look->count = chance_happens(stream, 0.7f) ? 4 : 2;
    look->shape[0] = chance_between(stream, 0.14f, 0.19f);   /* from the centre to a hole */
    look->shape[1] = chance_between(stream, 0.060f, 0.085f); /* size of a hole */
    look->contrast = chance_between(stream, 0.02f, 0.16f);
    *words = (picture_words){.colour = look->main.name, .material = "plastic", .noun = "button"};
}

static void button_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float outline = 0.7f;
    float radius = sqrtf(x * x + y * y), turns = angle_of(x, y);
    float apart = offset_from_whole(turns * (float)look->count) / (float)look->count;
    float from_hole =
        sqrtf(square(radius * cosine(apart) - look->shape[0]) + square(radius * sine(apart))) -
        look->shape[1];
    float marbled =
        noise_fractal(look->seed, 2 * x + 0.5f * noise_smooth(look->seed + 7, 2 * x, 2 * y), 5 * y,
                      5 * look->finest, 4);
    float dish = ramp(0.52f, 0.4f, radius);
    point->colour = colour_scaled(look->main, 1 + look->contrast * marbled);
    point->height = 0.7f * bulge(radius, 0.44f, 0.78f) - 0.04f * dish -
                    0.05f * (1 - ramp(0, 0.035f, from_hole)) -
                    0.06f * ramp(outline - 0.07f, outline + 0.02f, radius);
    point->gloss = 0.7f;
    point->distance = radius - outline > -from_hole ? radius - outline : -from_hole;
}

static void draw_cap(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {RED,   BLUE,   GREEN, YELLOW, WHITE,
                                       BLACK, ORANGE, STEEL, BRASS};
    look->main = PICK(kinds, stream, 0.12f);
    bool bright = look->main.red + look->main.green > 0.75f;
    look->accent = bright ? (rgb_colour)DARK_BLUE : (rgb_colour)WHITE;
    look->shape[0] = (float)chance_below(stream, 3);
    *words = (picture_words){.colour = look->main.name,
                             .second_colour = look->accent.name,
                             .material = "metal",
                             .noun = "bottle cap"};
}

/* A crown cap: 21 flutes around a printed top. */
static void cap_at(const recipe_look *look, float x, float y, surface_point *point)
{
    static const char *const names[] = {"ALE", "COLA", "PILS"};
    float radius = sqrtf(x * x + y * y), flute = cosine(sector(x, y, 21));
    float outline = 0.715f + 0.035f * flute, skirt = ramp(0.5f, 0.6f, radius);
    float size = 0.3f * 3 / (look->shape[0] < 0.5f ? 3 : 4);
    float text = distance_to_text(names[(int)look->shape[0]], x / size, y / size) * size;
    float ring = fabsf(radius - 0.47f) - 0.016f;
    float orange_peel = noise_smooth(look->seed, 12 * x, 12 * y);
    float ink = text - 0.032f < ring ? text - 0.032f : ring;
    point->colour = colour_scaled(look->main, 1 + 0.03f * orange_peel);
    point->height =
        0.035f * flute * skirt - 0.3f * square(ramp(0.42f, 0.8f, radius)) + 0.002f * orange_peel;
    point->gloss = 0.62f;
    point->metal = 0.35f;
    point->print = inside(look, ink);
    point->distance = radius - outline;
}

static void draw_cable(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour sheaths[] = {BLACK, GREY, WHITE, ORANGE, DARK_BLUE, LIGHT_GREY};
    static const rgb_colour wires[] = {BLUE, BROWN, GREEN, RED, YELLOW, LIGHT_GREY};
    unsigned first = chance_below(stream, 4);
    look->main = PICK(sheaths, stream, 0.15f);
    look->other = colour_varied(wires[first], stream, 0.1f);
    look->accent = colour_varied(wires[first + 2], stream, 0.1f);
    look->shape[0] = chance_between(stream, 0.27f, 0.29f);
    *words = (picture_words){.colour = look->main.name,
                             .second_colour = look->other.name,
                             .material = "copper and plastic",
                             .noun = "cable cross-section"};
}

/* Strands of copper, or nothing outside the wire. */
static float strands_at(const recipe_look *look, float x, float y, float radius,
                        surface_point *point)
{
    static const rgb_colour copper = COPPER;
    noise_points strands = noise_scatter(look->seed, 21 * x, 21 * y);
    float gap = strands.second - strands.nearest;
    float share = inside(look, sqrtf(x * x + y * y) - radius);
    lay(point,
        colour_scaled(copper, 0.55f + 0.45f * ramp(0, 0.3f, gap) +
                                  0.1f * ((float)(strands.hash & 0xff) / 255 - 0.5f)),
        share);
    point->metal = mix(point->metal, 0.75f, share);
    point->gloss = mix(point->gloss, 0.4f, share);
    return share * 0.02f * ramp(0, 0.45f, gap);
}

/* Three insulated wires in a sheath, cut across. */
static void cable_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float outline = 0.78f, away = 0.335f, wire = look->shape[0];
    float radius = sqrtf(x * x + y * y), cut = noise_smooth(look->seed + 3, 3 * x, 50 * y);
    int index = floor_of((angle_of(x, y) + 0.5f) * 3);
    float centre = ((float)index + 0.5f) / 3 - 0.5f;
    float right = x - away * cosine(centre), down = y - away * sine(centre);
    float from_wire = sqrtf(right * right + down * down) - wire;
    static const rgb_colour third = YELLOW;
    rgb_colour insulation = index == 0 ? look->other : index == 1 ? look->accent : third;
    float filler = inside(look, radius - 0.66f), insulated = inside(look, from_wire);
    point->colour = colour_scaled(look->main, 1 + 0.05f * cut);
    lay(point, colour_scaled((rgb_colour)DARK_GREY, 0.8f + 0.1f * cut), filler);
    lay(point, colour_scaled(insulation, 1 + 0.05f * cut), insulated);
    point->gloss = 0.25f;
    point->height = 0.001f * cut - 0.03f * filler * (1 - insulated) -
                    0.05f * ramp(outline - 0.05f, outline + 0.02f, radius);
    point->height += strands_at(look, right, down, 0.62f * wire, point);
    point->distance = radius - outline;
}

const class_recipe round_recipes[] = {
    {"bottle",
     draw_bottle,
     bottle_at,
     true,
     true,
     0.8f,
     {"broken", "contamination", "crack", "scratch", "stain"}},
    {"metal_nut",
     draw_nut,
     nut_at,
     true,
     true,
     0.72f,
     {"scratch", "broken", "stain", "dent", "contamination"}},
    {"washer",
     draw_washer,
     washer_at,
     true,
     true,
     0.7f,
     {"scratch", "broken", "stain", "dent", "crack"}},
    {"gear",
     draw_gear,
     gear_at,
     true,
     true,
     0.76f,
     {"broken", "scratch", "crack", "contamination", "dent"}},
    {"coin",
     draw_coin,
     coin_at,
     true,
     true,
     0.74f,
     {"scratch", "stain", "dent", "broken", "color"}},
    {"button",
     draw_button,
     button_at,
     true,
     true,
     0.7f,
     {"broken", "crack", "scratch", "color", "contamination"}},
    {"cap",
     draw_cap,
     cap_at,
     true,
     true,
     0.75f,
     {"misprint", "scratch", "dent", "broken", "stain"}},
    {"cable",
     draw_cable,
     cable_at,
     true,
     true,
     0.78f,
     {"cut", "broken", "hole", "contamination", "color"}},
    {0},
};
