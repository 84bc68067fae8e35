#include "flaw.h"

#include "noise.h"
#include "numbers.h"
#include "recipes.h"

bool find_place(drawn_picture *picture, chance *stream, float deepest, float shallowest,
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

bool find_inside(drawn_picture *picture, chance *stream, float margin, surface_flaw *flaw)
{
    for (; margin > 0.002f; margin *= 0.6f)
        if (find_place(picture, stream, -10, -margin, flaw))
            return true;
    return false;
}

void shape_blob(surface_flaw *flaw, chance *stream, range size, float stretch, range ragged)
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

/* The wobble is rotated and warped, so that no lattice shows. */
float distance_to_blob(const drawn_picture *picture, const surface_flaw *flaw, float x, float y)
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

flaw_path *add_path(surface_flaw *flaw, chance *stream, float x, float y, float turns, float length,
                    float wobble, float bend)
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

float distance_to_path(const flaw_path *path, float x, float y, float *share)
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

float share_inside(const drawn_picture *picture, float distance)
{
    return clamp(0.5f - distance / picture->pixel, 0, 1);
}

void visit(drawn_picture *picture, const surface_flaw *flaw, flaw_at at)
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

float mark(drawn_picture *picture, size_t i, float share)
{
    float there = picture->has_part ? picture->cover[i] : 1;
    if (share * there > picture->damage[i])
        picture->damage[i] = share * there;
    return share;
}

void tint(surface_layer *layer, size_t i, rgb_colour colour, float share)
{
    layer->red[i] = mix(layer->red[i], colour.red, share);
    layer->green[i] = mix(layer->green[i], colour.green, share);
    layer->blue[i] = mix(layer->blue[i], colour.blue, share);
}

void dim(surface_layer *layer, size_t i, float red, float green, float blue)
{
    layer->red[i] *= red;
    layer->green[i] *= green;
    layer->blue[i] *= blue;
}

void fade_polish(surface_layer *layer, size_t i, float share)
{
    layer->metal[i] *= 1 - share;
    layer->gloss[i] *= 1 - share;
}

rgb_colour colour_at(drawn_picture *picture, float x, float y)
{
    const float last = (float)picture->side - 1;
    size_t column = (size_t)clamp((x + 1) / picture->pixel, 0, last);
    size_t row = (size_t)clamp((y + 1) / picture->pixel, 0, last);
    size_t i = row * picture->side + column;
    const surface_layer *layer = picture_subject(picture);
    return (rgb_colour){NULL, layer->red[i], layer->green[i], layer->blue[i]};
}

rgb_colour contrasting(rgb_colour around, chance *stream)
{
    static const rgb_colour pale = {NULL, 0.75f, 0.73f, 0.68f};
    float light = 0.3f * around.red + 0.6f * around.green + 0.1f * around.blue;
    bool lighter = light < 0.12f || (light < 0.35f && chance_happens(stream, 0.5f));
    if (lighter)
        return colour_mix(around, pale, chance_between(stream, 0.45f, 0.75f));
    return colour_scaled(around, chance_between(stream, 0.2f, 0.4f));
}
