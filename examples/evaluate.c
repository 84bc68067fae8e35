/* aaclip-evaluate: how good checkpoints are on a data set. */
#include "evaluate.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "options.h"
#include "report.h"

typedef struct command_line {
    const char *model, *vocabulary, *prompts, *backend, *dataset, *data_root, *manifest;
    const char *checkpoints, *layout, *split, *out, *json, *csv;
    string_list adapters, classes;
    bool has_profile, has_domain, pictures, no_pixels, histogram, verbose;
    aaclip_profile profile;
    aaclip_domain domain;
    aaclip_precision precision;
    unsigned image_size, threads;
} command_line;

/* Everything that is open. */
typedef struct session {
    const command_line *arguments;
    aaclip_model *model;
    aaclip_dataset *dataset;
    aaclip_text_cache *cache;
    aaclip_domain domain;
    aaclip_config config;
    result_store store;
    evaluation *results;
    char **sections; /* of the report */
    size_t count;
    uint32_t image_size;
    progress_bar bar;
} session;

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE (--adapters FILE... | --checkpoints FOLDER)\n"
    "       (--dataset NAME | --data-root FOLDER | --manifest FILE) [options]\n"
    "\n"
    "Evaluates one checkpoint, or all epochs of a training, on a data set.\n"
    "\n"
    "  --model FILE          CLIP checkpoint (OpenAI, Hugging Face, open_clip) or bundle\n"
    "  --vocab FILE          bpe_simple_vocab_16e6.txt.gz or merges.txt [beside the model]\n"
    "  --adapters FILE       trained adapters; give text and image ones [none: plain CLIP]\n"
    "  --checkpoints FOLDER  every image_adapter_N.pth in it, with its text_adapter.pth\n"
    "  --dataset NAME        phrases and domain from this data set's table\n"
    "  --data-root FOLDER    where the images are [data/NAME]\n"
    "  --manifest FILE       JSON lines or VisA's CSV, paths relative to the data root\n"
    "  --layout L            auto, manifest, mvtec, btad, visa, bmad, masked-folder, folder\n"
    "                        [auto]\n"
    "  --split S             train, validation, test or all [test]\n"
    "  --class NAME          only this class; repeatable\n"
    "  --prompts FILE        JSON prompt set in place of the profile's\n"
    "  --profile P           document or published [told by the adapters]\n"
    "  --domain D            industrial or medical [told by --dataset, else industrial]\n"
    "  --image-size N        side of the network's input in pixels [518 for a 336 checkpoint]\n"
    "  --precision P         f32, bf16 or auto [f32]\n"
    "  --backend NAME        onednn, blas or reference [the best one]\n"
    "  --threads N           [all processors]\n"
    "  --out FOLDER          keep finished images there, so that the same call goes on where it\n"
    "                        was interrupted, and write report.html\n"
    "  --pictures            also FOLDER/pictures: photo, mask and heat map side by side\n"
    "  --no-pixels           image metrics alone; no map is kept\n"
    "  --histogram           count pixels in bins: less memory, nearly the same numbers\n"
    "  --json FILE           write all metrics as JSON; - is stdout\n"
    "  --csv FILE            write the scores of all images as CSV; - is stdout\n"
    "  --verbose             show the library's messages\n"
    "  --help, --version\n"
    "\n"
    "Exit code: 0, or 1 when anything failed; images that cannot be read are named and do not\n"
    "count.\n";

static bool failed(aaclip_status status)
{
    return status && complain(PROGRAM, "%s", aaclip_last_error());
}

