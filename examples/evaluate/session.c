/* Opening: data set, model, checkpoints. */
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Index of a word among `count` names; -1 with a message that lists them. */
static int find_word(const char *option, const char *word, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, names[i]) == 0)
            return (int)i;
    char known[256] = "";
    for (size_t i = 0; i < count; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 names[i]);
    complain(PROGRAM, "--%s: expected one of %s, found '%s'", option, known, word);
    return -1;
}

static bool open_dataset(session *state)
{
    static const char *const layouts[] = {"auto", "manifest", "mvtec",         "btad",
                                          "visa", "bmad",     "masked-folder", "folder"};
    static const char *const splits[] = {"all", "train", "validation", "test"};
    const command_line *arguments = state->arguments;
    aaclip_dataset_options options;
    aaclip_dataset_options_init(&options);
    int layout = find_word("layout", arguments->layout, layouts, sizeof layouts / sizeof *layouts);
    int split = find_word("split", arguments->split, splits, sizeof splits / sizeof *splits);
    if (layout < 0 || split < 0)
        return false;
    options.layout = (aaclip_dataset_layout)layout;
    options.split = (aaclip_dataset_split)split;
    if (arguments->data_root || arguments->dataset) /* else the manifest stands for its folder */
        options.manifest = arguments->manifest;
    options.outside_paths = arguments->outside_paths;
    options.classes = (const char *const *)arguments->classes.items;
    options.class_count = arguments->classes.count;
    options.class_name = arguments->classes.count == 1 ? arguments->classes.items[0]
                                                       : only_class(arguments->dataset);
    if (arguments->no_pixels)
        options.masks = AACLIP_MASKS_IGNORED;
    char *root = arguments->data_root ? strdup(arguments->data_root)
                 : arguments->dataset ? format_text("data/%s", arguments->dataset)
                                      : strdup(arguments->manifest);
    bool opened = root && !failed(aaclip_dataset_open(&state->dataset, root, &options));
    free(root);
    return opened;
}

/* N of image_adapter_N.pth, or -1. */
static long epoch_number(const char *name)
{
    static const char start[] = "image_adapter_";
    if (strncmp(name, start, sizeof start - 1) != 0)
        return -1;
    name += sizeof start - 1;
    char *end;
    long number = *name >= '0' && *name <= '9' ? strtol(name, &end, 10) : -1;
    return number >= 0 && strcmp(end, ".pth") == 0 ? number : -1;
}

static int compare_epochs(const void *a, const void *b)
{
    const long x = epoch_number(*(char *const *)a), y = epoch_number(*(char *const *)b);
    return (x > y) - (x < y);
}

static bool list_epochs(string_list *names, const char *folder)
{
    DIR *opened = opendir(folder);
    if (!opened)
        return !complain(PROGRAM, "%s: %s", folder, strerror(errno));
    bool good = true;
    for (struct dirent *entry; good && (entry = readdir(opened));)
        if (epoch_number(entry->d_name) >= 0)
            good = list_add(names, entry->d_name) || !complain(PROGRAM, "out of memory");
    closedir(opened);
    if (names->count)
        qsort(names->items, names->count, sizeof *names->items, compare_epochs);
    else if (good)
        good = !complain(PROGRAM, "%s: no image_adapter_N.pth in this folder", folder);
    return good;
}

static bool make_results(session *state, size_t count)
{
    /* NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): there is one */
    state->results = calloc(count, sizeof *state->results);
    state->sections = calloc(count, sizeof *state->sections);
    bool good = state->results && state->sections;
    state->count = good ? count : 0;
    for (size_t i = 0; i < state->count && good; i++) {
        evaluation *result = &state->results[i];
        result->count = aaclip_dataset_count(state->dataset);
        result->rows = calloc(result->count, sizeof *result->rows);
        good = result->rows != NULL;
        for (size_t row = 0; good && row < result->count; row++)
            result->rows[row].sample = aaclip_dataset_get(state->dataset, row);
    }
    return good || !complain(PROGRAM, "out of memory");
}

/* Epochs trained with --plain-text come without text adapters. */
static bool name_epochs(session *state, const string_list *names)
{
    const char *folder = state->arguments->checkpoints;
    char *text = format_text("%s/text_adapter.pth", folder);
    bool good = text != NULL, plain = good && access(text, F_OK) != 0;
    if (plain)
        complain(PROGRAM, "%s: not found; using text vectors of plain CLIP", text);
    for (size_t i = 0; good && i < names->count; i++) {
        evaluation *result = &state->results[i];
        char *image = format_text("%s/%s", folder, names->items[i]);
        result->name = strdup(names->items[i]);
        good = image && result->name && (plain || list_add(&result->files, text)) &&
               list_add(&result->files, image);
        free(image);
    }
    free(text);
    return good || !complain(PROGRAM, "out of memory");
}

/* The one checkpoint of --adapters; a bundle has its own. */
static bool name_single(session *state)
{
    const command_line *arguments = state->arguments;
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(state->model, &info);
    evaluation *result = &state->results[0];
    bool good = true;
    for (size_t i = 0; good && i < arguments->adapters.count; i++)
        good = list_add(&result->files, arguments->adapters.items[i]);
    if (!result->files.count && !info.has_text)
        good = list_add(&result->files, arguments->model);
    const char *last =
        result->files.count ? result->files.items[result->files.count - 1] : "plain CLIP";
    const char *slash = strrchr(last, '/');
    result->name = strdup(slash ? slash + 1 : last);
    return (good && result->name) || !complain(PROGRAM, "out of memory");
}

static bool name_checkpoints(session *state)
{
    string_list names = {0};
    if (!state->arguments->checkpoints)
        return make_results(state, 1) && name_single(state);
    bool named = list_epochs(&names, state->arguments->checkpoints) &&
                 make_results(state, names.count) && name_epochs(state, &names);
    list_clear(&names);
    return named;
}

bool open_session(session *state)
{
    const command_line *arguments = state->arguments;
    aaclip_model_options model;
    aaclip_model_options_init(&model);
    aaclip_config_init(&state->config, arguments->profile);
    model.backend = arguments->backend;
    model.precision = arguments->precision;
    model.threads = arguments->threads;
    model.packed_folder = arguments->packed;
    state->domain = arguments->domain;
    if (!arguments->has_domain && arguments->dataset &&
        failed(aaclip_known_dataset_domain(arguments->dataset, &state->domain)))
        return false;
    return open_dataset(state) &&
           !failed(aaclip_model_open(&state->model, arguments->model, &model)) &&
           name_checkpoints(state) &&
           (!arguments->out || (make_folders(arguments->out, PROGRAM) &&
                                store_open(&state->store, arguments->out, &arguments->window)));
}

static void close_result(evaluation *result)
{
    for (size_t i = 0; result->rows && i < result->count; i++)
        free(result->rows[i].failure);
    free(result->rows);
    free(result->values);
    free(result->decisions);
    free(result->pictures);
    free(result->name);
    list_clear(&result->files);
    list_clear(&result->classes);
}

void close_session(session *state)
{
    for (size_t i = 0; i < state->count; i++) {
        close_result(&state->results[i]);
        free(state->sections[i]);
    }
    free(state->results);
    free(state->sections);
    free(state->calibrations);
    store_close(&state->store);
    aaclip_text_cache_close(&state->cache);
    aaclip_model_close(&state->model);
    aaclip_dataset_close(&state->dataset);
}
