/* What people put on a surface: prints, stickers, handwriting. */
#include "extras.h"

#include "numbers.h"
#include "recipes.h"

static void ink(drawn_picture *picture, const surface_flaw *shape, size_t i, float share)
{
    surface_layer *layer = picture_subject(picture);
    tint(layer, i, shape->colour, 0.95f * share);
    fade_polish(layer, i, 0.7f * share);
    picture->print[i] *= 1 - share;
}

/* Distances to figures of size 1. */
static float to_cross(float x, float y)
{
    return fminf(distance_to_box(x, y, 1, 0.3f, 0), distance_to_box(x, y, 0.3f, 1, 0));
}

static float to_ring(float x, float y)
{
    return fabsf(sqrtf(x * x + y * y) - 0.8f) - 0.2f;
}

static float to_square(float x, float y)
{
    return distance_to_box(x, y, 0.85f, 0.85f, 0);
}

static float to_triangle(float x, float y)
{
    return fmaxf(y - 0.6f, 0.866f * fabsf(x) - 0.5f * y - 0.5f);
}

static float to_arrow(float x, float y)
{
    float head = fmaxf(-x, 0.707f * (fabsf(y) + x) - 0.6f);
    return fminf(head, distance_to_box(x + 0.45f, y, 0.55f, 0.25f, 0));
}

static float to_dot(float x, float y)
{
    return sqrtf(x * x + y * y) - 0.6f;
}

static const struct figure {
    const char *noun, *nouns;
    float (*distance)(float x, float y);
} figures[] = {
    {"cross", "crosses", to_cross},   {"ring", "rings", to_ring},
    {"square", "squares", to_square}, {"triangle", "triangles", to_triangle},
    {"arrow", "arrows", to_arrow},    {"dot", "dots", to_dot},
};

enum { FIGURES = sizeof figures / sizeof *figures };

/* A row of the same figure; `stretch` is their number, `strength` the distance between two. */
static void figures_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x,
                       float y)
{
    float right = x - shape->x, down = y - shape->y;
    float along = shape->cosine * right + shape->sine * down;
    float across = shape->cosine * down - shape->sine * right;
    float last = 0.5f * (shape->stretch - 1);
    float nearest = (float)floor_of(along / shape->strength + last + 0.5f);
    along -= (clamp(nearest, 0, 2 * last) - last) * shape->strength;
    float distance = figures[shape->seed].distance(along / shape->size, across / shape->size);
    ink(picture, shape, i, share_inside(picture, distance * shape->size));
}

/* Nearly upright, as people print and stick. */
static void turn_little(extra_work *work)
{
    float turns = chance_between(work->stream, -0.03f, 0.03f);
    work->shape.cosine = cosine(turns);
    work->shape.sine = sine(turns);
}

static bool place_print(extra_work *work, float margin, float reach)
{
    turn_little(work);
    work->shape.reach = reach;
    return find_free(work, margin, reach) && find_colour(work);
}

static bool add_figures(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    unsigned number = chance_happens(work->stream, 0.6f) ? 1 : 2 + chance_below(work->stream, 2);
    float largest = number > 1 ? 0.13f : 0.26f;
    shape->seed = chance_below(work->stream, FIGURES);
    shape->size = chance_between(work->stream, 0.07f, largest);
    shape->stretch = (float)number;
    shape->strength = chance_between(work->stream, 2.3f, 3) * shape->size;
    float half = shape->size + 0.5f * (float)(number - 1) * shape->strength;
    if (!place_print(work, half, 1.1f * half))
        return false;
    const struct figure *figure = &figures[shape->seed];
    const char *size = shape->size < 0.12f ? "small" : shape->size > 0.2f ? "large" : NULL;
    bool printed = number == 1 && chance_happens(work->stream, 0.4f);
    thing_words words = {size, shape->colour.name, number > 1 ? figure->nouns : figure->noun,
                         number};
    visit(work->picture, shape, figures_at);
    if (printed) {
        append(work->extra->words, "a printed");
        words.number = NO_NUMBER;
        words.size = NULL;
    }
    append_thing(work->extra->words, &words, work->stream);
    append_place(work->extra->words, shape->x, shape->y, work->stream);
    return true;
}

static const char *const texts[] = {"204", "57", "18", "3061", "LOT A", "HALL", "COLA", "SALE"};

enum { NUMBERS = 4, TEXTS = sizeof texts / sizeof *texts };

static void text_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x, float y)
{
    float right = (x - shape->x) / shape->width, down = (y - shape->y) / shape->width;
    float distance =
        distance_to_text(texts[shape->seed], shape->cosine * right + shape->sine * down,
                         shape->cosine * down - shape->sine * right);
    ink(picture, shape, i, share_inside(picture, (distance - 0.1f) * shape->width));
}

