/* aaclip-train: trains text adapters, then image adapters. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"

#define PROGRAM "aaclip-train"

/* Options that each stage has its own values of. */
typedef struct stage_line {
    unsigned epochs, batch_size;
    double learning_rate;
} stage_line;

typedef struct command_line {
    const char *model, *vocabulary, *prompts, *backend, *dataset, *data_root, *manifest;
    const char *training_mode, *save_path, *log, *levels, *scales;
    string_list initial;
    bool has_profile, has_text_weight, has_image_weight, resume, outside_paths, no_augmentation,
        no_shuffle, recompute, balanced, plain_text, has_shot, verbose;
    aaclip_profile profile;
    aaclip_precision precision;
    unsigned threads, image_size, shot, accumulate, max_steps, save_steps, seed;
    unsigned text_adapt_until, image_adapt_until, surgery_blocks;
    double text_adapt_weight, image_adapt_weight, text_norm_weight;
    value_window window;
    stage_line text, image;
} command_line;

/* Everything that is open. */
typedef struct training {
    const command_line *arguments;
    aaclip_model *model;
    aaclip_dataset *dataset;
    aaclip_adapters *initial, *text_adapters;
    aaclip_text_cache *cache;
    aaclip_trainer *trainer;
    aaclip_config config;
    progress_bar bar;
    /* of the current stage */
    const char *latest, *name;
    unsigned epochs;
    uint64_t first_step;
    bool save_failed;
} training;

static volatile sig_atomic_t interrupted;

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE (--dataset NAME | --data-root FOLDER | --manifest FILE)\n"
    "       --save-path FOLDER [options]\n"
    "\n"
    "Trains text adapters (stage 1), then image adapters (stage 2). Writes text_adapter.pth,\n"
    "image_adapter_N.pth after epoch N and image_adapter_latest.pth to the folder. A stage\n"
    "finished there is not trained again. Options may be written with underscores.\n"
    "\n"
    "  --model FILE             CLIP checkpoint (OpenAI, Hugging Face, open_clip), or the name\n"
    "                           aaclip-mini for the one that is included\n"
    "  --vocab FILE             bpe_simple_vocab_16e6.txt.gz or merges.txt [next to the model]\n"
    "  --dataset NAME           known data set, for the phrases of its classes\n"
    "  --data-root FOLDER       where the images are [data/NAME]\n"
    "  --manifest FILE          JSON lines of samples; paths relative to the data root, or, if\n"
    "                           there is none, to its own folder\n"
    "  --outside-paths          its files may lie outside the data root\n"
    "  --window LOW,HIGH        values of 16-bit photos that become 0 to 255, for scans of 10 to\n"
    "                           16 bits [colour: the upper 8 bits; grey: clipped at 255]\n"
    "  --training-mode M        few_shot or full_shot [full_shot]\n"
    "  --shot N                 few_shot: N normal and N abnormal images per class [32]; the\n"
    "                           paper's 2-shot is --shot 1, its 64-shot --shot 32\n"
    "  --text-epoch N           [5]     --image-epoch N         [20]\n"
    "  --text-batch-size N      [16]    --image-batch-size N    [2]\n"
    "  --text-lr X              [1e-5]  --image-lr X            [5e-4]\n"
    "  --accumulate N           batches per step of stage 2 [1]\n"
    "  --profile P              document or published [document, or from --init]\n"
    "  --text-adapt-weight X    [0.1]   --image-adapt-weight X  [0.1]\n"
    "  --text-adapt-until N     [3]     --image-adapt-until N   [6]; 0: the default\n"
    "  --text-norm-weight X     weight of the orthogonal loss [0.1]\n"
    "  --levels N,N,...         blocks whose patches are used [6,12,18,24]\n"
    "  --stage1-scales S        sum or last [sum; published: last]\n"
    "  --surgery-blocks N       last blocks with value-value attention in stage 1 [19 of 24];\n"
    "                           0: the default\n"
    "  --balanced-focal         weight pixels by the share of the other kind\n"
    "  --img-size N             side of the network's input in pixels [518 for a 336 checkpoint]\n"
    "  --plain-text             no stage 1: stage 2 with the text vectors of plain CLIP\n"
    "  --prompts FILE           JSON prompt set instead of the profile's\n"
    "  --init FILE              start from these adapters, with a fresh optimizer; repeatable\n"
    "  --resume                 continue an unfinished run in the folder\n"
    "  --no-augmentation        resize only\n"
    "  --no-shuffle             keep the samples in the order of the list\n"
    "  --max-steps N            stop each stage after N optimizer steps\n"
    "  --save-steps N           also save every N steps [only at the end of an epoch]\n"
    "  --seed N                 [0]\n"
    "  --recompute              less memory in stage 2, a third more time\n"
    "  --precision P            f32, bf16, auto or tf32 [f32]\n"
    "  --backend NAME           onednn, blas, simd, reference, cuda or cuda:N [the best]\n"
    "  --threads N              [all processors]\n"
    "  --log FILE               append one JSON object per step\n"
    "  --verbose                show the library's messages\n"
    "  --help, --version\n";

