#include "damage.h"

#include <string.h>

#include "flaw.h"

bool damage_make(drawn_picture *picture, const char *kind, chance *stream)
{
    static const damage_kind *const tables[] = {surface_damages, foreign_damages, shape_damages,
                                                print_damages};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const damage_kind *entry = tables[i]; entry->name; entry++)
            if (strcmp(entry->name, kind) == 0)
                return entry->make(picture, stream);
    return false;
}
