/* Parts made of rows: meshes, contacts, teeth, traces, lines of print. */
#include <stddef.h>

#include "noise.h"
#include "numbers.h"
#include "palette.h"
#include "recipes.h"

static float least(float a, float b)
{
    return a < b ? a : b;
}

static float most(float a, float b)
{
    return a > b ? a : b;
}

static void draw_grid(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour metals[] = {STEEL, BRASS, COPPER, GUNMETAL};
    static const rgb_colour plastics[] = {BLACK, WHITE, GREEN, ORANGE};
    static const char *const materials[] = {"steel", "brass", "copper", "iron"};
    unsigned kind = chance_below(stream, 4);
    look->contrast = chance_happens(stream, 0.7f);
    look->main = colour_varied(look->contrast > 0 ? metals[kind] : plastics[kind], stream, 0.1f);
    look->scale = chance_between(stream, 4, 6.5f);
    look->shape[0] = chance_between(stream, 0.13f, 0.19f) / look->scale; /* half a wire */
    *words = (picture_words){.colour = look->main.name,
                             .material = look->contrast > 0 ? materials[kind] : "plastic",
                             .noun = "mesh"};
}

/* Wires that go over and under each other. */
static void grid_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float half = look->shape[0];
    float u = look->scale * x + 0.05f * noise_smooth(look->seed, x, 2 * y);
    float v = look->scale * y + 0.05f * noise_smooth(look->seed + 1, 2 * x, y);
    int column = floor_of(u + 0.5f), row = floor_of(v + 0.5f);
    float across = fabsf(u - (float)column) / look->scale;
    float down = fabsf(v - (float)row) / look->scale;
    float lift = 0.9f * half;
    float upright = most(0, 1 - square(across / half)), level = most(0, 1 - square(down / half));
    float upright_height = half * sqrtf(upright) + lift * cosine(0.5f * (v + (float)column));
    float level_height = half * sqrtf(level) - lift * cosine(0.5f * (u + (float)row));
    bool is_upright = upright > 0 && (level <= 0 || upright_height > level_height);
    float drawn = is_upright ? noise_smooth(look->seed + 2, 40 * x, 4 * y)
                             : noise_smooth(look->seed + 3, 4 * x, 40 * y);
    point->colour = colour_scaled(look->main, 0.88f + 0.08f * drawn);
    point->height = is_upright ? upright_height : level_height;
    point->gloss = 0.5f;
    point->metal = look->contrast;
    point->distance = least(across, down) - half;
}

static void draw_connector(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour kinds[] = {BLACK, WHITE, BLUE, DARK_GREY, GREEN, CREAM, ORANGE};
    static const rgb_colour pins[] = {STEEL, BRASS};
    look->main = PICK(kinds, stream, 0.15f);
    look->other = PICK(pins, stream, 0.05f);
    look->count = 5 + chance_below(stream, 4);
    look->shape[0] = chance_between(stream, 0.27f, 0.33f); /* half its height */
    *words =
        (picture_words){.colour = look->main.name, .material = "plastic", .noun = "plug connector"};
}

/* A housing with two rows of chambers, a metal contact in each, and a latch. */
static void connector_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float half_width = 0.72f, half_height = look->shape[0];
    float pitch = 2 * (half_width - 0.08f) / (float)look->count;
    float column = (x + half_width - 0.08f) / pitch;
    column = clamp((float)floor_of(column), 0, (float)look->count - 1) + 0.5f;
    float right = x + half_width - 0.08f - column * pitch;
    float down = fabsf(y) - 0.48f * half_height;
    float room = 0.36f * pitch < 0.33f * half_height ? 0.36f * pitch : 0.33f * half_height;
    float chamber = distance_to_box(right, down, room, room, 0.01f);
    float contact = distance_to_box(right, down, 0.45f * room, 0.5f * room, 0.008f);
    float body = distance_to_box(x, y, half_width, half_height, 0.03f);
    float latch = distance_to_box(x, y + half_height, 0.2f, 0.07f, 0.015f);
    float outline = least(body, latch), grain = noise_smooth(look->seed, 45 * x, 45 * y);
    float sunk = inside(look, chamber), metal = inside(look, contact);
    point->colour = colour_scaled(look->main, (1 + 0.05f * grain) * (1 - 0.7f * sunk));
    lay(point, look->other, metal);
    point->height = 0.0015f * grain - 0.06f * (1 - ramp(-0.01f, 0.015f, chamber)) +
                    0.05f * (1 - ramp(-0.035f, 0, contact)) - 0.03f * ramp(-0.03f, 0.01f, outline) -
                    0.02f * ramp(0, 0.01f, body);
    point->gloss = mix(0.3f, 0.5f, metal);
    point->metal = metal;
    point->distance = outline;
}