static bool check_arguments(const command_line *arguments)
{
    if (!arguments->model)
        return !complain(PROGRAM, "--model is missing; --help shows how to call this program");
    if (!arguments->dataset && !arguments->data_root && !arguments->manifest)
        return !complain(PROGRAM, "no data: give --dataset, --data-root or --manifest");
    if (arguments->checkpoints && arguments->adapters.count)
        return !complain(PROGRAM, "--adapters and --checkpoints exclude each other");
    if (arguments->pictures && !arguments->out)
        return !complain(PROGRAM, "--pictures needs --out FOLDER");
    return true;
}

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"model", OPTION_TEXT, &arguments->model, 0, NULL},
        {"vocab", OPTION_TEXT, &arguments->vocabulary, 0, NULL},
        {"adapters", OPTION_LIST, &arguments->adapters, 0, NULL},
        {"checkpoints", OPTION_TEXT, &arguments->checkpoints, 0, NULL},
        {"dataset", OPTION_TEXT, &arguments->dataset, 0, NULL},
        {"data-root", OPTION_TEXT, &arguments->data_root, 0, NULL},
        {"manifest", OPTION_TEXT, &arguments->manifest, 0, NULL},
        {"layout", OPTION_TEXT, &arguments->layout, 0, NULL},
        {"split", OPTION_TEXT, &arguments->split, 0, NULL},
        {"class", OPTION_LIST, &arguments->classes, 0, NULL},
        {"prompts", OPTION_TEXT, &arguments->prompts, 0, NULL},
        {"profile", OPTION_PROFILE, &arguments->profile, 0, &arguments->has_profile},
        {"domain", OPTION_DOMAIN, &arguments->domain, 0, &arguments->has_domain},
        {"image-size", OPTION_NUMBER, &arguments->image_size, 8192, NULL},
        {"precision", OPTION_PRECISION, &arguments->precision, 0, NULL},
        {"backend", OPTION_TEXT, &arguments->backend, 0, NULL},
        {"threads", OPTION_NUMBER, &arguments->threads, 4096, NULL},
        {"out", OPTION_TEXT, &arguments->out, 0, NULL},
        {"pictures", OPTION_FLAG, &arguments->pictures, 0, NULL},
        {"no-pixels", OPTION_FLAG, &arguments->no_pixels, 0, NULL},
        {"histogram", OPTION_FLAG, &arguments->histogram, 0, NULL},
        {"json", OPTION_TEXT, &arguments->json, 0, NULL},
        {"csv", OPTION_TEXT, &arguments->csv, 0, NULL},
        {"verbose", OPTION_FLAG, &arguments->verbose, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result != PARSE_RUN)
        return result;
    if (rest.count) {
        complain(PROGRAM, "unexpected argument '%s'", rest.items[0]);
        return PARSE_WRONG;
    }
    return check_arguments(arguments) ? PARSE_RUN : PARSE_WRONG;
}

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
    options.manifest = arguments->manifest;
    options.classes = (const char *const *)arguments->classes.items;
    options.class_count = arguments->classes.count;
    options.class_name = arguments->classes.count == 1 ? arguments->classes.items[0] : NULL;
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

static bool name_epochs(session *state, const string_list *names)
{
    const char *folder = state->arguments->checkpoints;
    char *text = format_text("%s/text_adapter.pth", folder);
    bool good = text != NULL;
    for (size_t i = 0; good && i < names->count; i++) {
        evaluation *result = &state->results[i];
        char *image = format_text("%s/%s", folder, names->items[i]);
        result->name = strdup(names->items[i]);
        good = image && result->name && list_add(&result->files, text) &&
               list_add(&result->files, image);
        free(image);
    }
    free(text);
    return good || !complain(PROGRAM, "out of memory");
}

/* The one checkpoint of --adapters; a bundle brings its own. */
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

static bool build_progress(size_t done, size_t total, void *user)
{
    progress_update(user, done, total);
    return true;
}

static bool build_missing(session *state, size_t *built)
{
    const char *dataset = state->arguments->dataset;
    aaclip_status status = AACLIP_OK;
    *built = 0;
    for (size_t i = 0; !status && i < aaclip_dataset_class_count(state->dataset); i++) {
        char phrase[512];
        const char *name = aaclip_dataset_class_name(state->dataset, i), *words = phrase;
        if (aaclip_text_cache_get(state->cache, name, NULL, NULL) == AACLIP_OK)
            continue;
        status = aaclip_class_phrase(dataset, name, phrase, sizeof phrase);
        if (!status)
            status = aaclip_text_cache_build(state->cache, &name, &words, 1);
        *built += 1;
    }
    return !failed(status);
}

