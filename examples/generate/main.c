/*
 * aaclip-generate: draws data sets for inspection, with exact masks.
 *
 * A tree has MVTec AD's layout. Defective pictures for training go to CLASS/train/DEFECT, which
 * MVTec AD does not have: their masks lie in ground_truth/DEFECT with those of the test pictures,
 * so their numbers start after these. aaclip_dataset_open reads them as abnormal pictures of the
 * split "train". The same pictures are listed in train.jsonl, test.jsonl and, all of them,
 * manifest.jsonl.
 *
 * The bytes depend only on the arguments: every picture has its own random numbers, derived from
 * the seed, its class, split, kind and number.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "options.h"
#include "output.h"

typedef struct command_line {
    const char *out;
    string_list classes;
    unsigned train, good, defective, train_defective, captions, side, seed;
    bool pairs, list, has_captions, has_tree;
} command_line;

static const char usage[] =
    "usage: " PROGRAM
    " --out FOLDER [options]\n"
    "       " PROGRAM
    " --list\n"
    "\n"
    "Draws pictures of surfaces and parts as an inspection camera would see them, good and\n"
    "defective, the latter with masks, in MVTec AD's layout. The same arguments give the same\n"
    "pictures.\n"
    "\n"
    "  --out FOLDER             output folder; must not contain generated pictures\n"
    "  --class NAME             only this class; repeatable [all]\n"
    "  --train N                good pictures for training, per class [20]\n"
    "  --good N                 good pictures for testing [10]\n"
    "  --defective N            defective pictures for testing, of all kinds together [20]\n"
    "  --train-defective N      defective pictures for training, in train/DEFECT [0]\n"
    "  --pairs                  also write each defective picture without its defect, to\n"
    "                           undamaged/DEFECT\n"
    "  --captions N             write N captioned pictures instead, most of them with patterns or\n"
    "                           small objects that the captions name: captions.jsonl\n"
    "  --size N                 side of the pictures in pixels, 64 to 2048 [256]\n"
    "  --seed N                 [0]\n"
    "  --list                   show the classes and their defects\n"
    "  --help, --version\n";

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    bool *tree = &arguments->has_tree;
    const program_option options[] = {
        {"out", OPTION_TEXT, &arguments->out, 0, NULL},
        {"class", OPTION_LIST, &arguments->classes, 0, NULL},
        {"train", OPTION_NUMBER, &arguments->train, 100000, tree},
        {"good", OPTION_NUMBER, &arguments->good, 100000, tree},
        {"defective", OPTION_NUMBER, &arguments->defective, 100000, tree},
        {"train-defective", OPTION_NUMBER, &arguments->train_defective, 100000, tree},
        {"pairs", OPTION_FLAG, &arguments->pairs, 0, tree},
        {"captions", OPTION_NUMBER, &arguments->captions, 1000000, &arguments->has_captions},
        {"size", OPTION_NUMBER, &arguments->side, 2048, NULL},
        {"seed", OPTION_NUMBER, &arguments->seed, 4294967295u, NULL},
        {"list", OPTION_FLAG, &arguments->list, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result == PARSE_RUN && rest.count) {
        complain(PROGRAM, "unexpected argument '%s'; see --help", rest.items[0]);
        return PARSE_WRONG;
    }
    return result;
}

static bool check(const command_line *arguments)
{
    if (!arguments->out || !*arguments->out)
        return !complain(PROGRAM, "--out is missing; see --help");
    if (arguments->side < 64)
        return !complain(PROGRAM, "--size: expected 64 to 2048, found %u", arguments->side);
    if (arguments->has_captions && arguments->has_tree)
        return !complain(PROGRAM,
                         "--captions excludes --train, --good, --defective, "
                         "--train-defective and --pairs");
    if (arguments->has_captions && !arguments->captions)
        return !complain(PROGRAM, "--captions: expected 1 or more, found 0");
    if (!arguments->has_captions && !arguments->train && !arguments->good &&
        !arguments->defective && !arguments->train_defective)
        return !complain(PROGRAM, "expected pictures to draw, found 0 of every kind");
    return true;
}

/* An interrupted run leaves pictures, but no list of them. */
static bool is_unused(const char *folder, const char *part)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, part);
    DIR *opened = opendir(path);
    bool unused = true;
    for (struct dirent *entry; opened && unused && (entry = readdir(opened));)
        unused = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (opened)
        closedir(opened);
    return unused || !complain(PROGRAM,
                               "%s already holds files, perhaps of an interrupted run; remove it "
                               "or choose another folder",
                               path);
}

static bool is_new(const output_order *order)
{
    static const char *const names[] = {"manifest.jsonl", "captions.jsonl"};
    struct stat info;
    char path[4096];
    for (int i = 0; i < 2; i++)
        if (snprintf(path, sizeof path, "%s/%s", order->folder, names[i]) < (int)sizeof path &&
            stat(path, &info) == 0)
            return !complain(PROGRAM, "%s already exists; choose another folder", path);
    if (order->captions)
        return is_unused(order->folder, "images");
    bool unused = true;
    for (unsigned i = 0; unused && i < order->recipe_count; i++)
        unused = is_unused(order->folder, order->recipes[i]->name);
    return unused;
}

static void show_list(void)
{
    const class_recipe *recipe;
    for (unsigned i = 0; (recipe = recipe_of(i)); i++) {
        printf("%s:", recipe->name);
        for (unsigned kind = 0; kind < MOST_KINDS && recipe->defects[kind]; kind++)
            printf(" %s", recipe->defects[kind]);
        putchar('\n');
    }
}

/* The classes asked for, each once, or all of them. */
static bool choose(output_order *order, const string_list *names)
{
    unsigned known = 0;
    while (recipe_of(known))
        known++;
    order->recipes = malloc((known + names->count) * sizeof *order->recipes);
    if (!order->recipes)
        return !complain(PROGRAM, "out of memory");
    for (unsigned i = 0; !names->count && i < known; i++)
        order->recipes[order->recipe_count++] = recipe_of(i);
    for (size_t i = 0; i < names->count; i++) {
        const class_recipe *recipe = recipe_named(names->items[i]);
        if (!recipe)
            return !complain(PROGRAM, "--class: no class '%s'; --list shows them", names->items[i]);
        for (unsigned k = 0; recipe && k < order->recipe_count; k++)
            recipe = order->recipes[k] == recipe ? NULL : recipe;
        if (recipe)
            order->recipes[order->recipe_count++] = recipe;
    }
    return true;
}

int main(int argc, char **argv)
{
    command_line arguments = {.train = 20, .good = 10, .defective = 20, .side = 256};
    parse_result parsed = parse(&arguments, argc, argv);
    bool done = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN && arguments.list) {
        show_list();
        done = true;
    } else if (parsed == PARSE_RUN) {
        output_order order = {.folder = arguments.out,
                              .train = arguments.train,
                              .good = arguments.good,
                              .defective = arguments.defective,
                              .train_defective = arguments.train_defective,
                              .captions = arguments.captions,
                              .side = arguments.side,
                              .seed = arguments.seed,
                              .pairs = arguments.pairs};
        done = check(&arguments) && choose(&order, &arguments.classes) && is_new(&order) &&
               (arguments.has_captions ? write_captions(&order) : write_tree(&order));
        free(order.recipes);
    }
    list_clear(&arguments.classes);
    return end_program(done ? 0 : 1, PROGRAM);
}
