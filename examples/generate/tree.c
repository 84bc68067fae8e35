/* The tree of a data set. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "output.h"
#include "studio.h"

enum { PATH_SIZE = 4096, NAME_SIZE = 256 };

typedef struct tree_writer {
    const output_order *order;
    photo_studio studio;
    text_output manifest, train, test;
    progress_bar bar;
    size_t done, total;
} tree_writer;

bool folder_create(const char *path)
{
    char part[PATH_SIZE];
    size_t length = strlen(path);
    if (length >= sizeof part)
        return !complain(PROGRAM, "%s: the path is too long", path);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i])
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        struct stat info;
        if (mkdir(part, 0777) && (stat(part, &info) || !S_ISDIR(info.st_mode)))
            return !complain(PROGRAM, "%s: cannot create this folder: %s", part, strerror(errno));
    }
    return true;
}

bool picture_write(const char *path, const uint8_t *pixels, unsigned side, bool grey)
{
    aaclip_image_view view = {.pixels = pixels,
                              .width = side,
                              .height = side,
                              .format = grey ? AACLIP_PIXEL_GRAY8 : AACLIP_PIXEL_RGB8};
    return !aaclip_write_png(path, &view) || !complain(PROGRAM, "%s", aaclip_last_error());
}

/* FOLDER/CLASS/PART/KIND/NUMBER.png; `name` is set to what follows the folder. */
static bool write_into(const tree_writer *tree, char name[NAME_SIZE], const class_recipe *recipe,
                       const char *part, const char *kind, const char *file, const uint8_t *pixels,
                       bool grey)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s/%s/%s", tree->order->folder, recipe->name, part, kind);
    if (!folder_create(path))
        return false;
    snprintf(name, NAME_SIZE, "%s/%s/%s/%s", recipe->name, part, kind, file);
    int length = snprintf(path, sizeof path, "%s/%s", tree->order->folder, name);
    if (length >= PATH_SIZE)
        return !complain(PROGRAM, "%s: the path is too long", path);
    return picture_write(path, pixels, tree->order->side, grey);
}

static bool add_row(tree_writer *tree, const char *image, const char *mask,
                    const class_recipe *recipe, const char *split, const char *defect)
{
    json_t *row =
        json_pack("{s:s, s:i, s:s, s:s*, s:s, s:s*}", "image_path", image, "label", defect ? 1 : 0,
                  "class_name", recipe->name, "mask_path", mask, "split", split, "defect", defect);
    FILE *part = strcmp(split, "train") == 0 ? tree->train.file : tree->test.file;
    FILE *files[] = {tree->manifest.file, part};
    /* a text without memory is left out like one that is NULL */
    bool written = json_object_size(row) == (defect ? 6 : 4);
    for (int i = 0; i < 2 && written; i++)
        written = json_dumpf(row, files[i], 0) == 0 && fputc('\n', files[i]) != EOF;
    json_decref(row);
    return written || !complain(PROGRAM, "%s/manifest.jsonl: cannot write", tree->order->folder);
}

static bool add_picture(tree_writer *tree, const class_recipe *recipe, const char *split,
                        const char *defect, unsigned number, unsigned file_number)
{
    char series[NAME_SIZE], file[NAME_SIZE], image[NAME_SIZE], mask[NAME_SIZE], twin[NAME_SIZE];
    const char *kind = defect ? defect : "good";
    photo_studio *studio = &tree->studio;
    snprintf(series, sizeof series, "%s/%s/%s", recipe->name, split, kind);
    if (!studio_photograph(studio, recipe, defect, tree->order->seed, series, number))
        return !complain(PROGRAM, "%s: no visible defect of the kind %s was found", recipe->name,
                         kind);
    snprintf(file, sizeof file, "%03u.png", file_number);
    if (!write_into(tree, image, recipe, split, kind, file, studio->pixels, false))
        return false;
    if (defect && tree->order->pairs &&
        !write_into(tree, twin, recipe, "undamaged", kind, file, studio->undamaged, false))
        return false;
    snprintf(file, sizeof file, "%03u_mask.png", file_number);
    if (defect && !write_into(tree, mask, recipe, "ground_truth", kind, file, studio->mask, true))
        return false;
    progress_update(&tree->bar, ++tree->done, tree->total);
    return add_row(tree, image, defect ? mask : NULL, recipe, split, defect);
}

/* How many of `total` pictures show the kind. */
static unsigned share_of(unsigned total, unsigned kind, unsigned kinds)
{
    return total / kinds + (kind < total % kinds);
}

static bool add_class(tree_writer *tree, const class_recipe *recipe)
{
    const output_order *order = tree->order;
    unsigned kinds = 0;
    while (kinds < MOST_KINDS && recipe->defects[kinds])
        kinds++;
    bool added = true;
    for (unsigned i = 0; added && i < order->train; i++)
        added = add_picture(tree, recipe, "train", NULL, i, i);
    for (unsigned i = 0; added && i < order->good; i++)
        added = add_picture(tree, recipe, "test", NULL, i, i);
    for (unsigned kind = 0; added && kind < kinds; kind++) {
        unsigned tested = share_of(order->defective, kind, kinds);
        unsigned trained = share_of(order->train_defective, kind, kinds);
        for (unsigned i = 0; added && i < tested; i++)
            added = add_picture(tree, recipe, "test", recipe->defects[kind], i, i);
        for (unsigned i = 0; added && i < trained; i++)
            added = add_picture(tree, recipe, "train", recipe->defects[kind], i, tested + i);
    }
    return added;
}

static bool open_list(text_output *list, const output_order *order, const char *name)
{
    char path[PATH_SIZE];
    int length = snprintf(path, sizeof path, "%s/%s", order->folder, name);
    if (length >= PATH_SIZE)
        return !complain(PROGRAM, "%s: the path is too long", path);
    return open_text_file(list, path, PROGRAM);
}

static bool add_classes(tree_writer *tree)
{
    const output_order *order = tree->order;
    tree->total = (size_t)order->recipe_count *
                  (order->train + order->good + order->defective + order->train_defective);
    bool added = studio_open(&tree->studio, order->side) || !complain(PROGRAM, "out of memory");
    progress_start(&tree->bar, "generating");
    for (unsigned i = 0; added && i < order->recipe_count; i++)
        added = add_class(tree, order->recipes[i]);
    progress_end(&tree->bar);
    studio_close(&tree->studio);
    return added;
}

bool write_tree(const output_order *order)
{
    tree_writer tree = {.order = order};
    text_output *lists[] = {&tree.train, &tree.test, &tree.manifest};
    static const char *const names[] = {"train.jsonl", "test.jsonl", "manifest.jsonl"};
    bool written = folder_create(order->folder);
    int opened = 0;
    while (written && opened < 3) {
        written = open_list(lists[opened], order, names[opened]);
        opened += written;
    }
    written = written && add_classes(&tree);
    for (int i = 0; i < opened; i++)
        written = finish_text_file(lists[i], written, PROGRAM) && written;
    return written;
}