static void draw_zipper(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour tapes[] = {BLACK,      DARK_BLUE, RED,   BEIGE,
                                       DARK_GREEN, GREY,      WHITE, PURPLE};
    static const rgb_colour teeth[] = {STEEL, BRASS, COPPER, GUNMETAL};
    look->main = PICK(tapes, stream, 0.15f);
    look->other = PICK(teeth, stream, 0.1f);
    look->scale = chance_between(stream, 5, 7.5f);
    look->shape[0] = chance_between(stream, 0.14f, 0.2f); /* half the width of the teeth */
    *words = (picture_words){
        .colour = look->main.name, .material = "metal and cloth", .noun = "zip fastener"};
}

/* One side's teeth: distance to the nearest one. */
static float distance_to_tooth(const recipe_look *look, float x, float y)
{
    float up = offset_from_whole(look->scale * y) / look->scale;
    float body = distance_to_box(x - 0.55f * look->shape[0], up, 0.62f * look->shape[0],
                                 0.3f / look->scale, 0.012f);
    float head = distance_to_box(x - 0.02f, up, 0.3f * look->shape[0], 0.21f / look->scale, 0.02f);
    return least(body, head);
}

static void zipper_at(const recipe_look *look, float x, float y, surface_point *point)
{
    const float half_width = 0.66f;
    float bend = x + 0.015f * noise_smooth(look->seed, 0, 1.5f * y);
    float right = distance_to_tooth(look, bend, y);
    float left = distance_to_tooth(look, -bend, y + 0.5f / look->scale);
    float tooth = least(left, right), share = inside(look, tooth);
    float u = 26 * bend, v = 34 * y + 0.5f * (float)(floor_of(u) & 1);
    float across = offset_from_whole(u), along = offset_from_whole(v);
    float knit = 1 - 2 * square(across) - square(along);
    float hair = noise_smooth(look->seed + 1, 60 * x, 60 * y);
    float seam = bell((fabsf(bend) - 2.1f * look->shape[0]) / 0.02f);
    point->colour = colour_scaled(look->main, 0.62f + 0.42f * knit + 0.06f * hair - 0.15f * seam);
    lay(point, colour_scaled(look->other, 0.9f + 0.05f * hair), share);
    point->height = 0.012f * knit + 0.02f * seam + 0.002f * hair;
    point->height = mix(point->height, 0.06f + 0.05f * (1 - ramp(-0.03f, 0, tooth)), share);
    point->gloss = mix(0.05f, 0.55f, share);
    point->metal = share;
    point->distance = fabsf(bend) - half_width;
}

static void draw_board(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour masks[] = {GREEN, DARK_GREEN, BLUE, DARK_BLUE, DARK_RED, BLACK};
    static const rgb_colour ink = WHITE;
    look->main = PICK(masks, stream, 0.15f);
    look->main = colour_scaled(look->main, 0.7f);
    look->other = colour_mix(look->main, (rgb_colour)BRASS, 0.28f);
    look->accent = ink;
    look->scale = chance_between(stream, 5, 7);
    look->count = 4 + chance_below(stream, 4);
    look->shape[0] = chance_between(stream, -0.4f, 0.4f);
    look->shape[1] = chance_between(stream, -0.4f, 0.4f);
    *words = (picture_words){.colour = look->main.name, .material = "circuit", .noun = "board"};
}

