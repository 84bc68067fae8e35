/* aaclip-bench train: speed and memory of a step of either stage, and the cost of a class's
 * prompts.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cancel.h"
#include "options.h"
#include "roofline.h"

#define PROGRAM "aaclip-bench train"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE [options]\n"
    "\n"
    "Measures optimizer steps on generated images, interleaved with bare oneDNN matrix products;\n"
    "in stage 2 with a vocabulary also the prompts of one class against as many prompts padded to\n"
    "the full context. FLOP are those that a step needs in stage 2, and those that its operations\n"
    "did in stage 1. The last lines are the results.\n"
    "\n"
    "  --stage N          1: text adapters (needs a vocabulary); 2: image adapters [2]\n"
    "  --operations       a table of the operations by shape: milliseconds, rates and "
    "shares\n" CANCEL_HELP
    "  --model FILE       CLIP checkpoint, or the name aaclip-mini\n"
    "  --vocab FILE       vocabulary\n"
    "  --profile P        document or published [document]\n"
    "  --batch-size N     [16 in stage 1, 2 in stage 2]\n"
    "  --image-size N     side of the network's input in pixels\n"
    "  --recompute        keep only block inputs\n"
    "  --precision P      f32, bf16, auto or tf32 [f32]\n"
    "  --backend NAME     [the best available]\n"
    "  --threads N        [all processors]\n"
    "  --repeat N         timed steps [3]\n"
    "  --json FILE        also write the results as JSON; - is stdout\n"
    "  --help, --version\n";

typedef struct command_line {
    const char *model, *vocabulary, *backend, *json;
    aaclip_profile profile;
    aaclip_precision precision;
    unsigned stage, batch_size, image_size, threads, repeat;
    bool recompute, operations, cancel;
} command_line;

typedef struct bench_run {
    const command_line *arguments;
    aaclip_model *model;
    aaclip_model_info info;
    aaclip_config config;
    aaclip_text_cache *cache;
    aaclip_dataset *dataset;
    aaclip_trainer *trainer;
    char folder[TEMPORARY_SIZE];
} bench_run;

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"model", OPTION_MODEL, &arguments->model, 0, NULL},
        {"vocab", OPTION_TEXT, &arguments->vocabulary, 0, NULL},
        {"profile", OPTION_PROFILE, &arguments->profile, 0, NULL},
        {"stage", OPTION_NUMBER, &arguments->stage, 2, NULL},
        {"operations", OPTION_FLAG, &arguments->operations, 0, NULL},
        {"cancel", OPTION_FLAG, &arguments->cancel, 0, NULL},
        {"batch-size", OPTION_NUMBER, &arguments->batch_size, 1024, NULL},
        {"image-size", OPTION_NUMBER, &arguments->image_size, 8192, NULL},
        {"recompute", OPTION_FLAG, &arguments->recompute, 0, NULL},
        {"precision", OPTION_PRECISION, &arguments->precision, 0, NULL},
        {"backend", OPTION_TEXT, &arguments->backend, 0, NULL},
        {"threads", OPTION_NUMBER, &arguments->threads, 4096, NULL},
        {"repeat", OPTION_NUMBER, &arguments->repeat, 1000, NULL},
        {"json", OPTION_TEXT, &arguments->json, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result != PARSE_RUN)
        return result;
    if (!arguments->batch_size)
        arguments->batch_size = arguments->stage == 1 ? 16 : 2;
    if (arguments->model && !rest.count && arguments->repeat && arguments->stage)
        return PARSE_RUN;
    if (!arguments->stage)
        complain(PROGRAM, "--stage: expected 1 or 2, found 0");
    else
        complain(PROGRAM, "expected --model FILE; see --help");
    return PARSE_WRONG;
}

static bool failed(aaclip_status status)
{
    return reported(status, PROGRAM);
}

static char *path_in(const bench_run *bench, const char *name)
{
    static char path[TEMPORARY_SIZE + 32];
    snprintf(path, sizeof path, "%s/%s", bench->folder, name);
    return path;
}

/* An image and its mask, white over the right half. */
static bool write_pictures(const bench_run *bench)
{
    const uint32_t side = 512;
    uint8_t *rgb = generate_picture(side, side);
    aaclip_image_view view = {rgb, side, side, 0, AACLIP_PIXEL_RGB8};
    bool written = rgb && !failed(aaclip_write_png(path_in(bench, "image.png"), &view));
    for (uint32_t i = 0; written && i < side * side; i++)
        memset(rgb + 3 * (size_t)i, i % side < side / 2 ? 0 : 255, 3);
    written = written && !failed(aaclip_write_png(path_in(bench, "mask.png"), &view));
    free(rgb);
    return written;
}

