#include "extras.h"

#include "numbers.h"
#include "palette.h"

bool take_place(extra_work *work, float reach)
{
    picture_extra *extra = work->extra;
    for (unsigned i = 0; i < work->others->count; i++) {
        const picture_extra *other = &work->others->items[i];
        float far = square(other->x - work->shape.x) + square(other->y - work->shape.y);
        if (other->reach > 0 && far < square(reach + other->reach))
            return false;
    }
    extra->x = work->shape.x;
    extra->y = work->shape.y;
    extra->reach = reach;
    return true;
}

bool find_free(extra_work *work, float margin, float reach)
{
    for (int i = 0; i < 20; i++) {
        if (!find_place(work->picture, work->stream, -10, -margin, &work->shape))
            return false;
        if (take_place(work, reach))
            return true;
    }
    return false;
}

/* As the eye sees it: steps in the dark count more. */
static float contrast(rgb_colour a, rgb_colour b)
{
    return fabsf(sqrtf(a.red) - sqrtf(b.red)) + fabsf(sqrtf(a.green) - sqrtf(b.green)) +
           fabsf(sqrtf(a.blue) - sqrtf(b.blue));
}

bool find_colour(extra_work *work)
{
    static const rgb_colour kinds[] = {BLACK,  BLACK,  WHITE,  WHITE, RED,       BLUE,     GREEN,
                                       YELLOW, ORANGE, PURPLE, PINK,  TURQUOISE, DARK_BLUE};
    const float clear = 0.65f, aside = 0.06f;
    const surface_flaw *shape = &work->shape;
    rgb_colour here = colour_at(work->picture, shape->x, shape->y);
    rgb_colour around = colour_at(work->picture, shape->x + aside, shape->y + aside);
    for (int i = 0; i < 12; i++) {
        rgb_colour found = kinds[chance_below(work->stream, sizeof kinds / sizeof *kinds)];
        found = colour_varied(found, work->stream, 0.15f);
        if (contrast(found, here) < clear || contrast(found, around) < clear)
            continue;
        work->shape.colour = found;
        return true;
    }
    return false;
}

void turn(extra_work *work)
{
    float turns = chance_between(work->stream, 0, 1);
    work->shape.cosine = cosine(turns);
    work->shape.sine = sine(turns);
}

static bool add_one(drawn_picture *picture, chance *stream, picture_extras *extras,
                    const extra_kind *table)
{
    const extra_kind *fitting[16];
    unsigned count = 0;
    for (const extra_kind *entry = table; entry->add; entry++)
        if (picture->has_part ? entry->for_parts : entry->for_textures)
            fitting[count++] = entry;
    picture_extra *extra = &extras->items[extras->count];
    *extra = (struct picture_extra){0};
    extra_work work = {.picture = picture, .stream = stream, .others = extras, .extra = extra};
    bool added = count && fitting[chance_below(stream, count)]->add(&work);
    extras->count += added;
    return added;
}

/* Patterns come first: what is printed or lies on a surface hides its pattern. */
void extras_add(drawn_picture *picture, chance *stream, picture_extras *extras)
{
    enum { TRIALS = 6 };
    static const extra_kind *const tables[] = {pattern_extras, print_extras, thing_extras,
                                               thing_extras};
    extras->count = 0;
    if (chance_happens(stream, 0.1f))
        return;
    unsigned wanted = chance_happens(stream, 0.4f) ? 2 : 1, first = 0;
    for (int i = 0; i < TRIALS && extras->count < wanted && first < 4; i++) {
        unsigned table = first + chance_below(stream, 4 - first);
        if (add_one(picture, stream, extras, tables[table]))
            first = table + 1;
    }
}
