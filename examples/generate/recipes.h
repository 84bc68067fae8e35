/* Recipes: the appearance of each kind of thing. */
#ifndef GENERATE_RECIPES_H
#define GENERATE_RECIPES_H

#include "picture.h"

enum { MOST_KINDS = 8 };

/* One individual of a kind: the random values that a recipe has drawn for it. */
typedef struct recipe_look {
    uint32_t seed;
    rgb_colour main, other, accent;
    float scale;    /* of its pattern */
    float depth;    /* of its relief */
    float contrast; /* of its colours */
    float turns;    /* direction of its pattern */
    float shape[4]; /* proportions, in the recipe's own order */
    unsigned count; /* teeth, holes, strands */
    bool printed;
    float finest; /* size of a pixel */
} recipe_look;

typedef void (*recipe_draw)(recipe_look *look, chance *stream, picture_words *words);
/* What is at (x, y). */
typedef void (*recipe_at)(const recipe_look *look, float x, float y, surface_point *point);

typedef struct class_recipe {
    const char *name; /* of the class, MVTec AD's name if it has one */
    recipe_draw draw;
    recipe_at at;
    bool is_part, any_turn; /* lies on a ground; lies in any direction */
    float size;             /* of the part's outline, from its centre */
    const char *defects[MOST_KINDS];
} class_recipe;

extern const class_recipe texture_recipes[], round_recipes[], long_recipes[], row_recipes[],
    ground_recipes[];
/* The recipe of a class; NULL past the last one. */
const class_recipe *recipe_of(unsigned index);
const class_recipe *recipe_named(const char *name);

/* One individual: draws, and fills the planes. */
void recipe_paint(drawn_picture *picture, const class_recipe *recipe, chance *stream);

/* Shared by recipes. Share of a pixel inside a shape whose outline is `distance` away. */
float inside(const recipe_look *look, float distance);
/* Lays `colour` over the point. */
void lay(surface_point *point, rgb_colour colour, float share);
rgb_colour pick_colour(const rgb_colour *colours, unsigned count, chance *stream, float variation);
#define PICK(colours, stream, variation)                                                           \
    pick_colour(colours, sizeof(colours) / sizeof *(colours), stream, variation)
float distance_to_segment(float x, float y, float ax, float ay, float bx, float by);
float distance_to_box(float x, float y, float half_width, float half_height, float corner);
/* A row of capital letters and digits, one unit high, centred. */
float distance_to_text(const char *text, float x, float y);

#endif
