#include "damage.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "noise.h"
#include "numbers.h"
#include "palette.h"
#include "recipes.h"

enum { MOST_KNOTS = 40, MOST_PATHS = 4 };

/* A line of short segments. */
typedef struct flaw_path {
    unsigned count;
    float x[MOST_KNOTS], y[MOST_KNOTS];
} flaw_path;

/* One flaw: where it is, and what its kind has drawn for it. */
typedef struct surface_flaw {
    float x, y, reach; /* nothing changes farther away */
    uint32_t seed;
    float cosine, sine, size, stretch, ragged; /* of a blob */
    flaw_path paths[MOST_PATHS];
    unsigned path_count;
    float width, depth, strength;
    rgb_colour colour;
} surface_flaw;

typedef void (*flaw_at)(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x,
                        float y);

static void visit(drawn_picture *picture, const surface_flaw *flaw, flaw_at at)
{
    const float last = (float)picture->side;
    int left = floor_of(clamp((flaw->x - flaw->reach + 1) / picture->pixel, 0, last));
    int right = floor_of(clamp((flaw->x + flaw->reach + 1) / picture->pixel, 0, last));
    int top = floor_of(clamp((flaw->y - flaw->reach + 1) / picture->pixel, 0, last));
    int bottom = floor_of(clamp((flaw->y + flaw->reach + 1) / picture->pixel, 0, last));
    for (int row = top; row < bottom; row++)
        for (int column = left; column < right; column++)
            at(picture, flaw, (size_t)row * picture->side + (size_t)column,
               place_of(picture, (unsigned)column), place_of(picture, (unsigned)row));
}

/* Notes that this share of a pixel is damaged, as far as the subject is there; returns the share.
 */
static float mark(drawn_picture *picture, size_t i, float share)
{
    float there = picture->has_part ? picture->cover[i] : 1;
    if (share * there > picture->damage[i])
        picture->damage[i] = share * there;
    return share;
}

static void tint(surface_layer *layer, size_t i, rgb_colour colour, float share)
{
    layer->red[i] = mix(layer->red[i], colour.red, share);
    layer->green[i] = mix(layer->green[i], colour.green, share);
    layer->blue[i] = mix(layer->blue[i], colour.blue, share);
}

static void dim(surface_layer *layer, size_t i, float red, float green, float blue)
{
    layer->red[i] *= red;
    layer->green[i] *= green;
    layer->blue[i] *= blue;
}

static void fade_polish(surface_layer *layer, size_t i, float share)
{
    layer->metal[i] *= 1 - share;
    layer->gloss[i] *= 1 - share;
}

static rgb_colour colour_at(drawn_picture *picture, float x, float y)
{
    const float last = (float)picture->side - 1;
    size_t column = (size_t)clamp((x + 1) / picture->pixel, 0, last);
    size_t row = (size_t)clamp((y + 1) / picture->pixel, 0, last);
    size_t i = row * picture->side + column;
    const surface_layer *layer = picture_subject(picture);
    return (rgb_colour){NULL, layer->red[i], layer->green[i], layer->blue[i]};
}

/* Clearly lighter or darker than what is around. */
static rgb_colour contrasting(rgb_colour around, chance *stream)
{
    static const rgb_colour pale = {NULL, 0.75f, 0.73f, 0.68f};
    float light = 0.3f * around.red + 0.6f * around.green + 0.1f * around.blue;
    bool lighter = light < 0.12f || (light < 0.35f && chance_happens(stream, 0.5f));
    if (lighter)
        return colour_mix(around, pale, chance_between(stream, 0.45f, 0.75f));
    return colour_scaled(around, chance_between(stream, 0.2f, 0.4f));
}

/* A random place on the subject, between two distances from its outline. */
static bool find_place(drawn_picture *picture, chance *stream, float deepest, float shallowest,
                       surface_flaw *flaw)
{
    for (int i = 0; i < 400; i++) {
        unsigned margin = picture->side / 12, room = picture->side - 2 * margin;
        unsigned column = margin + chance_below(stream, room);
        unsigned row = margin + chance_below(stream, room);
        float distance = picture->distance[(size_t)row * picture->side + column];
        if (distance < deepest || distance > shallowest)
            continue;
        flaw->x = place_of(picture, column);
        flaw->y = place_of(picture, row);
        return true;
    }
    return false;
}

/* Inside, as far from the outline as the flaw would like, or nearer. */
static bool find_inside(drawn_picture *picture, chance *stream, float margin, surface_flaw *flaw)
{
    for (; margin > 0.002f; margin *= 0.6f)
        if (find_place(picture, stream, -10, -margin, flaw))
            return true;
    return false;
}

typedef struct range {
    float low, high;
} range;

static void shape_blob(surface_flaw *flaw, chance *stream, range size, float stretch, range ragged)
{
    float turns = chance_between(stream, 0, 1);
    flaw->seed = (uint32_t)chance_bits(stream);
    flaw->cosine = cosine(turns);
    flaw->sine = sine(turns);
    flaw->size = chance_between(stream, size.low, size.high);
    flaw->ragged = chance_between(stream, ragged.low, ragged.high);
    flaw->stretch = chance_between(stream, 1, stretch);
    flaw->reach = 2 * flaw->size * flaw->stretch;
}

