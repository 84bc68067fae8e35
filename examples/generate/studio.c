#include "studio.h"

#include <stdlib.h>
#include <string.h>

#include "camera.h"
#include "damage.h"
#include "light.h"

bool studio_open(photo_studio *studio, unsigned side)
{
    const size_t count = (size_t)side * side;
    *studio = (struct photo_studio){.side = side};
    studio->light = malloc(3 * count * sizeof *studio->light);
    studio->scratch = malloc(3 * count * sizeof *studio->scratch);
    studio->pixels = malloc(3 * count);
    studio->undamaged = malloc(3 * count);
    studio->mask = malloc(count);
    bool opened = picture_create(&studio->whole, side) && picture_create(&studio->damaged, side);
    return opened && studio->light && studio->scratch && studio->pixels && studio->undamaged &&
           studio->mask;
}

void studio_close(photo_studio *studio)
{
    picture_free(&studio->whole);
    picture_free(&studio->damaged);
    free(studio->light);
    free(studio->scratch);
    free(studio->pixels);
    free(studio->undamaged);
    free(studio->mask);
    *studio = (struct photo_studio){0};
}

static void photograph(photo_studio *studio, uint8_t *pixels, const drawn_picture *picture,
                       const light_setting *lighting, const camera_setting *camera)
{
    light_shade(studio->light, studio->scratch, picture, lighting);
    camera_expose(pixels, studio->light, studio->scratch, studio->side, camera);
}

/* Distance of two colours: the largest difference of a channel. */
static int apart(const uint8_t *a, const uint8_t *b)
{
    int most = 0;
    for (int c = 0; c < 3; c++) {
        int difference = abs(a[c] - b[c]);
        most = difference > most ? difference : most;
    }
    return most;
}

/*
 * Whether a person would find the defect: neither a few pixels, nor nearly the same colours, nor
 * half of the picture. Small ones need more contrast.
 */
static bool is_visible(const photo_studio *studio)
{
    const double smallest = 0.003, largest = 0.08, small = 0.01, faint = 26, clear = 40;
    double area = 0, difference = 0;
    for (size_t i = 0; i < studio->whole.count; i++)
        if (studio->mask[i]) {
            area++;
            difference += apart(studio->pixels + 3 * i, studio->undamaged + 3 * i);
        }
    double share = area / (double)studio->whole.count;
    return share >= smallest && share <= largest &&
           difference >= (share < small ? clear : faint) * area;
}

static bool damage(photo_studio *studio, const char *defect, chance *stream,
                   const light_setting *lighting, const camera_setting *camera)
{
    const float threshold = 0.3f;
    picture_copy(&studio->damaged, &studio->whole);
    if (!damage_make(&studio->damaged, defect, stream))
        return false;
    for (size_t i = 0; i < studio->whole.count; i++)
        studio->mask[i] = studio->damaged.damage[i] > threshold ? 255 : 0;
    photograph(studio, studio->pixels, &studio->damaged, lighting, camera);
    return is_visible(studio);
}

bool studio_photograph(photo_studio *studio, const class_recipe *recipe, const char *defect,
                       uint64_t seed, const char *series, unsigned number)
{
    enum { INDIVIDUALS = 1000, TRIALS = 6 };
    chance stream = chance_of(seed, series, number);
    for (int individual = 0; individual < INDIVIDUALS; individual++) {
        recipe_paint(&studio->whole, recipe, &stream);
        if (studio->extras_stream)
            extras_add(&studio->whole, studio->extras_stream, &studio->extras);
        light_setting lighting = light_draw(&stream);
        camera_setting camera = camera_draw(&stream);
        studio->words = studio->whole.words;
        studio->words.light = camera.light;
        photograph(studio, defect ? studio->undamaged : studio->pixels, &studio->whole, &lighting,
                   &camera);
        if (!defect)
            return true;
        for (int trial = 0; trial < TRIALS; trial++)
            if (damage(studio, defect, &stream, &lighting, &camera))
                return true;
    }
    return false;
}