static bool failed(aaclip_status status)
{
    return reported(status, PROGRAM);
}

static bool is_few(const command_line *arguments)
{
    return strncmp(arguments->training_mode, "few", 3) == 0;
}

/* The library's own check, which for stage 2 would come only after stage 1 has been trained. */
static bool check_stage(const char *name, const stage_line *line)
{
    const double least = 1e-300, most = 1e6;
    if (!line->batch_size)
        return !complain(PROGRAM, "--%s-batch-size: expected 1 to 65536, found 0", name);
    return (line->learning_rate >= least && line->learning_rate <= most) ||
           !complain(PROGRAM, "--%s-lr: expected a positive number, at most %g, found %g", name,
                     most, line->learning_rate);
}

static bool check_arguments(const command_line *arguments)
{
    const char *mode = arguments->training_mode;
    if (!arguments->model)
        return !complain(PROGRAM, "--model is missing; see --help");
    if (!arguments->save_path || !*arguments->save_path)
        return !complain(PROGRAM, "--save-path is missing");
    if (!arguments->dataset && !arguments->manifest && !arguments->data_root)
        return !complain(PROGRAM, "--dataset, --manifest or --data-root is missing");
    if (strcmp(mode, "few-shot") != 0 && strcmp(mode, "few_shot") != 0 &&
        strcmp(mode, "full-shot") != 0 && strcmp(mode, "full_shot") != 0)
        return !complain(PROGRAM, "--training-mode: expected few_shot or full_shot, found '%s'",
                         mode);
    if (arguments->scales && strcmp(arguments->scales, "sum") != 0 &&
        strcmp(arguments->scales, "last") != 0)
        return !complain(PROGRAM, "--stage1-scales: expected sum or last, found '%s'",
                         arguments->scales);
    if (arguments->has_shot && !is_few(arguments))
        return !complain(PROGRAM, "--shot needs --training-mode few_shot");
    if (!arguments->shot)
        return !complain(PROGRAM, "--shot: expected 1 or more, found 0");
    if (!arguments->accumulate)
        return !complain(PROGRAM, "--accumulate: expected 1 to 65536, found 0");
    return check_stage("text", &arguments->text) && check_stage("image", &arguments->image);
}

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"model", OPTION_MODEL, &arguments->model, 0, NULL},
        {"vocab", OPTION_TEXT, &arguments->vocabulary, 0, NULL},
        {"prompts", OPTION_TEXT, &arguments->prompts, 0, NULL},
        {"dataset", OPTION_TEXT, &arguments->dataset, 0, NULL},
        {"data-root", OPTION_TEXT, &arguments->data_root, 0, NULL},
        {"manifest", OPTION_TEXT, &arguments->manifest, 0, NULL},
        {"outside-paths", OPTION_FLAG, &arguments->outside_paths, 0, NULL},
        {"window", OPTION_WINDOW, &arguments->window, 0, NULL},
        {"training-mode", OPTION_TEXT, &arguments->training_mode, 0, NULL},
        {"shot", OPTION_NUMBER, &arguments->shot, 1000000, &arguments->has_shot},
        {"text-epoch", OPTION_NUMBER, &arguments->text.epochs, 1000000, NULL},
        {"image-epoch", OPTION_NUMBER, &arguments->image.epochs, 1000000, NULL},
        {"text-batch-size", OPTION_NUMBER, &arguments->text.batch_size, 65536, NULL},
        {"image-batch-size", OPTION_NUMBER, &arguments->image.batch_size, 65536, NULL},
        {"text-lr", OPTION_REAL, &arguments->text.learning_rate, 0, NULL},
        {"image-lr", OPTION_REAL, &arguments->image.learning_rate, 0, NULL},
        {"accumulate", OPTION_NUMBER, &arguments->accumulate, 65536, NULL},
        {"profile", OPTION_PROFILE, &arguments->profile, 0, &arguments->has_profile},
        {"text-adapt-weight", OPTION_REAL, &arguments->text_adapt_weight, 0,
         &arguments->has_text_weight},
        {"image-adapt-weight", OPTION_REAL, &arguments->image_adapt_weight, 0,
         &arguments->has_image_weight},
        {"text-adapt-until", OPTION_NUMBER, &arguments->text_adapt_until, 4096, NULL},
        {"image-adapt-until", OPTION_NUMBER, &arguments->image_adapt_until, 4096, NULL},
        {"levels", OPTION_TEXT, &arguments->levels, 0, NULL},
        {"text-norm-weight", OPTION_REAL, &arguments->text_norm_weight, 0, NULL},
        {"stage1-scales", OPTION_TEXT, &arguments->scales, 0, NULL},
        {"surgery-blocks", OPTION_NUMBER, &arguments->surgery_blocks, 4096, NULL},
        {"balanced-focal", OPTION_FLAG, &arguments->balanced, 0, NULL},
        {"plain-text", OPTION_FLAG, &arguments->plain_text, 0, NULL},
        {"img-size", OPTION_NUMBER, &arguments->image_size, 8192, NULL},
        {"image-size", OPTION_NUMBER, &arguments->image_size, 8192, NULL},
        {"init", OPTION_LIST, &arguments->initial, 0, NULL},
        {"save-path", OPTION_TEXT, &arguments->save_path, 0, NULL},
        {"resume", OPTION_FLAG, &arguments->resume, 0, NULL},
        {"no-augmentation", OPTION_FLAG, &arguments->no_augmentation, 0, NULL},
        {"no-shuffle", OPTION_FLAG, &arguments->no_shuffle, 0, NULL},
        {"max-steps", OPTION_NUMBER, &arguments->max_steps, 1000000000, NULL},
        {"save-steps", OPTION_NUMBER, &arguments->save_steps, 1000000000, NULL},
        {"seed", OPTION_NUMBER, &arguments->seed, 4294967295u, NULL},
        {"recompute", OPTION_FLAG, &arguments->recompute, 0, NULL},
        {"precision", OPTION_PRECISION, &arguments->precision, 0, NULL},
        {"backend", OPTION_TEXT, &arguments->backend, 0, NULL},
        {"threads", OPTION_NUMBER, &arguments->threads, 4096, NULL},
        {"log", OPTION_TEXT, &arguments->log, 0, NULL},
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

