/* What a captioned picture shows besides its subject: patterns, prints, small objects. No
 * damage. */
#ifndef GENERATE_EXTRAS_H
#define GENERATE_EXTRAS_H

#include "extras_words.h"
#include "flaw.h"

enum { MOST_EXTRAS = 2 };

typedef struct picture_extra {
    char words[TEXT_SIZE]; /* "a small red button in the middle" */
    bool is_beside;        /* the subject, not on it */
    float x, y, reach;     /* the place it takes; none with a reach of 0 */
} picture_extra;

typedef struct picture_extras {
    unsigned count;
    picture_extra items[MOST_EXTRAS];
} picture_extras;

/* Adds one or two to most pictures. */
void extras_add(drawn_picture *picture, chance *stream, picture_extras *extras);

/* Shared by the kinds of extras; `shape` is where it is and what its kind has drawn for it. */
typedef struct extra_work {
    drawn_picture *picture;
    chance *stream;
    const picture_extras *others;
    picture_extra *extra;
    surface_flaw shape;
} extra_work;

/* Claims the shape's place for something that large, unless another extra is there. */
bool take_place(extra_work *work, float reach);
/* A free place on the subject, `margin` away from its outline, for something that large. */
bool find_free(extra_work *work, float margin, float reach);
/* A named colour that is visible against the surroundings of the place. */
bool find_colour(extra_work *work);
/* Rotates the shape to a random direction. */
void turn(extra_work *work);

/* Each adds one kind and its words, or finds no room for it. */
typedef struct extra_kind {
    bool (*add)(extra_work *work);
    bool for_parts, for_textures;
} extra_kind;

/* Each ends with an empty one. */
extern const extra_kind pattern_extras[], print_extras[], thing_extras[];

#endif