/* Traces from the centres of cells to those edges that have one, pads where a trace ends. */
static float trace_at(const recipe_look *look, float x, float y, float *pad)
{
    float u = look->scale * x, v = look->scale * y, nearest = 10;
    int column = floor_of(u), row = floor_of(v);
    float across = u - (float)column - 0.5f, down = v - (float)row - 0.5f;
    const bool open[] = {noise_hash(look->seed, column, row) % 5 < 2,
                         noise_hash(look->seed, column + 1, row) % 5 < 2,
                         noise_hash(look->seed + 1, column, row) % 5 < 2,
                         noise_hash(look->seed + 1, column, row + 1) % 5 < 2};
    static const float ends[4][2] = {{-0.5f, 0}, {0.5f, 0}, {0, -0.5f}, {0, 0.5f}};
    int count = 0;
    for (int i = 0; i < 4; i++) {
        if (!open[i])
            continue;
        nearest = least(nearest, distance_to_segment(across, down, 0, 0, ends[i][0], ends[i][1]));
        count++;
    }
    *pad = count == 1 || count == 3 ? sqrtf(across * across + down * down) / look->scale : 10;
    return nearest / look->scale;
}

/* A chip with legs on two sides; its name beside it. */
static void lay_chip(const recipe_look *look, float x, float y, surface_point *point)
{
    static const rgb_colour package = BLACK, leg = STEEL;
    const float pitch = 0.085f, half = 0.5f * pitch * (float)look->count;
    float along =
        clamp((float)floor_of(x / pitch + 0.5f * (float)look->count), 0, (float)look->count - 1);
    float from_leg = x - (along + 0.5f - 0.5f * (float)look->count) * pitch;
    float legs = distance_to_box(from_leg, fabsf(y) - 0.23f, 0.022f, 0.06f, 0.006f);
    float body = distance_to_box(x, y, half, 0.19f, 0.015f);
    float notch = sqrtf(square(x + half - 0.07f) + square(y - 0.1f)) - 0.025f;
    float metal = inside(look, legs), black = inside(look, body);
    float grain = noise_smooth(look->seed + 5, 40 * x, 40 * y);
    float text = distance_to_text("A7", x / 0.13f, (y + 0.4f) / 0.13f) * 0.13f;
    float frame = fabsf(distance_to_box(x, y, half + 0.05f, 0.33f, 0.01f)) - 0.008f;
    lay(point, leg, metal);
    lay(point, colour_scaled(package, 1.6f + 0.2f * grain), black);
    point->height += 0.015f * metal + 0.03f * (1 - ramp(-0.02f, 0.01f, body)) +
                     0.001f * black * grain - 0.01f * inside(look, notch);
    point->metal = mix(mix(point->metal, 1, metal), 0, black);
    point->gloss = mix(point->gloss, 0.25f, black);
    point->print = (1 - black) * (1 - metal) * inside(look, least(text - 0.014f, frame));
}

static void board_at(const recipe_look *look, float x, float y, surface_point *point)
{
    static const rgb_colour tin = {"silver", 0.60f, 0.58f, 0.52f};
    float pad, trace = trace_at(look, x, y, &pad) - 0.018f;
    float weave =
        noise_smooth(look->seed + 3, 50 * x, 6 * y) + noise_smooth(look->seed + 4, 6 * x, 50 * y);
    float share = inside(look, trace), round = inside(look, pad - 0.05f);
    float drill = inside(look, pad - 0.022f);
    point->colour = colour_scaled(colour_mix(look->main, look->other, share), 1 + 0.05f * weave);
    lay(point, tin, round);
    lay(point, (rgb_colour)BLACK, drill);
    point->height = 0.004f * (1 - ramp(-0.01f, 0.01f, trace)) + 0.006f * round - 0.03f * drill +
                    0.0003f * weave;
    point->gloss = mix(0.45f, 0.6f, round) * (1 - drill);
    point->metal = round * (1 - drill);
    point->distance = -1;
    lay_chip(look, x - look->shape[0], y - look->shape[1], point);
}

