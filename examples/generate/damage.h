/* Defects: changes to a finished surface, and where they are. */
#ifndef GENERATE_DAMAGE_H
#define GENERATE_DAMAGE_H

#include "picture.h"

/*
 * Damages the picture's subject and sets its damage plane. False if the kind found no place there;
 * the picture may then be partly changed.
 */
bool damage_make(drawn_picture *picture, const char *kind, chance *stream);

#endif