/*
 * Text vectors of all classes, once for all checkpoints: they have the text adapters in common.
 * Kept in the output folder under the data set's name, which chooses the phrases.
 */
static bool open_cache(session *state, const aaclip_adapters *adapters)
{
    const command_line *arguments = state->arguments;
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.vocabulary = arguments->vocabulary;
    options.prompts = arguments->prompts;
    options.config = &state->config;
    options.progress = build_progress;
    options.progress_user = &state->bar;
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(state->model, &info);
    char *kept = !arguments->out ? NULL
                                 : format_text("%s/text-%s.safetensors", arguments->out,
                                               arguments->dataset ? arguments->dataset : "any");
    const char *stored = info.has_text ? kept : arguments->model;
    struct stat file;
    aaclip_status status = AACLIP_ERROR_NOT_FOUND;
    if (stored && stat(stored, &file) == 0)
        status = aaclip_text_cache_open(&state->cache, stored, state->model, adapters, &options);
    if (status && info.has_text) /* none, or of other weights: made anew */
        status = aaclip_text_cache_new(&state->cache, state->model, adapters, &options);
    size_t built = 0;
    progress_start(&state->bar, "text");
    bool good = !failed(status) && build_missing(state, &built);
    progress_end(&state->bar);
    if (good && kept && built)
        good = !failed(aaclip_text_cache_save(state->cache, kept));
    free(kept);
    return good;
}

static bool hash_file(uint64_t *hash, const char *path)
{
    uint8_t bytes[65536];
    FILE *file = fopen(path, "rb");
    if (!file)
        return !complain(PROGRAM, "%s: %s", path, strerror(errno));
    for (size_t count; (count = fread(bytes, 1, sizeof bytes, file)) > 0;)
        *hash = hash_bytes(*hash, bytes, count);
    bool whole = !ferror(file);
    fclose(file);
    return whole || !complain(PROGRAM, "%s: cannot read", path);
}

/* Everything but image and class that decides what an image gives. */
static bool checkpoint_key(const session *state, const evaluation *result, uint64_t *key)
{
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(state->model, &info);
    uint64_t hash = hash_text(HASH_START, aaclip_version_string());
    hash = hash_text(hash, info.fingerprint);
    hash = hash_text(hash, info.backend);
    hash = hash_text(hash, aaclip_precision_name(info.precision));
    hash = hash_text(hash, aaclip_domain_name(state->domain));
    hash = hash_bytes(hash, &state->image_size, sizeof state->image_size);
    hash = hash_text(hash, state->arguments->has_profile || !result->files.count
                               ? aaclip_profile_name(state->config.profile)
                               : "");
    bool good = true;
    for (size_t i = 0; good && i < result->files.count; i++)
        good = hash_file(&hash, result->files.items[i]);
    *key = hash;
    return good;
}

/* The text vectors stand for prompts, phrases and text adapters. */
static uint64_t *class_keys(const session *state, const evaluation *result)
{
    const size_t count = aaclip_dataset_class_count(state->dataset);
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(state->model, &info);
    uint64_t *keys = malloc(count * sizeof *keys), start = 0;
    float *pair = malloc(2 * sizeof *pair * info.embedding);
    bool good = keys && pair && checkpoint_key(state, result, &start);
    for (size_t i = 0; good && i < count; i++) {
        const char *name = aaclip_dataset_class_name(state->dataset, i);
        good = !failed(aaclip_text_cache_get(state->cache, name, pair, pair + info.embedding));
        keys[i] = hash_bytes(hash_text(start, name), pair, 2 * sizeof *pair * info.embedding);
    }
    free(pair);
    if (!good) {
        free(keys);
        return NULL;
    }
    return keys;
}

