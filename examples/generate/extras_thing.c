/* Small things on a surface or beside a part: yarn, drops of water, other parts drawn small. */
#include "extras.h"

#include <stddef.h>

#include "noise.h"
#include "numbers.h"
#include "recipes.h"

static void yarn_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x, float y)
{
    surface_layer *layer = picture_subject(picture);
    float along = 0, distance = distance_to_path(&shape->paths[0], x, y, &along);
    float share = share_inside(picture, distance - shape->width);
    float round = 1 - square(distance / (shape->width + picture->pixel));
    float twist = sine(30 * along + 8 * distance);
    tint(layer, i, colour_scaled(shape->colour, 0.8f + 0.25f * round + 0.12f * twist), share);
    fade_polish(layer, i, 0.9f * share);
    layer->height[i] += share * 0.03f * (0.4f + 0.6f * round);
    picture->print[i] *= 1 - share;
}

static bool add_yarn(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    float length = chance_between(work->stream, 0.6f, 1.2f);
    float turns = chance_between(work->stream, 0, 1);
    shape->width = chance_between(work->stream, 0.018f, 0.03f);
    if (!find_free(work, 0.2f, 0.3f) || !find_colour(work))
        return false;
    add_path(shape, work->stream, shape->x - 0.35f * length * cosine(turns),
             shape->y - 0.35f * length * sine(turns), turns, length, 0.02f, 0.9f);
    thing_words words = {NULL, shape->colour.name, "yarn", NO_NUMBER};
    visit(work->picture, shape, yarn_at);
    append(work->extra->words, "a piece of");
    append_thing(work->extra->words, &words, work->stream);
    append(work->extra->words, chance_happens(work->stream, 0.6f) ? "lying on it" : "");
    return true;
}

/* Smooth whatever it wets; `strength` is the height of the surface there. */
static void drop_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x, float y)
{
    surface_layer *layer = picture_subject(picture);
    float distance = distance_to_blob(picture, shape, x, y);
    float share = share_inside(picture, distance);
    float round = 1 - square(clamp(1 + distance / shape->size, 0, 1));
    layer->height[i] = mix(layer->height[i], shape->strength, 0.7f * share) +
                       share * 0.55f * shape->size * sqrtf(round);
    layer->gloss[i] = mix(layer->gloss[i], 0.95f, share);
    dim(layer, i, 1 - 0.3f * share, 1 - 0.28f * share, 1 - 0.25f * share);
}

static void lay_drop(extra_work *work, range size)
{
    surface_flaw *shape = &work->shape;
    size_t column =
        (size_t)clamp((shape->x + 1) / work->picture->pixel, 0, (float)work->picture->side - 1);
    size_t row =
        (size_t)clamp((shape->y + 1) / work->picture->pixel, 0, (float)work->picture->side - 1);
    size_t i = row * work->picture->side + column;
    shape->strength = picture_subject(work->picture)->height[i];
    shape_blob(shape, work->stream, size, 1.25f, (range){0.05f, 0.12f});
    visit(work->picture, shape, drop_at);
}

static bool add_water(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    unsigned count = 4 + chance_below(work->stream, 7);
    if (!find_free(work, 0.16f, 0.35f))
        return false;
    if (chance_happens(work->stream, 0.3f)) {
        lay_drop(work, (range){0.1f, 0.14f});
        append(work->extra->words, "a drop of water");
        append_place(work->extra->words, shape->x, shape->y, work->stream);
        return true;
    }
    for (unsigned i = 0; i < count; i++)
        if (find_place(work->picture, work->stream, -10, -0.06f, shape))
            lay_drop(work, (range){0.045f, 0.11f});
    append(work->extra->words, count > 6 && chance_happens(work->stream, 0.6f) ? "many" : "");
    append(work->extra->words, "drops of water");
    return true;
}

/* Another part, drawn small into the layer it lies on. */
typedef struct small_part {
    const class_recipe *recipe;
    recipe_look look;
    surface_layer *layer;
    float x, y, cosine, sine, scale, floor; /* floor: height of what it lies on */
} small_part;