static bool add_text(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    shape->seed = chance_below(work->stream, TEXTS);
    shape->width = chance_between(work->stream, 0.11f, 0.24f); /* height of a letter */
    shape->size = 2 * shape->width;
    if (!place_print(work, 0.8f * shape->size, 1.3f * shape->size))
        return false;
    thing_words words = {NULL, shape->colour.name, shape->seed < NUMBERS ? "numbers" : "letters",
                         NO_NUMBER};
    visit(work->picture, shape, text_at);
    append(work->extra->words, chance_happens(work->stream, 0.5f) ? "printed" : "");
    append_thing(work->extra->words, &words, work->stream);
    append_place(work->extra->words, shape->x, shape->y, work->stream);
    return true;
}

/* With lines of grey print; `strength` marks round ones, `depth` is the thickness. */
static void sticker_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x,
                       float y)
{
    static const rgb_colour grey = {NULL, 0.08f, 0.08f, 0.09f};
    surface_layer *layer = picture_subject(picture);
    float right = x - shape->x, down = y - shape->y;
    float along = shape->cosine * right + shape->sine * down;
    float across = shape->cosine * down - shape->sine * right;
    float half_height = shape->size / shape->stretch;
    float distance = shape->strength > 0
                         ? sqrtf(right * right + down * down) - shape->size
                         : distance_to_box(along, across, shape->size, half_height, 0.02f);
    float share = share_inside(picture, distance);
    float from_line = fabsf(offset_from_whole(across / (0.5f * half_height))) * 0.5f * half_height;
    float line = fmaxf(from_line - 0.06f * half_height, fabsf(along) - 0.65f * shape->size);
    line = fmaxf(line, fabsf(across) - 0.6f * half_height);
    ink(picture, shape, i, share);
    tint(layer, i, grey, 0.7f * (float)(shape->seed & 1) * share_inside(picture, line));
    layer->height[i] += shape->depth * share;
}

static bool add_sticker(extra_work *work)
{
    surface_flaw *shape = &work->shape;
    shape->size = chance_between(work->stream, 0.09f, 0.3f);
    shape->stretch = chance_between(work->stream, 1, 1.8f);
    shape->strength = chance_happens(work->stream, 0.35f);
    shape->seed = chance_below(work->stream, 2);
    shape->depth = 0.008f;
    if (!place_print(work, 0.9f * shape->size, 1.3f * shape->size))
        return false;
    const char *size = shape->size < 0.14f ? "small" : shape->size > 0.22f ? "large" : NULL;
    bool is_round = shape->strength > 0 && chance_happens(work->stream, 0.6f);
    thing_words words = {is_round ? "round" : size, shape->colour.name, "sticker", 1};
    visit(work->picture, shape, sticker_at);
    append_thing(work->extra->words, &words, work->stream);
    append_place(work->extra->words, shape->x, shape->y, work->stream);
    return true;
}

static void pen_at(drawn_picture *picture, const surface_flaw *shape, size_t i, float x, float y)
{
    for (unsigned p = 0; p < shape->path_count; p++) {
        float along = 0, distance = distance_to_path(&shape->paths[p], x, y, &along);
        ink(picture, shape, i, share_inside(picture, distance - shape->width));
    }
}

/* A word: loops of changing height, leaning as handwriting does. */
static void write_word(extra_work *work, float left, float length)
{
    surface_flaw *shape = &work->shape;
    flaw_path *path = &shape->paths[shape->path_count++];
    const float loops = 4, height = 0.5f * shape->size;
    float tall = 1;
    path->count = MOST_KNOTS;
    for (unsigned i = 0; i < MOST_KNOTS; i++) {
        float share = (float)i / (MOST_KNOTS - 1);
        if (i % (MOST_KNOTS / 4) == 0)
            tall = chance_between(work->stream, 0.4f, 1.1f);
        float down = -tall * height * cosine(loops * share);
        float right = left + length * share + 0.4f * height * sine(loops * share) - 0.4f * down;
        path->x[i] = shape->x + shape->cosine * right - shape->sine * down;
        path->y[i] = shape->y + shape->sine * right + shape->cosine * down;
    }
}

static bool add_handwriting(extra_work *work)
{
    static const char *const nouns[] = {"handwriting", "pen writing", "scribbles"};
    surface_flaw *shape = &work->shape;
    unsigned count = 1 + chance_below(work->stream, 2);
    shape->size = chance_between(work->stream, 0.14f, 0.26f);
    shape->width = chance_between(work->stream, 0.009f, 0.016f);
    if (!place_print(work, 1.1f * shape->size, 3 * shape->size))
        return false;
    const float length = 2 * shape->size, start = -0.5f * length * (float)count;
    for (unsigned i = 0; i < count; i++)
        write_word(work, start + 1.1f * length * (float)i, length);
    thing_words words = {NULL, shape->colour.name, nouns[chance_below(work->stream, 3)], NO_NUMBER};
    visit(work->picture, shape, pen_at);
    append_thing(work->extra->words, &words, work->stream);
    append_place(work->extra->words, shape->x, shape->y, work->stream);
    return true;
}

const extra_kind print_extras[] = {
    {add_figures, true, true}, {add_figures, false, true},    {add_text, true, true},
    {add_sticker, true, true}, {add_handwriting, true, true}, {0},
};
