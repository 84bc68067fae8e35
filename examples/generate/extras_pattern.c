/* Patterns that a surface has by design: lines, stripes, dots, checks, round openings. */
#include "extras.h"

#include "numbers.h"

static void ink(drawn_picture *picture, const surface_flaw *shape, size_t i, float share)
{
    surface_layer *layer = picture_subject(picture);
    tint(layer, i, shape->colour, 0.92f * share);
    fade_polish(layer, i, 0.7f * share);
}

static float along(const surface_flaw *shape, float x, float y)
{
    return shape->cosine * (x - shape->x) + shape->sine * (y - shape->y);
}

static float across(const surface_flaw *shape, float x, float y)
{
    return shape->cosine * (y - shape->y) - shape->sine * (x - shape->x);
}

/* From the middle of the nearest line of a row of lines. */
static float to_line(const surface_flaw *shape, float place)
{
    return fabsf(offset_from_whole(place / shape->size)) * shape->size;
}

static void line_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x, float y)
{
    float place = across(shape, x, y), last = shape->stretch * shape->size;
    float from_last = clamp(fabsf(place) - last, 0, 4);
    float distance = to_line(shape, place) > from_last ? to_line(shape, place) : from_last;
    ink(picture, shape, i, share_inside(picture, distance - shape->width));
}

/* A cell's middle is at whole places. */
static void dot_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x, float y)
{
    float row = across(shape, x, y) / shape->size;
    float column = along(shape, x, y) / shape->size + 0.5f * (float)(floor_of(row + 0.5f) & 1);
    float right = offset_from_whole(column), down = offset_from_whole(row);
    float distance = sqrtf(right * right + down * down) * shape->size - shape->width;
    ink(picture, shape, i, share_inside(picture, distance));
}

static void check_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x, float y)
{
    float rows = share_inside(picture, to_line(shape, across(shape, x, y)) - shape->width);
    float columns = share_inside(picture, to_line(shape, along(shape, x, y)) - shape->width);
    ink(picture, shape, i, 0.55f * rows + 0.55f * columns - 0.15f * rows * columns);
}

/* A round opening with a rim; through a part the ground shows. */
static void opening_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float distance)
{
    static const rgb_colour dark = {NULL, 0.012f, 0.012f, 0.012f};
    surface_layer *layer = picture_subject(picture);
    float share = share_inside(picture, distance);
    layer->height[i] -= shape->depth * (1 - ramp(-0.01f, 0.02f, distance));
    picture->print[i] *= 1 - share;
    if (picture->has_part) {
        picture->cover[i] *= 1 - share;
        picture->distance[i] = picture->distance[i] > -distance ? picture->distance[i] : -distance;
        return;
    }
    tint(layer, i, dark, 0.96f * share);
    fade_polish(layer, i, share);
}

static void one_opening_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x,
                           float y)
{
    opening_at(picture, shape, i, sqrtf(square(x - shape->x) + square(y - shape->y)) - shape->size);
}

static void openings_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x,
                        float y)
{
    float right = to_line(shape, along(shape, x, y)), down = to_line(shape, across(shape, x, y));
    opening_at(picture, shape, i, sqrtf(right * right + down * down) - shape->width);
}

/* All over the subject, in a colour that shows. */
static bool prepare(extra_work *work)
{
    work->shape.reach = 4;
    turn(work);
    return find_place(work->picture, work->stream, -10, -0.12f, &work->shape) && find_colour(work);
}

