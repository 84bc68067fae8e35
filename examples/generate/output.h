/* Output: a tree in MVTec AD's layout with manifests, or pictures with captions. */
#ifndef GENERATE_OUTPUT_H
#define GENERATE_OUTPUT_H

#include "common.h"
#include "recipes.h"

#define PROGRAM "aaclip-generate"

typedef struct output_order {
    const char *folder;
    const class_recipe **recipes;
    unsigned recipe_count;
    unsigned train, good, defective, train_defective; /* of each class */
    unsigned captions, side, seed;
    bool pairs;
} output_order;

bool folder_create(const char *path);
bool picture_write(const char *path, const uint8_t *pixels, unsigned side, bool grey);

/* False with a message if something failed. */
bool write_tree(const output_order *order);
bool write_captions(const output_order *order);

#endif