/* To its outline, negative inside. The wobble is turned and bent, so that no lattice shows. */
static float distance_to_blob(const drawn_picture *picture, const surface_flaw *flaw, float x,
                              float y)
{
    float right = x - flaw->x, down = y - flaw->y, scale = 1.9f / flaw->size;
    float along = flaw->cosine * right + flaw->sine * down;
    float across = flaw->cosine * down - flaw->sine * right;
    float bend = 0.35f * noise_smooth(flaw->seed + 20, 0.6f * scale * along, 0.6f * scale * across);
    float wobble = noise_fractal(flaw->seed, scale * along + 0.37f + bend,
                                 scale * across + 0.71f - bend, scale * picture->pixel, 5);
    return sqrtf(square(along / flaw->stretch) + across * across) -
           flaw->size * (1 + flaw->ragged * wobble);
}

static float share_inside(const drawn_picture *picture, float distance)
{
    return clamp(0.5f - distance / picture->pixel, 0, 1);
}

/* From a place into a direction, with a bend that changes; every step turns by up to `wobble`. */
static flaw_path *add_path(surface_flaw *flaw, chance *stream, float x, float y, float turns,
                           float length, float wobble, float bend)
{
    flaw_path *path = &flaw->paths[flaw->path_count++];
    const float step = length / (MOST_KNOTS - 1);
    float veer = chance_between(stream, -bend, bend), later = chance_between(stream, -bend, bend);
    path->count = MOST_KNOTS;
    for (unsigned i = 0; i < MOST_KNOTS; i++) {
        path->x[i] = x;
        path->y[i] = y;
        float now = turns + chance_between(stream, -wobble, wobble);
        x += step * cosine(now);
        y += step * sine(now);
        turns += mix(veer, later, (float)i / MOST_KNOTS) / MOST_KNOTS;
        float far =
            fabsf(x - flaw->x) > fabsf(y - flaw->y) ? fabsf(x - flaw->x) : fabsf(y - flaw->y);
        flaw->reach = far + 0.15f > flaw->reach ? far + 0.15f : flaw->reach;
    }
    return path;
}

/* `share` tells how far along the nearest place is, 0 to 1. */
static float distance_to_path(const flaw_path *path, float x, float y, float *share)
{
    float nearest = 10;
    for (unsigned i = 0; i + 1 < path->count; i++) {
        float distance =
            distance_to_segment(x, y, path->x[i], path->y[i], path->x[i + 1], path->y[i + 1]);
        if (distance < nearest) {
            nearest = distance;
            *share = (float)i / (float)(path->count - 1);
        }
    }
    return nearest;
}

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
    surface_flaw flaw = {.width = chance_between(stream, 0.007f, 0.013f),
                         .depth = chance_between(stream, 0.005f, 0.012f),
                         .strength = chance_between(stream, 0.7f, 0.95f)};
    if (!find_inside(picture, stream, 0.12f, &flaw))
        return false;
    flaw.seed = (uint32_t)chance_bits(stream);
    flaw.colour = contrasting(colour_at(picture, flaw.x, flaw.y), stream);
    float turns = chance_between(stream, 0, 1), length = chance_between(stream, 0.4f, 0.9f);
    unsigned count = 1 + chance_below(stream, 3);
    for (unsigned i = 0; i < count; i++) {
        float from = chance_between(stream, 0.3f, 0.7f) * length;
        float aside = 0.06f * (float)i;
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
    surface_flaw flaw = {.width = chance_between(stream, 0.008f, 0.015f), .depth = 0.02f};
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
    shape_blob(&flaw, stream, (range){0.05f, 0.13f}, 1.5f, (range){0.12f, 0.3f});
    flaw.colour = contrasting(colour_at(picture, flaw.x, flaw.y), stream);
    visit(picture, &flaw, hole_at);
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
    surface_flaw flaw = {.strength = chance_between(stream, 0.7f, 0.95f)};
    if (!find_inside(picture, stream, 0.14f, &flaw))
        return false;
    shape_blob(&flaw, stream, (range){0.1f, 0.2f}, 1.6f, (range){0.3f, 0.5f});
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
    surface_flaw flaw = {.strength = chance_between(stream, 0.4f, 0.75f)};
    if (!find_inside(picture, stream, 0.14f, &flaw))
        return false;
    shape_blob(&flaw, stream, (range){0.1f, 0.19f}, 1.8f, (range){0.1f, 0.35f});
    flaw.colour = dyes[chance_below(stream, sizeof dyes / sizeof *dyes)];
    visit(picture, &flaw, recolour_at);
    return true;
}