static void draw_label(recipe_look *look, chance *stream, picture_words *words)
{
    static const rgb_colour papers[] = {WHITE, WHITE, YELLOW, LIGHT_BLUE, PINK, CREAM};
    static const rgb_colour inks[] = {BLACK, DARK_BLUE, DARK_RED, DARK_GREEN};
    look->main = PICK(papers, stream, 0.08f);
    look->accent = PICK(inks, stream, 0.1f);
    look->shape[0] = chance_between(stream, 0.42f, 0.52f); /* half its height */
    look->shape[1] = (float)chance_below(stream, 4);
    *words = (picture_words){.colour = look->main.name, .material = "paper", .noun = "sticker"};
}

/* Lines of words too small to read. */
static float distance_to_lines(const recipe_look *look, float x, float y)
{
    int line = floor_of(y / 0.07f),
        word = floor_of(x / 0.11f + 3 * noise_cell(look->seed, line, 7));
    float length = 0.02f + 0.035f * noise_cell(look->seed + 1, word, line);
    float from = x / 0.11f + 3 * noise_cell(look->seed, line, 7) - (float)word - 0.5f;
    return distance_to_box(from * 0.11f, y - ((float)line + 0.5f) * 0.07f, length, 0.014f, 0.005f);
}

/* A heading, lines, and a bar code. */
static void label_at(const recipe_look *look, float x, float y, surface_point *point)
{
    static const char *const names[] = {"LOT 204", "P7 031", "CE 58", "AL 4402"};
    const float half_height = look->shape[0], size = 0.2f, top = -half_height + 0.2f;
    float outline = distance_to_box(x, y, 0.72f, half_height, 0.05f);
    float text = distance_to_text(names[(int)look->shape[1]], x / size, (y - top) / size) * size;
    float words =
        most(distance_to_lines(look, x, y), distance_to_box(x + 0.3f, y - 0.07f, 0.34f, 0.14f, 0));
    int bar = floor_of(x * 46);
    float bars = noise_hash(look->seed + 3, bar, 0) & 1 ? -1 : 1;
    bars = most(bars, distance_to_box(x - 0.36f, y - 0.1f, 0.25f, 0.17f, 0));
    float wide = distance_to_box(x, y - half_height + 0.09f, 0.62f, 0.025f, 0);
    float fibre = noise_smooth(look->seed + 4, 40 * x, 40 * y);
    float wave = noise_smooth(look->seed + 5, 1.5f * x, 1.5f * y);
    point->colour = colour_scaled(look->main, 1 + 0.02f * fibre);
    point->height = 0.0006f * fibre + 0.03f * wave - 0.02f * ramp(-0.02f, 0.01f, outline);
    point->gloss = 0.2f;
    point->print = 0.95f * inside(look, least(least(text - 0.02f, words), least(bars, wide)));
    point->distance = outline;
}

const class_recipe row_recipes[] = {
    {"grid",
     draw_grid,
     grid_at,
     true,
     true,
     9,
     {"broken", "bent", "contamination", "thread", "stain"}},
    {"connector",
     draw_connector,
     connector_at,
     true,
     true,
     0.8f,
     {"broken", "crack", "contamination", "scratch", "hole"}},
    {"zipper",
     draw_zipper,
     zipper_at,
     true,
     false,
     9,
     {"broken", "cut", "thread", "stain", "hole", "bent"}},
    {"circuit_board",
     draw_board,
     board_at,
     false,
     true,
     0,
     {"scratch", "misprint", "contamination", "stain", "hole"}},
    {"label",
     draw_label,
     label_at,
     true,
     true,
     0.84f,
     {"misprint", "fold", "broken", "stain", "scratch"}},
    {0},
};
