/* Words of captions. */
#ifndef GENERATE_EXTRAS_WORDS_H
#define GENERATE_EXTRAS_WORDS_H

#include "chance.h"

enum { TEXT_SIZE = 384, NO_NUMBER = 0, MANY = 4 };

void append(char text[TEXT_SIZE], const char *more);
void append_with_article(char text[TEXT_SIZE], const char *words);

/* A thing as people name it, some words left out: "two small red lines". NULL is no word. */
typedef struct thing_words {
    const char *size, *colour, *noun;
    unsigned number; /* 1 to 3, MANY or NO_NUMBER */
} thing_words;

void append_thing(char text[TEXT_SIZE], const thing_words *thing, chance *stream);
/* Where in the picture (x, y) is, at times. */
void append_place(char text[TEXT_SIZE], float x, float y, chance *stream);

#endif