static bool compute_values(session *state, evaluation *result)
{
    const size_t count = aaclip_metrics_class_count(result->metrics);
    result->values = calloc(count + 1, sizeof *result->values);
    bool good = result->values || !complain(PROGRAM, "out of memory");
    for (size_t i = 0; good && i <= count; i++) {
        result->values[i].size = sizeof *result->values;
        good = !failed(aaclip_metrics_compute(result->metrics, i < count ? i : AACLIP_METRICS_MEAN,
                                              &result->values[i]));
        if (good && i < count)
            good = list_add(&result->classes, aaclip_metrics_class_name(result->metrics, i));
    }
    score_dataset(result, state->domain);
    return good;
}

static bool make_section(session *state, size_t index)
{
    const command_line *arguments = state->arguments;
    if (!arguments->out)
        return true;
    const size_t many = 3, most = 12; /* images shown of each of several checkpoints, of one */
    char *scratch = format_text("%s/cache/thumbnail.png", arguments->out);
    const report_sources sources = {.store = &state->store,
                                    .scratch = scratch,
                                    .side = state->image_size,
                                    .pixels = !arguments->no_pixels,
                                    .worst = state->count > 1 ? many : most};
    size_t size;
    FILE *file = scratch ? open_memstream(&state->sections[index], &size) : NULL;
    if (file)
        report_section(file, &state->results[index], &sources);
    free(scratch);
    return (file && fclose(file) == 0) || !complain(PROGRAM, "out of memory");
}

static bool open_metrics(const session *state, evaluation *result)
{
    aaclip_metrics_options options;
    aaclip_metrics_options_init(&options);
    options.domain = state->domain;
    if (state->arguments->histogram)
        options.mode = AACLIP_METRICS_HISTOGRAM;
    if (state->arguments->no_pixels)
        options.wanted = AACLIP_METRICS_IMAGES;
    return !failed(aaclip_metrics_new(&result->metrics, &options));
}

/* FOLDER/pictures, with a folder for each of several checkpoints. */
static char *pictures_folder(const session *state, const evaluation *result)
{
    return state->count > 1 ? format_text("%s/pictures/%s", state->arguments->out, result->name)
                            : format_text("%s/pictures", state->arguments->out);
}

static bool run_checkpoint(session *state, size_t index, aaclip_detector *detector)
{
    const command_line *arguments = state->arguments;
    evaluation *result = &state->results[index];
    state->image_size = aaclip_detector_image_size(detector);
    uint64_t *keys = class_keys(state, result);
    char *pictures = arguments->pictures ? pictures_folder(state, result) : NULL;
    const evaluation_plan plan = {.detector = detector,
                                  .store = arguments->out ? &state->store : NULL,
                                  .class_keys = keys,
                                  .pictures = pictures,
                                  .pixels = !arguments->no_pixels,
                                  .bar = &state->bar};
    progress_start(&state->bar, result->name);
    bool good = keys && open_metrics(state, result) && evaluate_images(result, &plan);
    progress_end(&state->bar);
    free(pictures);
    free(keys);
    good = good && compute_values(state, result) && make_section(state, index);
    aaclip_metrics_close(&result->metrics);
    return good;
}

static bool evaluate_checkpoint(session *state, size_t index)
{
    const command_line *arguments = state->arguments;
    const evaluation *result = &state->results[index];
    aaclip_adapters *adapters = NULL;
    aaclip_detector *detector = NULL;
    aaclip_detector_options options;
    aaclip_detector_options_init(&options);
    options.domain = state->domain;
    options.image_size = arguments->image_size;
    options.config = &state->config;
    bool good = !result->files.count ||
                !failed(aaclip_adapters_open(
                    &adapters, state->model, (const char *const *)result->files.items,
                    result->files.count, arguments->has_profile ? &state->config : NULL));
    good =
        good && (state->cache || open_cache(state, adapters)) &&
        !failed(aaclip_detector_new(&detector, state->model, adapters, state->cache, &options)) &&
        run_checkpoint(state, index, detector);
    aaclip_detector_close(&detector);
    aaclip_adapters_close(&adapters);
    return good;
}