static bool parse_levels(aaclip_config *config, const char *text)
{
    config->level_count = 0;
    while (*text && config->level_count < AACLIP_MAX_LEVELS) {
        char *end;
        unsigned long level = strtoul(text, &end, 10);
        if (end == text || level == 0 || level > 4096 || (*end && *end != ','))
            break;
        config->levels[config->level_count++] = (uint32_t)level;
        if (!*end)
            return true;
        text = end + 1;
    }
    return !complain(PROGRAM, "--levels: expected at most %d numbers of blocks, like 6,12,18,24",
                     AACLIP_MAX_LEVELS);
}

/* The command line overrides profile and adapters. */
static bool apply_options(training *session)
{
    const command_line *arguments = session->arguments;
    aaclip_config *config = &session->config;
    if (arguments->has_text_weight)
        config->text_adapter_weight = (float)arguments->text_adapt_weight;
    if (arguments->has_image_weight)
        config->image_adapter_weight = (float)arguments->image_adapt_weight;
    if (arguments->text_adapt_until)
        config->text_adapter_layers = arguments->text_adapt_until;
    if (arguments->image_adapt_until)
        config->image_adapter_layers = arguments->image_adapt_until;
    return !arguments->levels || parse_levels(config, arguments->levels);
}

static bool make_config(training *session)
{
    aaclip_config_init(&session->config, session->arguments->profile);
    return apply_options(session);
}

