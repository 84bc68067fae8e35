/* Defects: changes of a finished surface, with where they are. */
#ifndef GENERATE_DAMAGE_H
#define GENERATE_DAMAGE_H

#include "picture.h"

/*
 * Damages the picture's subject and sets its damage plane. False when the kind found no place
 * there; the picture may be half changed then.
 */
bool damage_make(drawn_picture *picture, const char *kind, chance *stream);

#endif
