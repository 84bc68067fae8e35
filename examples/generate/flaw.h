/* Flaws: shared by the kinds of damage. Each finds a place, shapes the flaw, visits its pixels. */
#ifndef GENERATE_FLAW_H
#define GENERATE_FLAW_H

#include "picture.h"

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

typedef struct range {
    float low, high;
} range;

/* A random place on the subject, between two distances from its outline. */
bool find_place(drawn_picture *picture, chance *stream, float deepest, float shallowest,
                surface_flaw *flaw);
/* Inside, at the flaw's preferred distance from the outline or nearer. */
bool find_inside(drawn_picture *picture, chance *stream, float margin, surface_flaw *flaw);

/* Blobs. The distance is to the outline, negative inside. */
void shape_blob(surface_flaw *flaw, chance *stream, range size, float stretch, range ragged);
float distance_to_blob(const drawn_picture *picture, const surface_flaw *flaw, float x, float y);

/* From a place in a direction, with varying curvature; every step turns by up to `wobble`. */
flaw_path *add_path(surface_flaw *flaw, chance *stream, float x, float y, float turns, float length,
                    float wobble, float bend);
/* `share` tells how far along the nearest place is, 0 to 1. */
float distance_to_path(const flaw_path *path, float x, float y, float *share);

/* Share of a pixel inside an outline that is `distance` away. */
float share_inside(const drawn_picture *picture, float distance);

/* Changes the pixel `i`, which lies at (x, y). */
typedef void (*flaw_at)(drawn_picture *picture, const surface_flaw *flaw, size_t i, float x,
                        float y);

/* Every pixel within the flaw's reach. */
void visit(drawn_picture *picture, const surface_flaw *flaw, flaw_at at);

/* Records that this share of a pixel is damaged, as far as the subject covers it; returns it. */
float mark(drawn_picture *picture, size_t i, float share);

void tint(surface_layer *layer, size_t i, rgb_colour colour, float share);
void dim(surface_layer *layer, size_t i, float red, float green, float blue);
void fade_polish(surface_layer *layer, size_t i, float share);

rgb_colour colour_at(drawn_picture *picture, float x, float y);
/* Clearly lighter or darker than the surroundings. */
rgb_colour contrasting(rgb_colour around, chance *stream);

/* A kind of damage; `make` keeps what damage_make promises. */
typedef struct damage_kind {
    const char *name;
    bool (*make)(drawn_picture *picture, chance *stream);
} damage_kind;

/* Each array ends with a nameless one. */
extern const damage_kind surface_damages[], foreign_damages[], shape_damages[], print_damages[];

#endif