/* Alternating normal and abnormal samples, enough for all steps: an epoch starts with none loaded.
 */
static bool make_dataset(bench_run *bench)
{
    char *manifest = path_in(bench, "list.jsonl");
    FILE *list = fopen(manifest, "w");
    if (!list)
        return !complain(PROGRAM, "%s: cannot write", manifest);
    unsigned count = bench->arguments->batch_size * (bench->arguments->repeat + 2);
    for (unsigned i = 0; i < count || i < 2; i++)
        fprintf(list,
                "{\"image_path\": \"image.png\", \"label\": %u, \"class_name\": \"object\"%s}\n",
                i % 2, i % 2 ? ", \"mask_path\": \"mask.png\"" : "");
    return fclose(list) == 0 && write_pictures(bench) &&
           !failed(aaclip_dataset_open(&bench->dataset, path_in(bench, "list.jsonl"), NULL));
}

static bool open_model(bench_run *bench)
{
    const command_line *arguments = bench->arguments;
    aaclip_model_options options;
    aaclip_model_options_init(&options);
    options.backend = arguments->backend;
    options.precision = arguments->precision;
    options.threads = arguments->threads;
    aaclip_config_init(&bench->config, arguments->profile);
    bench->info.size = sizeof bench->info;
    return !failed(aaclip_model_open(&bench->model, arguments->model, &options)) &&
           !failed(aaclip_model_get_info(bench->model, &bench->info));
}

static bool open_cache(bench_run *bench)
{
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.vocabulary = bench->arguments->vocabulary;
    options.config = &bench->config;
    options.truncate = true;
    float *pair = calloc(2 * (size_t)bench->info.embedding, sizeof *pair);
    if (!pair)
        return !complain(PROGRAM, "out of memory");
    pair[0] = pair[bench->info.embedding + 1] = 1.0f;
    bool opened =
        !failed(aaclip_text_cache_new(&bench->cache, bench->model, NULL, &options)) &&
        !failed(aaclip_text_cache_add(bench->cache, "object", pair, pair + bench->info.embedding));
    free(pair);
    return opened;
}

static bool open_trainer(bench_run *bench)
{
    const command_line *arguments = bench->arguments;
    const bool text = arguments->stage == 1;
    aaclip_trainer_options options;
    aaclip_adapters *adapters = NULL;
    aaclip_trainer_options_init(&options, text ? AACLIP_STAGE_TEXT : AACLIP_STAGE_IMAGE,
                                arguments->profile);
    options.batch_size = arguments->batch_size;
    options.image_size = arguments->image_size;
    options.recompute = arguments->recompute;
    options.vocabulary = arguments->vocabulary;
    options.truncate = true;
    bool opened = !failed(aaclip_trainer_new(&bench->trainer, bench->model, bench->dataset,
                                             text ? NULL : bench->cache, &options)) &&
                  !failed(aaclip_trainer_adapters(&adapters, bench->trainer)) &&
                  !failed(aaclip_adapters_get_config(adapters, &bench->config));
    aaclip_adapters_close(&adapters);
    return opened;
}

/* As the library chooses it. */
static uint32_t image_size(const bench_run *bench)
{
    const uint32_t trained = bench->info.trained_image_size, patch = bench->info.patch_size;
    if (bench->arguments->image_size)
        return bench->arguments->image_size;
    return trained == 336 ? 518 / patch * patch : trained;
}

static double needed_gflop(const bench_run *bench)
{
    uint32_t size = image_size(bench);
    return bench->arguments->batch_size * (forward_gflop(&bench->info, &bench->config, size) +
                                           backward_gflop(&bench->info, &bench->config, size));
}

static bool measure_step(bench_run *bench, const roofline *bare, report *run)
{
    const command_line *arguments = bench->arguments;
    aaclip_profiler *profiler = NULL;
    double gflops = roofline_gflops(bare);
    if (arguments->operations || arguments->stage == 1)
        report_profile_begin(run, &profiler);
    double now = seconds_now();
    bool good = !failed(aaclip_trainer_step(bench->trainer, NULL));
    double seconds = seconds_now() - now;
    if (profiler)
        report_profile_end(run, &profiler, seconds);
    double work = arguments->stage == 1 ? report_last_gflop(run) : needed_gflop(bench);
    report_value(run, "step_s", "s", "less", seconds);
    report_value(run, "gflop", "GFLOP", "", work);
    roofline_report(run, gflops, work / seconds);
    return good;
}