static char *join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s/%s", folder, name);
    else
        complain(PROGRAM, "out of memory");
    return path;
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* Must be writable, or the first epoch would be lost. */
static bool make_folder(const char *path)
{
    char *inside = join(path, ".");
    bool made = inside && make_folders(path, PROGRAM);
    if (made && access(inside, W_OK) != 0)
        made = !complain(PROGRAM, "%s: %s", path, strerror(errno));
    free(inside);
    return made;
}

/* Few-shot: the drawn samples are written next to the checkpoints. */
static bool draw_shots(training *session)
{
    const command_line *arguments = session->arguments;
    aaclip_dataset *drawn = NULL;
    char *path = join(arguments->save_path, "samples.jsonl");
    bool done = path &&
                !failed(aaclip_dataset_sample(&drawn, session->dataset, arguments->shot,
                                              arguments->seed)) &&
                !failed(aaclip_dataset_save_manifest(drawn, path));
    free(path);
    if (!done) {
        aaclip_dataset_close(&drawn);
        return false;
    }
    aaclip_dataset_close(&session->dataset);
    session->dataset = drawn;
    return true;
}

static bool open_dataset(training *session)
{
    const command_line *arguments = session->arguments;
    aaclip_dataset_options options;
    aaclip_dataset_options_init(&options);
    if (arguments->data_root || arguments->dataset) /* else the manifest stands for its folder */
        options.manifest = arguments->manifest;
    options.outside_paths = arguments->outside_paths;
    options.window_low = arguments->window.low;
    options.window_high = arguments->window.high;
    options.masks = AACLIP_MASKS_REQUIRED;
    options.class_name = only_class(arguments->dataset);
    char *standard = arguments->data_root ? strdup(arguments->data_root)
                     : arguments->dataset ? join("data", arguments->dataset)
                                          : strdup(arguments->manifest);
    bool opened = standard && !failed(aaclip_dataset_open(&session->dataset, standard, &options));
    free(standard);
    return opened && (!is_few(arguments) || draw_shots(session));
}

static bool open_adapters(training *session, const aaclip_config *config)
{
    const string_list *files = &session->arguments->initial;
    aaclip_adapters_close(&session->initial);
    return !failed(aaclip_adapters_open(&session->initial, session->model,
                                        (const char *const *)files->items, files->count, config));
}

static bool has_options(const command_line *arguments)
{
    return arguments->has_text_weight || arguments->has_image_weight ||
           arguments->text_adapt_until || arguments->image_adapt_until || arguments->levels;
}

