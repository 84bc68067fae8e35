/* Damage of the print: erased, blotted, printed twice. */
#include "flaw.h"

#include "numbers.h"

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

/* Printed twice, the second time offset; done in place, so from the far end. */
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

const damage_kind print_damages[] = {
    {"misprint", make_misprint},
    {0},
};