static bool open_session(session *state)
{
    const command_line *arguments = state->arguments;
    aaclip_model_options model;
    aaclip_model_options_init(&model);
    aaclip_config_init(&state->config, arguments->profile);
    model.backend = arguments->backend;
    model.precision = arguments->precision;
    model.threads = arguments->threads;
    state->domain = arguments->domain;
    if (!arguments->has_domain && arguments->dataset &&
        failed(aaclip_known_dataset_domain(arguments->dataset, &state->domain)))
        return false;
    return open_dataset(state) &&
           !failed(aaclip_model_open(&state->model, arguments->model, &model)) &&
           name_checkpoints(state) &&
           (!arguments->out ||
            (make_folders(arguments->out) && store_open(&state->store, arguments->out)));
}

static void close_result(evaluation *result)
{
    for (size_t i = 0; result->rows && i < result->count; i++)
        free(result->rows[i].failure);
    free(result->rows);
    free(result->values);
    free(result->name);
    list_clear(&result->files);
    list_clear(&result->classes);
}

static void close_session(session *state)
{
    for (size_t i = 0; i < state->count; i++) {
        close_result(&state->results[i]);
        free(state->sections[i]);
    }
    free(state->results);
    free(state->sections);
    store_close(&state->store);
    aaclip_text_cache_close(&state->cache);
    aaclip_model_close(&state->model);
    aaclip_dataset_close(&state->dataset);
}

static json_t *settings_json(const session *state)
{
    const command_line *arguments = state->arguments;
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(state->model, &info);
    const char *data = arguments->data_root ? arguments->data_root : arguments->manifest;
    return json_pack("{s:s, s:o, s:s, s:s, s:s, s:i, s:s, s:o, s:o, s:s, s:s, s:I}", "version",
                     aaclip_version_string(), "model", text_json(info.path), "fingerprint",
                     info.fingerprint, "backend", info.backend, "precision",
                     aaclip_precision_name(info.precision), "image_size", (int)state->image_size,
                     "domain", aaclip_domain_name(state->domain), "dataset",
                     text_json(arguments->dataset ? arguments->dataset : ""), "data",
                     text_json(data ? data : ""), "split", arguments->split, "metrics",
                     arguments->histogram ? "histogram" : "exact", "images",
                     (json_int_t)aaclip_dataset_count(state->dataset));
}

static bool to_stdout(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

static bool write_all_results(const session *state)
{
    const command_line *arguments = state->arguments;
    json_t *settings = settings_json(state);
    bool good = settings || !complain(PROGRAM, "out of memory");
    if (good && arguments->out) {
        char *path = format_text("%s/report.html", arguments->out);
        good = path && write_report(path, settings, state->results, state->sections, state->count);
        free(path);
    }
    if (arguments->csv)
        good = write_scores_csv(arguments->csv, state->results, state->count) && good;
    if (arguments->json)
        return write_results_json(arguments->json, settings, state->results, state->count) && good;
    json_decref(settings);
    return good;
}

static bool run(session *state)
{
    const command_line *arguments = state->arguments;
    const bool table = !to_stdout(arguments->json) && !to_stdout(arguments->csv);
    size_t failures = 0;
    for (size_t i = 0; i < state->count; i++) {
        if (!evaluate_checkpoint(state, i))
            return false;
        if (table)
            print_table(&state->results[i]);
        fflush(stdout);
        failures += state->results[i].failed;
    }
    bool written = write_all_results(state);
    if (failures)
        complain(PROGRAM, "%zu of %zu images failed", failures,
                 state->count * state->results[0].count);
    return written && !failures;
}

int main(int argc, char **argv)
{
    command_line arguments = {.layout = "auto", .split = "test"};
    session state = {.arguments = &arguments};
    parse_result parsed = parse(&arguments, argc, argv);
    bool done = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN) {
        show_log(arguments.verbose);
        done = open_session(&state) && run(&state);
    }
    close_session(&state);
    list_clear(&arguments.adapters);
    list_clear(&arguments.classes);
    return done ? 0 : 1;
}