/* Profile and configuration come from the initial adapters unless the command line gives them. */
static bool open_initial(training *session)
{
    const command_line *arguments = session->arguments;
    if (!arguments->initial.count)
        return true;
    if (!arguments->has_profile) {
        if (!open_adapters(session, NULL) ||
            failed(aaclip_adapters_get_config(session->initial, &session->config)))
            return false;
        if (!has_options(arguments))
            return true;
        if (!apply_options(session))
            return false;
    }
    return open_adapters(session, &session->config) &&
           !failed(aaclip_adapters_get_config(session->initial, &session->config));
}

static bool open_session(training *session)
{
    const command_line *arguments = session->arguments;
    aaclip_model_options model;
    aaclip_model_options_init(&model);
    model.backend = arguments->backend;
    model.precision = arguments->precision;
    model.threads = arguments->threads;
    if (!make_config(session) || !make_folder(arguments->save_path) ||
        failed(aaclip_model_open(&session->model, arguments->model, &model)) ||
        !open_dataset(session))
        return false;
    return open_initial(session);
}

static void close_session(training *session)
{
    aaclip_trainer_close(&session->trainer);
    aaclip_text_cache_close(&session->cache);
    aaclip_adapters_close(&session->text_adapters);
    aaclip_adapters_close(&session->initial);
    aaclip_dataset_close(&session->dataset);
    aaclip_model_close(&session->model);
}