static bool add_lines(extra_work *work)
{
    static const char *const nouns[] = {"line", "lines", "lines"};
    surface_flaw *shape = &work->shape;
    unsigned number = 1 + chance_below(work->stream, 3);
    shape->width = chance_between(work->stream, 0.015f, 0.05f);
    shape->size = shape->width * chance_between(work->stream, 4, 7);
    /* `stretch` is how far the outer lines are from the middle: an even number straddles it. */
    shape->stretch = number == 3 ? 1 : 0;
    if (!prepare(work))
        return false;
    const char *size = shape->width < 0.028f ? "thin" : shape->width > 0.04f ? "wide" : NULL;
    thing_words words = {size, shape->colour.name, nouns[number - 1], number};
    visit(work->picture, shape, line_at);
    if (number == 2) {
        shape->x -= shape->size * shape->sine;
        shape->y += shape->size * shape->cosine;
        visit(work->picture, shape, line_at);
    }
    append_thing(work->extra->words, &words, work->stream);
    append(work->extra->words, chance_happens(work->stream, 0.6f) ? "across it" : "");
    return true;
}

static bool add_stripes(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    bool thin = chance_happens(work->stream, 0.5f);
    shape->stretch = 100;
    shape->size = thin ? chance_between(work->stream, 0.12f, 0.25f)
                       : chance_between(work->stream, 0.2f, 0.45f);
    shape->width = shape->size * (thin ? 0.1f : chance_between(work->stream, 0.2f, 0.26f));
    if (!prepare(work))
        return false;
    bool named = chance_happens(work->stream, 0.5f);
    thing_words words = {thin ? "thin" : NULL, shape->colour.name, thin ? "lines" : "stripes",
                         thin ? MANY : NO_NUMBER};
    thing_words pattern = {NULL, shape->colour.name, "striped pattern", 1};
    visit(work->picture, shape, line_at);
    append_thing(work->extra->words, named && !thin ? &pattern : &words, work->stream);
    return true;
}

static bool add_dots(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    shape->size = chance_between(work->stream, 0.16f, 0.4f);
    shape->width = shape->size * chance_between(work->stream, 0.16f, 0.28f);
    if (!prepare(work))
        return false;
    bool named = chance_happens(work->stream, 0.4f);
    const char *size = shape->width < 0.045f ? "small" : shape->width > 0.075f ? "large" : NULL;
    thing_words words = {size, shape->colour.name, "dots", MANY};
    thing_words pattern = {NULL, shape->colour.name, "dotted pattern", 1};
    visit(work->picture, shape, dot_at);
    append_thing(work->extra->words, named ? &pattern : &words, work->stream);
    return true;
}

static bool add_checks(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    shape->size = chance_between(work->stream, 0.22f, 0.5f);
    shape->width = shape->size * chance_between(work->stream, 0.18f, 0.24f);
    if (!prepare(work))
        return false;
    thing_words words = {NULL, shape->colour.name, "checked pattern", 1};
    visit(work->picture, shape, check_at);
    append_thing(work->extra->words, &words, work->stream);
    return true;
}

static bool add_opening(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    shape->size = chance_between(work->stream, 0.075f, 0.2f);
    shape->reach = shape->size + 0.03f;
    shape->depth = 0.03f;
    if (!find_free(work, shape->size + 0.07f, shape->reach))
        return false;
    const char *size = shape->size < 0.1f ? "small" : shape->size > 0.15f ? "large" : NULL;
    thing_words words = {size, NULL, "round opening", 1};
    visit(work->picture, shape, one_opening_at);
    append_thing(work->extra->words, &words, work->stream);
    append_place(work->extra->words, shape->x, shape->y, work->stream);
    return true;
}

static bool add_openings(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    shape->size = chance_between(work->stream, 0.2f, 0.42f);
    shape->width = shape->size * chance_between(work->stream, 0.18f, 0.3f);
    shape->depth = 0.03f;
    if (!prepare(work))
        return false;
    thing_words words = {shape->width < 0.06f ? "small" : NULL, NULL, "round openings", MANY};
    visit(work->picture, shape, openings_at);
    append_thing(work->extra->words, &words, work->stream);
    append(work->extra->words, chance_happens(work->stream, 0.5f) ? "in rows" : "");
    return true;
}

const extra_kind pattern_extras[] = {
    {add_lines, true, true},
    {add_stripes, true, true},
    {add_dots, true, true},
    {add_checks, false, true},
    {add_openings, false, true},
    {add_opening, true, true},
    {0},
};
