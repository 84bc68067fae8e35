/* aaclip-bench train: speed and memory of a stage 2 step, and the cost of a class's prompts. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "bench.h"
#include "options.h"
#include "roofline.h"

#define PROGRAM "aaclip-bench train"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE [options]\n"
    "\n"
    "Measures optimizer steps of stage 2 on generated images, interleaved with bare oneDNN matrix\n"
    "products; with a vocabulary also the prompts of one class against as many prompts padded to\n"
    "the full context. The last lines are the figures.\n"
    "\n"
    "  --model FILE       CLIP checkpoint, or the name aaclip-mini\n"
    "  --vocab FILE       vocabulary\n"
    "  --profile P        document or published [document]\n"
    "  --batch-size N     [2]\n"
    "  --image-size N     side of the network's input in pixels\n"
    "  --recompute        keep block inputs only\n"
    "  --precision P      f32, bf16 or auto [f32]\n"
    "  --backend NAME     [the best one]\n"
    "  --threads N        [all processors]\n"
    "  --repeat N         steps that are timed [3]\n"
    "  --json FILE        also write the figures as JSON; - is stdout\n"
    "  --help, --version\n";

typedef struct command_line {
    const char *model, *vocabulary, *backend, *json;
    aaclip_profile profile;
    aaclip_precision precision;
    unsigned batch_size, image_size, threads, repeat;
    bool recompute;
} command_line;

typedef struct bench_run {
    const command_line *arguments;
    aaclip_model *model;
    aaclip_model_info info;
    aaclip_config config;
    aaclip_text_cache *cache;
    aaclip_dataset *dataset;
    aaclip_trainer *trainer;
    char folder[32];
} bench_run;

typedef struct bench_figures {
    double step_s, gflop, roofline_gflops, peak_memory_mb, class_s, padded_s;
} bench_figures;

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"model", OPTION_MODEL, &arguments->model, 0, NULL},
        {"vocab", OPTION_TEXT, &arguments->vocabulary, 0, NULL},
        {"profile", OPTION_PROFILE, &arguments->profile, 0, NULL},
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
    if (arguments->model && !rest.count && arguments->repeat && arguments->batch_size)
        return PARSE_RUN;
    complain(PROGRAM, "expected --model FILE; --help shows how to call this program");
    return PARSE_WRONG;
}

static bool failed(aaclip_status status)
{
    return status && complain(PROGRAM, "%s", aaclip_last_error());
}

static char *path_in(const bench_run *bench, const char *name)
{
    static char path[64];
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

/* Normal and abnormal samples in turn, enough for a batch. */
static bool make_dataset(bench_run *bench)
{
    char *manifest = path_in(bench, "list.jsonl");
    FILE *list = fopen(manifest, "w");
    if (!list)
        return !complain(PROGRAM, "%s: cannot write", manifest);
    for (unsigned i = 0; i < bench->arguments->batch_size || i < 2; i++)
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
    aaclip_trainer_options options;
    aaclip_adapters *adapters = NULL;
    aaclip_trainer_options_init(&options, AACLIP_STAGE_IMAGE, bench->arguments->profile);
    options.batch_size = bench->arguments->batch_size;
    options.image_size = bench->arguments->image_size;
    options.recompute = bench->arguments->recompute;
    bool opened = !failed(aaclip_trainer_new(&bench->trainer, bench->model, bench->dataset,
                                             bench->cache, &options)) &&
                  !failed(aaclip_trainer_adapters(bench->trainer, &adapters)) &&
                  !failed(aaclip_adapters_get_config(adapters, &bench->config));
    aaclip_adapters_close(&adapters);
    return opened;
}

/* A product before every step; the first step, which touches all memory, is not timed. */
static bool measure_steps(bench_run *bench, bench_figures *figures)
{
    unsigned repeat = bench->arguments->repeat;
    bool narrow = bench->info.precision == AACLIP_PRECISION_BF16;
    roofline *bare = roofline_new(narrow, (int)bench->info.threads);
    double *steps = calloc(repeat, sizeof *steps), *products = calloc(repeat, sizeof *products);
    progress_bar bar;
    progress_start(&bar, "steps");
    bool good = steps && products && !failed(aaclip_trainer_step(bench->trainer, NULL));
    for (unsigned i = 0; good && i < repeat; i++) {
        products[i] = roofline_gflops(bare);
        double now = seconds_now();
        good = !failed(aaclip_trainer_step(bench->trainer, NULL));
        steps[i] = seconds_now() - now;
        progress_update(&bar, i + 1, repeat);
    }
    progress_end(&bar);
    if (good) {
        uint32_t size = bench->arguments->image_size ? bench->arguments->image_size : 518;
        figures->step_s = median(steps, repeat);
        figures->roofline_gflops = median(products, repeat);
        figures->gflop =
            bench->arguments->batch_size * (forward_gflop(&bench->info, &bench->config, size) +
                                            backward_gflop(&bench->info, &bench->config, size));
        figures->peak_memory_mb = peak_memory_mb();
    }
    free(steps);
    free(products);
    roofline_free(bare);
    return good;
}