static void stop(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* Also when the rest is to stop. */
static bool save(training *session, const char *path)
{
    const volatile int *watched = aaclip_watch_cancel(NULL);
    aaclip_status status = aaclip_trainer_save(session->trainer, path);
    aaclip_watch_cancel(watched);
    return !failed(status);
}

/* "1:02:03" */
static void format_time(double seconds, char *text, size_t size)
{
    unsigned long whole = seconds > 0 ? (unsigned long)seconds : 0;
    snprintf(text, size, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
}

static void show_progress(training *session, const aaclip_training_progress *progress)
{
    uint64_t total = session->epochs * progress->epoch_steps;
    double spent = seconds_now() - session->bar.started;
    uint64_t done = progress->step - session->first_step;
    uint64_t left = total > progress->step ? total - progress->step : 0;
    char time_left[32];
    format_time(spent / (double)done * (double)left, time_left, sizeof time_left);
    snprintf(session->bar.detail, sizeof session->bar.detail,
             "epoch %llu/%u, loss %.4f, %.2f images/s, %s left",
             (unsigned long long)progress->epoch, session->epochs, progress->losses->total,
             progress->images_per_second, time_left);
    progress_update(&session->bar, progress->step, total);
}

static bool after_step(const aaclip_training_progress *progress, void *user)
{
    training *session = user;
    const command_line *arguments = session->arguments;
    show_progress(session, progress);
    if (progress->epoch_step == progress->epoch_steps)
        return true; /* run_epochs saves and stops */
    if (arguments->save_steps && progress->step % arguments->save_steps == 0)
        session->save_failed = !save(session, session->latest);
    bool enough = arguments->max_steps && progress->step >= arguments->max_steps;
    return !interrupted && !session->save_failed && !enough;
}

/* What a file in the folder says about a stage: nothing, unfinished, finished. */
static bool take_up(training *session, const char *path, bool *finished)
{
    aaclip_training_progress progress = {.size = sizeof progress};
    *finished = false;
    if (!exists(path))
        return true;
    if (failed(aaclip_trainer_load(session->trainer, path)) ||
        failed(aaclip_trainer_get_progress(session->trainer, &progress)))
        return false;
    uint64_t total = session->epochs * progress.epoch_steps;
    bool between = progress.epoch_step == progress.epoch_steps; /* as other programs also save */
    *finished = progress.step >= total || (between && progress.epoch >= session->epochs);
    session->first_step = progress.step;
    if (*finished || session->arguments->resume)
        return true;
    return !complain(PROGRAM,
                     "%s: has a run at step %llu of %llu; give --resume to continue it, or another "
                     "--save-path",
                     path, (unsigned long long)progress.step, (unsigned long long)total);
}

static void print_epoch(const training *session, unsigned epoch, const aaclip_losses *losses)
{
    printf("%s epoch %u/%u: loss %.6f (focal %.6f, dice %.6f + %.6f, %s %.6f)\n", session->name,
           epoch, session->epochs, losses->total, losses->focal, losses->dice_normal,
           losses->dice_abnormal, strcmp(session->name, "text") == 0 ? "orthogonal" : "class",
           strcmp(session->name, "text") == 0 ? losses->orthogonal : losses->classification);
    fflush(stdout);
}

/* image_adapter_N.pth */
static bool save_epoch(training *session, unsigned epoch)
{
    char name[64];
    snprintf(name, sizeof name, "%s_adapter_%u.pth", session->name, epoch);
    char *path = join(session->arguments->save_path, name);
    bool saved = path && save(session, path);
    free(path);
    return saved;
}

/*
 * Epoch after epoch; a stop by --max-steps or a signal saves the current state. `latest` is written
 * last, so a run that resumes from it has the files of all finished epochs.
 */
static bool run_epochs(training *session, bool each_epoch)
{
    aaclip_training_progress progress = {.size = sizeof progress};
    aaclip_status status = AACLIP_OK;
    bool good = true;
    while (good && !status) {
        aaclip_trainer_get_progress(session->trainer, &progress);
        unsigned most = session->arguments->max_steps;
        if (progress.step >= session->epochs * progress.epoch_steps ||
            (most && progress.step >= most))
            return true;
        aaclip_losses losses = {.size = sizeof losses};
        status = aaclip_trainer_epoch(session->trainer, &losses);
        if (status)
            break;
        aaclip_trainer_get_progress(session->trainer, &progress);
        progress_end(&session->bar);
        print_epoch(session, (unsigned)progress.epoch, &losses);
        good = (!each_epoch || save_epoch(session, (unsigned)progress.epoch)) &&
               save(session, session->latest) && !interrupted;
    }
    if (status == AACLIP_ERROR_CANCELLED && !session->save_failed) {
        good = save(session, session->latest);
        return good && !interrupted;
    }
    return good && !failed(status);
}

static void fill_options(const training *session, aaclip_trainer_options *options,
                         const stage_line *line)
{
    const command_line *arguments = session->arguments;
    options->config = &session->config;
    options->initial = session->initial;
    options->image_size = arguments->image_size;
    options->batch_size = line->batch_size;
    options->learning_rate = line->learning_rate;
    options->orthogonal_weight = arguments->text_norm_weight;
    options->surgery_blocks = arguments->surgery_blocks;
    options->balanced_focal = arguments->balanced;
    options->seed = arguments->seed;
    options->no_augmentation = arguments->no_augmentation;
    options->no_shuffle = arguments->no_shuffle;
    options->recompute = arguments->recompute;
    options->log = arguments->log;
    options->callback = after_step;
    options->callback_user = (void *)session;
    options->vocabulary = arguments->vocabulary;
    options->prompts = arguments->prompts;
    options->phrases = arguments->dataset;
    if (arguments->scales)
        options->scales =
            strcmp(arguments->scales, "last") == 0 ? AACLIP_SCALES_LAST : AACLIP_SCALES_SUM;
}

/* Trains a stage unless it is finished in the folder; `latest` holds its state. */
static bool run_stage(training *session, aaclip_stage stage, const stage_line *line,
                      const char *latest)
{
    aaclip_trainer_options options;
    aaclip_trainer_options_init(&options, stage, session->config.profile);
    fill_options(session, &options, line);
    bool text = stage == AACLIP_STAGE_TEXT, finished = false;
    if (!text)
        options.accumulate = session->arguments->accumulate;
    session->latest = latest;
    session->name = text ? "text" : "image";
    session->epochs = line->epochs;
    session->first_step = 0;
    if (failed(aaclip_trainer_new(&session->trainer, session->model, session->dataset,
                                  text ? NULL : session->cache, &options)) ||
        !take_up(session, latest, &finished))
        return false;
    if (finished)
        printf("%s: finished before, kept: %s\n", session->name, latest);
    progress_start(&session->bar, session->name);
    bool done = finished || run_epochs(session, !text);
    progress_end(&session->bar);
    return done;
}

/* Stage 1, or the text adapters that replace it: from the folder, or from --init. */
static bool text_stage(training *session)
{
    const command_line *arguments = session->arguments;
    if (arguments->plain_text)
        return true;
    char *latest = join(arguments->save_path, "text_adapter.pth");
    const char *const paths[] = {latest};
    bool done = latest != NULL;
    if (done && arguments->text.epochs) {
        done = run_stage(session, AACLIP_STAGE_TEXT, &arguments->text, latest) &&
               !failed(aaclip_trainer_adapters(&session->text_adapters, session->trainer));
        aaclip_trainer_close(&session->trainer);
    } else if (done && exists(latest)) {
        done =
            !failed(aaclip_adapters_open(&session->text_adapters, session->model, paths, 1, NULL));
    }
    free(latest);
    return done;
}

static bool build_progress(size_t done, size_t total, void *user)
{
    progress_update(user, done, total);
    return !interrupted;
}

/* The text vectors of all classes, once for all of stage 2. */
static bool build_cache(training *session)
{
    const command_line *arguments = session->arguments;
    const aaclip_adapters *trained =
        session->text_adapters ? session->text_adapters : session->initial;
    if (arguments->plain_text)
        trained = NULL;
    else if (!aaclip_adapters_has_text(trained))
        return !complain(PROGRAM,
                         "stage 2 needs text adapters: --text-epoch, --init, --plain-text, or a "
                         "text_adapter.pth in %s",
                         arguments->save_path);
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.vocabulary = arguments->vocabulary;
    options.prompts = arguments->prompts;
    options.config = &session->config; /* with --plain-text: as detection will use */
    options.progress = build_progress;
    options.progress_user = &session->bar;
    bool done = !failed(aaclip_text_cache_new(&session->cache, session->model, trained, &options));
    progress_start(&session->bar, "text vectors");
    string_list names = {0};
    for (size_t i = 0; done && i < aaclip_dataset_class_count(session->dataset); i++)
        done = list_add(&names, aaclip_dataset_class_name(session->dataset, i)) ||
               !complain(PROGRAM, "out of memory");
    done = done && !failed(build_classes(session->cache, arguments->dataset, NULL, &names));
    list_clear(&names);
    progress_end(&session->bar);
    return done;
}

static bool image_stage(training *session)
{
    const command_line *arguments = session->arguments;
    if (!arguments->image.epochs)
        return true;
    char *latest = join(arguments->save_path, "image_adapter_latest.pth");
    bool done = latest && build_cache(session) &&
                run_stage(session, AACLIP_STAGE_IMAGE, &arguments->image, latest);
    free(latest);
    return done;
}

int main(int argc, char **argv)
{
    command_line arguments = {.training_mode = "full_shot",
                              .shot = 32,
                              .accumulate = 1,
                              .text_norm_weight = 0.1,
                              .text = {5, 16, 1e-5},
                              .image = {20, 2, 5e-4}};
    training session = {.arguments = &arguments};
    parse_result parsed = parse(&arguments, argc, argv);
    bool done = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN) {
        signal(SIGINT, stop);
        signal(SIGTERM, stop);
        aaclip_watch_cancel(&interrupted);
        show_log(arguments.verbose);
        done = open_session(&session) && text_stage(&session) && image_stage(&session);
        if (interrupted)
            complain(PROGRAM, "interrupted; --resume continues");
    }
    close_session(&session);
    list_clear(&arguments.initial);
    return end_program(done ? 0 : 1, PROGRAM);
}