static void lay_small_part(drawn_picture *picture, const small_part *part, size_t i, float x,
                           float y)
{
    surface_point point = {.distance = 1};
    float right = (x - part->x) / part->scale, down = (y - part->y) / part->scale;
    part->recipe->at(&part->look, part->cosine * right + part->sine * down,
                     part->cosine * down - part->sine * right, &point);
    float distance = point.distance * part->scale, share = share_inside(picture, distance);
    float shadow = 0.45f * ramp(0.3f * part->scale, 0, distance) * (1 - share);
    float height = part->floor + part->scale * (point.height + 0.3f);
    surface_layer *layer = part->layer;
    dim(layer, i, 1 - shadow, 1 - shadow, 1 - shadow);
    tint(layer, i, colour_mix(point.colour, part->look.accent, clamp(point.print, 0, 1)), share);
    layer->height[i] = mix(layer->height[i], height, share);
    layer->gloss[i] = mix(layer->gloss[i], clamp(point.gloss, 0, 1), share);
    layer->metal[i] = mix(layer->metal[i], clamp(point.metal, 0, 1), share);
    if (!picture->has_part)
        picture->print[i] *= 1 - share;
}

static void paint_small_part(drawn_picture *picture, small_part *part, float reach)
{
    for (unsigned row = 0; row < picture->side; row++)
        for (unsigned column = 0; column < picture->side; column++) {
            float x = place_of(picture, column), y = place_of(picture, row);
            if (square(x - part->x) + square(y - part->y) < square(reach))
                lay_small_part(picture, part, (size_t)row * picture->side + column, x, y);
        }
}

static void name_small_part(char text[TEXT_SIZE], const picture_words *words, float reach,
                            chance *stream)
{
    char colour[TEXT_SIZE] = "", noun[TEXT_SIZE] = "";
    append(colour, words->colour);
    if (words->second_colour) {
        append(colour, "and");
        append(colour, words->second_colour);
    }
    append(noun, chance_happens(stream, 0.25f) ? words->material : "");
    append(noun, words->noun);
    thing_words thing = {reach < 0.25f ? "small" : NULL, colour, noun, 1};
    append_thing(text, &thing, stream);
}

/* Whether no place nearby is on the inspected part. */
static bool is_beside(const drawn_picture *picture, float x, float y, float reach)
{
    for (unsigned row = 0; row < picture->side; row++)
        for (unsigned column = 0; column < picture->side; column++)
            if (picture->cover[(size_t)row * picture->side + column] > 0 &&
                square(place_of(picture, column) - x) + square(place_of(picture, row) - y) <
                    square(reach))
                return false;
    return true;
}

static bool find_room(extra_work *work, float reach)
{
    surface_flaw *shape = &work->shape;
    if (!work->picture->has_part)
        return find_free(work, 0, reach);
    const float room = 0.98f - reach;
    for (int i = 0; i < 60; i++) {
        shape->x = chance_between(work->stream, -room, room);
        shape->y = chance_between(work->stream, -room, room);
        if (is_beside(work->picture, shape->x, shape->y, reach) && take_place(work, reach))
            return true;
    }
    return false;
}

static bool add_part(extra_work *work)
{
    static const char *const names[] = {"button", "metal_nut", "washer", "coin", "gear",
                                        "cap",    "capsule",   "pill",   "screw"};
    surface_flaw *shape = &work->shape;
    float reach = chance_between(work->stream, 0.14f, 0.34f);
    if (!find_room(work, reach))
        return false;
    turn(work);
    small_part part = {.recipe = recipe_named(names[chance_below(work->stream, 9)]),
                       .x = shape->x,
                       .y = shape->y,
                       .cosine = shape->cosine,
                       .sine = shape->sine,
                       .layer = &work->picture->ground};
    picture_words words = {0};
    part.scale = reach / (1.12f * part.recipe->size + 0.05f);
    part.look.seed = (uint32_t)chance_bits(work->stream);
    part.look.finest = work->picture->pixel / part.scale;
    part.recipe->draw(&part.look, work->stream, &words);
    paint_small_part(work->picture, &part, reach);
    work->extra->is_beside = work->picture->has_part;
    name_small_part(work->extra->words, &words, reach, work->stream);
    bool placed = work->extra->is_beside || chance_happens(work->stream, 0.5f);
    if (placed)
        append_place(work->extra->words, shape->x, shape->y, work->stream);
    else
        append(work->extra->words, chance_happens(work->stream, 0.7f) ? "on it" : "lying on it");
    return true;
}

const extra_kind thing_extras[] = {
    {add_yarn, true, true}, {add_water, true, true}, {add_part, true, true},
    {add_part, true, true}, {add_part, false, true}, {0},
};