/* Raised things that lie on the surface: along paths, or a blob. */
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
    rgb_colour around = colour_at(picture, flaw->x, flaw->y), found;
    float apart = 0;
    for (int i = 0; i < 8 && apart < 0.25f; i++) {
        found = colour_varied(things[chance_below(stream, 8)], stream, 0.2f);
        apart = fabsf(found.red - around.red) + fabsf(found.green - around.green) +
                fabsf(found.blue - around.blue);
    }
    return found;
}

static bool make_contamination(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.width = chance_between(stream, 0.008f, 0.014f),
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
        shape_blob(&flaw, stream, (range){0.035f * less, 0.085f * less}, 1.6f,
                   (range){0.25f, 0.25f});
        visit(picture, &flaw, particle_at);
    }
    return true;
}

static bool make_thread(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.width = chance_between(stream, 0.014f, 0.022f), .depth = 0.03f};
    if (!find_inside(picture, stream, 0.12f, &flaw))
        return false;
    flaw.colour = contrasting(colour_at(picture, flaw.x, flaw.y), stream);
    lay_fibre(picture, stream, &flaw, chance_between(stream, 0.5f, 1), 0.9f);
    return true;
}

/* What is gone shows the ground; along the break the part is matt and lower. */
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
    shape_blob(&flaw, stream, (range){0.1f, 0.19f}, 1.5f, (range){0.2f, 0.35f});
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
    shape_blob(&flaw, stream, (range){0.09f, 0.18f}, 1.6f, (range){0, 0});
    flaw.depth = flaw.size * chance_between(stream, 0.35f, 0.6f);
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
    surface_flaw flaw = {.width = chance_between(stream, 0.014f, 0.03f),
                         .depth = chance_between(stream, 0.02f, 0.03f)};
    if (!find_inside(picture, stream, 0.18f, &flaw))
        return false;
    rgb_colour pale = {NULL, 0.7f, 0.65f, 0.55f};
    flaw.colour = colour_mix(colour_at(picture, flaw.x, flaw.y), pale, 0.5f);
    float turns = chance_between(stream, 0, 1), length = chance_between(stream, 0.35f, 0.75f);
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

static void erase_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    float share = share_inside(picture, distance_to_blob(picture, flaw, x, y));
    mark(picture, i, share * picture->print[i]);
    picture->print[i] *= 1 - flaw->strength * share;
}

static void blot_at(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x, float y)
{
    float share = share_inside(picture, distance_to_blob(picture, flaw, x, y));
    float more = share * (1 - picture->print[i]);
    mark(picture, i, more);
    picture->print[i] += 0.95f * more;
}

/* Printed twice, the second time beside the first; in place, so from the far end. */
static void double_print(drawn_picture *picture, int right, int down)
{
    const int side = (int)picture->side;
    for (int row = side - 1; row >= down; row--)
        for (int column = side - 1; column >= right; column--) {
            size_t i = (size_t)row * picture->side + (size_t)column;
            float again = 0.85f * picture->print[i - (size_t)down * picture->side - (size_t)right];
            if (again <= picture->print[i])
                continue;
            mark(picture, i, again - picture->print[i]);
            picture->print[i] = again;
        }
}

static bool find_print(drawn_picture *picture, chance *stream, surface_flaw *flaw)
{
    for (int i = 0; i < 2000; i++) {
        unsigned place = chance_below(stream, (unsigned)picture->count);
        if (picture->print[place] < 0.5f || (picture->has_part && picture->cover[place] < 0.5f))
            continue;
        flaw->x = place_of(picture, place % picture->side);
        flaw->y = place_of(picture, place / picture->side);
        return true;
    }
    return false;
}

static bool make_misprint(drawn_picture *picture, chance *stream)
{
    surface_flaw flaw = {.strength = chance_between(stream, 0.9f, 1)};
    if (!find_print(picture, stream, &flaw))
        return false;
    unsigned kind = chance_below(stream, 3);
    if (kind == 0) {
        float shift = chance_between(stream, 0.035f, 0.06f) / picture->pixel;
        double_print(picture, (int)(shift + 0.5f), (int)(0.6f * shift + 0.5f));
        return true;
    }
    shape_blob(&flaw, stream, kind == 1 ? (range){0.12f, 0.2f} : (range){0.05f, 0.1f}, 1.7f,
               (range){0.3f, 0.3f});
    visit(picture, &flaw, kind == 1 ? erase_at : blot_at);
    return true;
}

/* A plane at a place between its pixels. */
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

static const struct {
    const char *name;
    bool (*make)(drawn_picture *picture, chance *stream);
} kinds[] = {
    {"scratch", make_scratch},    {"crack", make_crack},
    {"hole", make_hole},          {"stain", make_stain},
    {"color", make_colour_fault}, {"contamination", make_contamination},
    {"thread", make_thread},      {"broken", make_broken},
    {"dent", make_dent},          {"cut", make_cut},
    {"fold", make_fold},          {"bent", make_bent},
    {"misprint", make_misprint},
};

bool damage_make(drawn_picture *picture, const char *kind, chance *stream)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, kind) == 0)
            return kinds[i].make(picture, stream);
    return false;
}
