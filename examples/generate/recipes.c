#include "recipes.h"

#include <string.h>

#include "numbers.h"

const class_recipe *recipe_of(unsigned index)
{
    static const class_recipe *const tables[] = {texture_recipes, round_recipes, long_recipes,
                                                 row_recipes};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const class_recipe *entry = tables[i]; entry->name; entry++)
            if (index-- == 0)
                return entry;
    return NULL;
}

const class_recipe *recipe_named(const char *name)
{
    const class_recipe *entry;
    for (unsigned i = 0; (entry = recipe_of(i)) && strcmp(entry->name, name) != 0; i++)
        continue;
    return entry;
}

/* Placement of a thing: rotated, moved, scaled. */
typedef struct part_pose {
    float cosine, sine, x, y, scale;
} part_pose;

static part_pose draw_pose(const class_recipe *recipe, chance *stream)
{
    float turns = chance_between(stream, -0.5f, 0.5f) * (recipe->any_turn ? 1 : 0.02f);
    float room = recipe->is_part ? clamp(0.93f - recipe->size, 0, 0.1f) : 0;
    part_pose drawn = {.cosine = cosine(turns), .sine = sine(turns)};
    drawn.x = chance_between(stream, -room, room);
    drawn.y = chance_between(stream, -room, room);
    drawn.scale = chance_between(stream, 0.9f, 1.08f);
    return drawn;
}

static void paint_layer(drawn_picture *picture, const class_recipe *recipe, const recipe_look *look,
                        part_pose pose)
{
    const bool is_part = recipe->is_part;
    surface_layer *layer = is_part ? &picture->part : &picture->ground;
    const float reach = square(1.12f * recipe->size + 0.05f);
    for (unsigned row = 0; row < picture->side; row++)
        for (unsigned column = 0; column < picture->side; column++) {
            size_t i = (size_t)row * picture->side + column;
            float right = (place_of(picture, column) - pose.x) / pose.scale;
            float down = (place_of(picture, row) - pose.y) / pose.scale;
            float x = pose.cosine * right + pose.sine * down;
            float y = pose.cosine * down - pose.sine * right;
            surface_point point = {.distance = is_part ? 1 : -1};
            if (!is_part || x * x + y * y < reach)
                recipe->at(look, x, y, &point);
            point.height *= pose.scale;
            layer_set(layer, i, &point);
            picture->distance[i] = point.distance * pose.scale;
            picture->print[i] = clamp(point.print, 0, 1);
            if (is_part)
                picture->cover[i] = clamp(0.5f - picture->distance[i] / picture->pixel, 0, 1);
        }
}

static void paint(drawn_picture *picture, const class_recipe *recipe, chance *stream,
                  picture_words *words)
{
    recipe_look look = {.seed = (uint32_t)chance_bits(stream)};
    recipe->draw(&look, stream, words);
    part_pose pose = draw_pose(recipe, stream);
    look.finest = picture->pixel / pose.scale;
    picture->ink = look.accent;
    paint_layer(picture, recipe, &look, pose);
}

void recipe_paint(drawn_picture *picture, const class_recipe *recipe, chance *stream)
{
    memset(picture->planes, 0, PICTURE_PLANES * picture->count * sizeof *picture->planes);
    picture->words = (picture_words){0};
    picture->has_part = recipe->is_part;
    if (recipe->is_part) {
        unsigned count = 0;
        while (ground_recipes[count].name)
            count++;
        picture_words ground = {0};
        paint(picture, &ground_recipes[chance_below(stream, count)], stream, &ground);
        picture->words.ground = ground.noun;
        picture->words.ground_colour = ground.colour;
    }
    paint(picture, recipe, stream, &picture->words);
}

float inside(const recipe_look *look, float distance)
{
    return clamp(0.5f - distance / look->finest, 0, 1);
}

void lay(surface_point *point, rgb_colour colour, float share)
{
    point->colour = colour_mix(point->colour, colour, share);
}

rgb_colour pick_colour(const rgb_colour *colours, unsigned count, chance *stream, float variation)
{
    return colour_varied(colours[chance_below(stream, count)], stream, variation);
}

float distance_to_segment(float x, float y, float ax, float ay, float bx, float by)
{
    float along_x = bx - ax, along_y = by - ay;
    float length = along_x * along_x + along_y * along_y + 1e-12f;
    float share = clamp(((x - ax) * along_x + (y - ay) * along_y) / length, 0, 1);
    return sqrtf(square(x - ax - share * along_x) + square(y - ay - share * along_y));
}

float distance_to_box(float x, float y, float half_width, float half_height, float corner)
{
    float right = fabsf(x) - half_width + corner, down = fabsf(y) - half_height + corner;
    float out_x = right > 0 ? right : 0, out_y = down > 0 ? down : 0;
    float within = right > down ? right : down;
    return sqrtf(out_x * out_x + out_y * out_y) + (within < 0 ? within : 0) - corner;
}

/* The strokes of a sign, of seven: top, right above, right below, bottom, left below, left above,
 * middle. */
static unsigned strokes_of(char sign)
{
    static const char signs[] = "0123456789ACEFHLPUJOTIS";
    static const unsigned char strokes[] = {0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07,
                                            0x7f, 0x6f, 0x77, 0x39, 0x79, 0x71, 0x76, 0x38,
                                            0x73, 0x3e, 0x1e, 0x3f, 0x31, 0x06, 0x6d};
    const char *found = sign ? strchr(signs, sign) : NULL;
    return found ? strokes[found - signs] : 0;
}

float distance_to_text(const char *text, float x, float y)
{
    static const float ends[7][4] = {{-1, -2, 1, -2}, {1, -2, 1, 0},   {1, 0, 1, 2}, {-1, 2, 1, 2},
                                     {-1, 0, -1, 2},  {-1, -2, -1, 0}, {-1, 0, 1, 0}};
    const float width = 0.78f, quarter = 0.25f;
    int length = (int)strlen(text);
    float along = x / width + 0.5f * (float)length;
    int index = (int)clamp((float)floor_of(along), 0, (float)(length - 1));
    float from_centre = (along - (float)index - 0.5f) * width, nearest = 10;
    for (unsigned strokes = strokes_of(text[index]), i = 0; strokes >> i; i++)
        if (strokes >> i & 1) {
            const float *end = ends[i];
            float distance = distance_to_segment(from_centre, y, quarter * end[0], quarter * end[1],
                                                 quarter * end[2], quarter * end[3]);
            nearest = distance < nearest ? distance : nearest;
        }
    return nearest;
}
