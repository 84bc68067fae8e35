/*
 * Pictures with captions. These name what is there, small objects included, and say nothing about
 * its state. Some consecutive pictures show one scene, the same thing in the same light, with other
 * small objects: only details distinguish them.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "extras.h"
#include "output.h"
#include "studio.h"

enum { PATH_SIZE = 4096, SCENE_PICTURES = 4 };

/* The class's name in words, or what the recipe calls it. */
static const char *pick_noun(char noun[TEXT_SIZE], const class_recipe *recipe,
                             const picture_words *words, chance *stream)
{
    if (recipe->is_part && chance_happens(stream, 0.6f))
        return words->noun;
    snprintf(noun, TEXT_SIZE, "%s", recipe->name);
    for (char *c = noun; *c; c++)
        if (*c == '_')
            *c = ' ';
    return noun;
}

static void describe_part(char *text, const class_recipe *recipe, const picture_words *words,
                          chance *stream)
{
    char noun[TEXT_SIZE];
    if (!chance_happens(stream, 0.12f))
        append(text, words->colour);
    if (words->second_colour && chance_happens(stream, 0.6f)) {
        append(text, *text ? "and" : "");
        append(text, words->second_colour);
    }
    if (chance_happens(stream, 0.4f))
        append(text, words->material);
    append(text, pick_noun(noun, recipe, words, stream));
}

static void describe_texture(char *text, const class_recipe *recipe, const picture_words *words,
                             chance *stream)
{
    static const char *const kinds[] = {"surface", "texture", "", ""};
    char name[TEXT_SIZE];
    append(text, words->colour);
    if (chance_happens(stream, 0.4f)) {
        append(text, words->material);
        append(text, words->noun);
        return;
    }
    append(text, pick_noun(name, recipe, words, stream));
    const char *kind = kinds[chance_below(stream, 4)];
    if (*kind)
        append(text, kind);
}

/* Extras on the thing follow it, those beside it come after the ground. */
static void describe_extras(char caption[TEXT_SIZE], const picture_extras *extras, bool beside,
                            chance *stream)
{
    static const char *const joins[] = {"next to", "beside", "and"};
    bool is_first = true;
    for (unsigned i = 0; i < extras->count; i++) {
        if (extras->items[i].is_beside != beside)
            continue;
        const char *join = beside ? joins[chance_below(stream, 3)] : "with";
        append(caption, is_first ? join : "and");
        append(caption, extras->items[i].words);
        is_first = false;
    }
}

static void write_caption(char caption[TEXT_SIZE], const class_recipe *recipe,
                          const picture_words *words, const picture_extras *extras, chance *stream)
{
    static const char *const openings[] = {
        "a photo of",
        "a close-up of",
        "a picture of",
        "an image of",
        "a close-up photo of",
        "an industrial photo of",
        "a cropped photo of",
        "",
        "",
        "a camera image of",
    };
    static const char *const places[] = {"on", "lying on", "resting on", "in front of",
                                         "placed on"};
    static const char *const lights[] = {"under", "in", "under", "photographed in"};
    char thing[TEXT_SIZE] = "", ground[TEXT_SIZE];
    *caption = '\0';
    const char *opening = openings[chance_below(stream, sizeof openings / sizeof *openings)];
    if (*opening)
        append(caption, opening);
    (recipe->is_part ? describe_part : describe_texture)(thing, recipe, words, stream);
    append_with_article(caption, thing);
    describe_extras(caption, extras, false, stream);
    if (words->ground && chance_happens(stream, 0.75f)) {
        append(caption, places[chance_below(stream, 5)]);
        snprintf(ground, sizeof ground, "%s %s", words->ground_colour, words->ground);
        append_with_article(caption, ground);
    }
    describe_extras(caption, extras, true, stream);
    if (chance_happens(stream, 0.6f)) {
        append(caption, lights[chance_below(stream, 4)]);
        append(caption, words->light);
    }
}

static const char *pick_defect(const class_recipe *recipe, chance *stream)
{
    unsigned kinds = 0;
    while (kinds < MOST_KINDS && recipe->defects[kinds])
        kinds++;
    const char *defect = recipe->defects[chance_below(stream, kinds)];
    return chance_happens(stream, 0.1f) ? defect : NULL;
}

static bool add_captioned(const output_order *order, photo_studio *studio, FILE *list,
                          unsigned number)
{
    const unsigned scene = number / SCENE_PICTURES;
    chance stream = chance_of(order->seed, "captions", number);
    chance scene_stream = chance_of(order->seed, "captions/scene", scene);
    const class_recipe *recipe = order->recipes[scene % order->recipe_count];
    const char *defect = pick_defect(recipe, &scene_stream);
    *studio->extras_stream = chance_of(order->seed, "captions/extras", number);
    if (!studio_photograph(studio, recipe, defect, order->seed, "captions/picture", scene))
        return !complain(PROGRAM, "%s: no visible defect of the kind %s was found", recipe->name,
                         defect);
    char path[PATH_SIZE], name[TEXT_SIZE], caption[TEXT_SIZE];
    write_caption(caption, recipe, &studio->words, &studio->extras, &stream);
    snprintf(name, sizeof name, "images/%05u.png", number);
    if (snprintf(path, sizeof path, "%s/%s", order->folder, name) >= PATH_SIZE)
        return !complain(PROGRAM, "%s: the path is too long", order->folder);
    if (!picture_write(path, studio->pixels, order->side, false))
        return false;
    json_t *row = json_pack("{s:s, s:s, s:s, s:i}", "image_path", name, "caption", caption,
                            "class_name", recipe->name, "scene", (int)scene);
    bool written = row && json_dumpf(row, list, 0) == 0 && fputc('\n', list) != EOF;
    json_decref(row);
    return written || !complain(PROGRAM, "%s/captions.jsonl: cannot write", order->folder);
}

bool write_captions(const output_order *order)
{
    char path[PATH_SIZE];
    photo_studio studio;
    chance extras_stream;
    text_output list;
    progress_bar bar;
    if (snprintf(path, sizeof path, "%s/images", order->folder) >= PATH_SIZE - 16)
        return !complain(PROGRAM, "%s: the path is too long", order->folder);
    if (!folder_create(path))
        return false;
    snprintf(path, sizeof path, "%s/captions.jsonl", order->folder);
    if (!open_text_file(&list, path, PROGRAM))
        return false;
    bool written = studio_open(&studio, order->side) || !complain(PROGRAM, "out of memory");
    studio.extras_stream = &extras_stream;
    progress_start(&bar, "generating");
    for (unsigned i = 0; written && i < order->captions; i++) {
        written = add_captioned(order, &studio, list.file, i);
        progress_update(&bar, i + 1, order->captions);
    }
    progress_end(&bar);
    studio_close(&studio);
    return finish_text_file(&list, written, PROGRAM) && written;
}