/* As many prompts as a class of the document profile has, each as long as the context. */
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

/* The best of three, after the tower has been prepared. */
static bool measure_text(bench_run *bench, bench_figures *figures)
{
    static const char *const name[] = {"metal_nut"}, *const phrase[] = {"metal nut"};
    float *vectors = calloc(PADDED_PROMPTS * (size_t)bench->info.embedding, sizeof *vectors);
    bool good = vectors && !failed(aaclip_text_cache_build(bench->cache, name, phrase, 1));
    for (int i = 0; good && i < 3; i++) {
        double now = seconds_now();
        good = !failed(aaclip_text_cache_build(bench->cache, name, phrase, 1));
        double class_s = seconds_now() - now;
        now = seconds_now();
        good = good && encode_padded(bench, vectors);
        double padded_s = seconds_now() - now;
        if (i == 0 || class_s < figures->class_s)
            figures->class_s = class_s;
        if (i == 0 || padded_s < figures->padded_s)
            figures->padded_s = padded_s;
    }
    free(vectors);
    return good;
}

static bool write_json(const command_line *arguments, const bench_figures *figures, double fraction)
{
    json_t *root =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "step_s", figures->step_s, "gflop",
                  figures->gflop, "roofline_gflops", figures->roofline_gflops,
                  "fraction_of_roofline", fraction, "peak_memory_mb", figures->peak_memory_mb,
                  "class_prompts_s", figures->class_s, "padded_prompts_s", figures->padded_s);
    text_output output;
    bool opened = root && open_text_file(&output, arguments->json, PROGRAM);
    bool written = opened && json_dumpf(root, output.file, JSON_INDENT(2)) == 0 &&
                   fputc('\n', output.file) != EOF;
    json_decref(root);
    return opened && finish_text_file(&output, written, PROGRAM) && written;
}

static bool report(const bench_run *bench, const bench_figures *figures)
{
    double reached = figures->gflop / figures->step_s;
    double fraction = figures->roofline_gflops > 0 ? reached / figures->roofline_gflops : 0;
    printf("%s, %s, %u threads, stage 2, batch %u%s\n", bench->info.backend,
           aaclip_precision_name(bench->info.precision), bench->info.threads,
           bench->arguments->batch_size, bench->arguments->recompute ? ", recompute" : "");
    if (figures->padded_s > 0)
        printf("prompts        %8.3f s  (%.3f s for %d padded ones: %.3f of it)\n",
               figures->class_s, figures->padded_s, PADDED_PROMPTS,
               figures->class_s / figures->padded_s);
    printf("peak memory    %8.0f MB\n", figures->peak_memory_mb);
    printf("step           %8.3f s  %.1f GFLOP at %.1f GFLOP/s\n", figures->step_s, figures->gflop,
           reached);
    if (figures->roofline_gflops > 0)
        printf("bare product   %8.1f GFLOP/s\nfraction       %8.3f\n", figures->roofline_gflops,
               fraction);
    else
        printf("bare product   not measured: this build has no oneDNN\n");
    return !bench->arguments->json || write_json(bench->arguments, figures, fraction);
}

static bool run(bench_run *bench, bench_figures *figures)
{
    strcpy(bench->folder, "/tmp/aaclip-bench-XXXXXX");
    if (!mkdtemp(bench->folder)) {
        *bench->folder = '\0';
        return !complain(PROGRAM, "cannot make a temporary folder");
    }
    return open_model(bench) && open_cache(bench) && make_dataset(bench) && open_trainer(bench) &&
           measure_steps(bench, figures) &&
           (!bench->arguments->vocabulary || measure_text(bench, figures));
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
    command_line arguments = {.batch_size = 2, .repeat = 3};
    bench_run bench = {.arguments = &arguments};
    bench_figures figures = {0};
    parse_result parsed = parse(&arguments, argc, argv);
    bool good = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN) {
        show_log(false);
        good = run(&bench, &figures) && report(&bench, &figures);
        close_all(&bench);
    }
    return good ? 0 : 1;
}