/* The first step, which touches all memory, is not timed. */
static bool measure_steps(bench_run *bench, report *run)
{
    unsigned repeat = bench->arguments->repeat;
    roofline *bare =
        roofline_new(bench->info.backend, bench->info.precision, (int)bench->info.threads);
    progress_bar bar;
    progress_start(&bar, "steps");
    bool good = !failed(aaclip_trainer_step(bench->trainer, NULL));
    for (unsigned i = 0; good && i < repeat; i++) {
        good = measure_step(bench, bare, run);
        progress_update(&bar, i + 1, repeat);
    }
    progress_end(&bar);
    report_value(run, "peak_memory_mb", "MB", "less", peak_memory_mb());
    if (bench->arguments->operations)
        roofline_report_copy(run, bench->info.backend, (int)bench->info.threads);
    roofline_free(bare);
    return good;
}

/* As many prompts as a class has in the document profile, each as long as the context. */
#define PADDED_PROMPTS 112

static bool encode_padded(bench_run *bench, float *vectors)
{
    static char texts[PADDED_PROMPTS][1024];
    const char *prompts[PADDED_PROMPTS];
    for (int i = 0; i < PADDED_PROMPTS; i++) {
        int used = snprintf(texts[i], sizeof texts[i], "%d", i + 1000);
        while (used < 1000)
            used += snprintf(texts[i] + used, sizeof texts[i] - (size_t)used, " nut");
        prompts[i] = texts[i];
    }
    return !failed(aaclip_text_cache_encode(bench->cache, prompts, PADDED_PROMPTS, vectors));
}

/* Alternating, after the tower has been prepared. */
static bool measure_text(bench_run *bench, report *run)
{
    static const char *const name[] = {"metal_nut"}, *const phrase[] = {"metal nut"};
    float *vectors = calloc(PADDED_PROMPTS * (size_t)bench->info.embedding, sizeof *vectors);
    bool good = vectors && !failed(aaclip_text_cache_build(bench->cache, name, phrase, 1));
    for (int i = 0; good && i < 3; i++) {
        double now = seconds_now();
        good = !failed(aaclip_text_cache_build(bench->cache, name, phrase, 1));
        report_value(run, "class_prompts_s", "s", "less", seconds_now() - now);
        now = seconds_now();
        good = good && encode_padded(bench, vectors);
        report_value(run, "padded_prompts_s", "s", "", seconds_now() - now);
    }
    free(vectors);
    return good;
}

static aaclip_status step_again(void *user)
{
    return aaclip_trainer_step(user, NULL);
}

static void report_settings(const bench_run *bench, report *run)
{
    const command_line *arguments = bench->arguments;
    report_model(run, &bench->info);
    report_number(run, "stage", arguments->stage);
    report_text(run, "profile", aaclip_profile_name(arguments->profile));
    report_number(run, "batch", arguments->batch_size);
    report_number(run, "image_size", image_size(bench));
    report_text(run, "recompute", arguments->recompute ? "yes" : "no");
}

static bool measure(bench_run *bench, report *run)
{
    if (!make_temporary_folder(bench->folder, PROGRAM) || !open_model(bench) ||
        !open_cache(bench) || !make_dataset(bench) || !open_trainer(bench))
        return false;
    report_settings(bench, run);
    bool text = bench->arguments->stage == 2 && bench->arguments->vocabulary;
    return measure_steps(bench, run) && (!text || measure_text(bench, run)) &&
           (!bench->arguments->cancel ||
            !failed(measure_cancels(run, "cancelled_step_s", step_again, bench->trainer)));
}

static void close_all(bench_run *bench)
{
    static const char *const names[] = {"image.png", "mask.png", "list.jsonl"};
    aaclip_trainer_close(&bench->trainer);
    aaclip_dataset_close(&bench->dataset);
    aaclip_text_cache_close(&bench->cache);
    aaclip_model_close(&bench->model);
    for (size_t i = 0; *bench->folder && i < sizeof names / sizeof *names; i++)
        remove(path_in(bench, names[i]));
    if (*bench->folder)
        rmdir(bench->folder);
}

int bench_train(int argc, char **argv)
{
    command_line arguments = {.stage = 2, .repeat = 3};
    bench_run bench = {.arguments = &arguments};
    parse_result parsed = parse(&arguments, argc, argv);
    bool good = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN) {
        show_log(false);
        report run = report_new("train");
        good = measure(&bench, &run) && report_finish(&run, "step_s", arguments.json, PROGRAM);
        report_free(&run);
        close_all(&bench);
    }
    return good ? 0 : 1;
}
