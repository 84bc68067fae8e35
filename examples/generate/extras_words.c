#include "extras_words.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

void append(char text[TEXT_SIZE], const char *more)
{
    size_t length = strlen(text), added = strlen(more);
    if (!added || length + added + 2 > TEXT_SIZE)
        return; /* no caption is nearly as long */
    if (length)
        text[length++] = ' ';
    memcpy(text + length, more, added + 1);
}

void append_with_article(char text[TEXT_SIZE], const char *words)
{
    append(text, strchr("aeiou", words[0]) ? "an" : "a");
    append(text, words);
}

void append_thing(char text[TEXT_SIZE], const thing_words *thing, chance *stream)
{
    static const char *const numbers[] = {"", "", "two", "three", "many"};
    char words[TEXT_SIZE] = "";
    bool has_number = thing->number != MANY || chance_happens(stream, 0.5f);
    if (thing->size && chance_happens(stream, 0.65f))
        append(words, thing->size);
    if (thing->colour && chance_happens(stream, 0.88f))
        append(words, thing->colour);
    append(words, thing->noun);
    if (thing->number == 1) {
        append_with_article(text, words);
        return;
    }
    append(text, has_number ? numbers[thing->number] : "");
    append(text, words);
}

void append_place(char text[TEXT_SIZE], float x, float y, chance *stream)
{
    static const char *const corners[] = {"in the upper left corner", "in the upper right corner",
                                          "in the lower left corner", "in the lower right corner"};
    static const char *const sides[] = {"on the left", "on the right", "at the top",
                                        "at the bottom"};
    static const char *const edges[] = {"near the left edge", "near the right edge",
                                        "near the upper edge", "near the lower edge"};
    const float near = fminf(fabsf(x), fabsf(y)), far = fmaxf(fabsf(x), fabsf(y));
    unsigned side = fabsf(x) > fabsf(y) ? x > 0 : 2 + (y > 0);
    if (!chance_happens(stream, 0.55f))
        return;
    if (far < 0.22f)
        append(text, "in the middle");
    else if (near > 0.45f)
        append(text, corners[(y > 0) * 2 + (x > 0)]);
    else if (far > 0.68f)
        append(text, edges[side]);
    else if (far > 0.3f && near < 0.6f * far)
        append(text, sides[side]);
}
