/* aaclip-bench text: prompts of a data set's classes against as many padded to the context. */
#include <stdlib.h>
#include <string.h>

#include "cancel.h"
#include "options.h"
#include "report.h"

#define PROGRAM "aaclip-bench text"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE [options]\n"
    "\n"
    "Builds the text vectors of all classes of a data set, alternating with one class's number of\n"
    "prompts that share no prefix and fill the context, as a padded encoder computes them.\n"
    "The last lines are the results.\n"
    "\n"
    "  --model FILE       CLIP checkpoint, or the name aaclip-mini\n"
    "  --vocab FILE       vocabulary [next to the model]\n"
    "  --adapters FILE    trained text adapters\n"
    "  --dataset NAME     data set of the classes [MVTec]\n"
    "  --profile P        document or published, without adapters [document]\n"
    "  --precision P      f32, bf16, auto, tf32 or f16 [f32]\n"
    "  --backend NAME     [the best available]\n"
    "  --threads N        [all processors]\n"
    "  --repeat N         timed builds [3]\n" CANCEL_HELP
    "  --json FILE        also write the results as JSON; - is stdout\n"
    "  --help, --version\n";

typedef struct command_line {
    const char *model, *vocabulary, *backend, *json, *dataset;
    string_list adapters;
    aaclip_profile profile;
    aaclip_precision precision;
    unsigned threads, repeat;
    bool cancel;
} command_line;

typedef struct bench_run {
    const command_line *arguments;
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_model_info info;
    aaclip_text_cache *cache;
    string_list names; /* of the classes */
    size_t prompts;    /* of one class */
    char **padded;     // (prompts)
    float *vectors;    // (prompts, embedding)
} bench_run;

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"model", OPTION_MODEL, &arguments->model, 0, NULL},
        {"vocab", OPTION_TEXT, &arguments->vocabulary, 0, NULL},
        {"adapters", OPTION_LIST, &arguments->adapters, 0, NULL},
        {"dataset", OPTION_TEXT, &arguments->dataset, 0, NULL},
        {"profile", OPTION_PROFILE, &arguments->profile, 0, NULL},
        {"precision", OPTION_PRECISION, &arguments->precision, 0, NULL},
        {"backend", OPTION_TEXT, &arguments->backend, 0, NULL},
        {"threads", OPTION_NUMBER, &arguments->threads, 4096, NULL},
        {"repeat", OPTION_NUMBER, &arguments->repeat, 1000, NULL},
        {"cancel", OPTION_FLAG, &arguments->cancel, 0, NULL},
        {"json", OPTION_TEXT, &arguments->json, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result != PARSE_RUN)
        return result;
    if (arguments->model && !rest.count && arguments->repeat)
        return PARSE_RUN;
    complain(PROGRAM, "expected --model FILE; see --help");
    return PARSE_WRONG;
}

static bool failed(aaclip_status status)
{
    return reported(status, PROGRAM);
}

static bool open_model(bench_run *bench)
{
    const command_line *arguments = bench->arguments;
    aaclip_model_options options;
    aaclip_model_options_init(&options);
    options.backend = arguments->backend;
    options.precision = arguments->precision;
    options.threads = arguments->threads;
    bench->info.size = sizeof bench->info;
    return !failed(aaclip_model_open(&bench->model, arguments->model, &options)) &&
           !failed(aaclip_model_get_info(bench->model, &bench->info)) &&
           (!arguments->adapters.count ||
            !failed(aaclip_adapters_open(&bench->adapters, bench->model,
                                         (const char *const *)arguments->adapters.items,
                                         arguments->adapters.count, NULL)));
}

/* The last call of a build has the number of prompts of all classes. */
static bool count_prompts(size_t done, size_t total, void *user)
{
    (void)done;
    *(size_t *)user = total;
    return true;
}

static bool open_cache(bench_run *bench, size_t *total)
{
    aaclip_text_cache_options options;
    aaclip_config config;
    aaclip_text_cache_options_init(&options);
    aaclip_config_init(&config, bench->arguments->profile);
    options.vocabulary = bench->arguments->vocabulary;
    options.config = &config;
    options.truncate = true;
    options.progress = count_prompts;
    options.progress_user = total;
    return !failed(aaclip_text_cache_new(&bench->cache, bench->model, bench->adapters, &options));
}

/* The classes of the data set as names and phrases. */
static bool name_classes(bench_run *bench)
{
    const char *dataset = bench->arguments->dataset;
    size_t count = aaclip_known_dataset_class_count(dataset);
    aaclip_domain domain;
    bool good = !failed(aaclip_known_dataset_domain(dataset, &domain));
    for (size_t i = 0; good && i < count; i++)
        good = list_add(&bench->names, aaclip_known_dataset_class_name(dataset, i));
    return good;
}

/* Prompts longer than the context, so cut to it. Any two share no more than the start token and one
 * other. */
static bool write_padded(bench_run *bench)
{
    static const char symbols[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const size_t count = sizeof symbols - 1;
    bench->padded = calloc(bench->prompts, sizeof *bench->padded);
    for (size_t i = 0; bench->padded && i < bench->prompts; i++) {
        size_t words = 2 * (size_t)bench->info.context, used = 0;
        char *text = bench->padded[i] = malloc(8 * words);
        if (!text)
            return !complain(PROGRAM, "out of memory");
        used = (size_t)snprintf(text, 8 * words, "%c %zu", symbols[i % count], i / count);
        for (size_t word = 2; word < words; word++)
            used += (size_t)snprintf(text + used, 8 * words - used, " nut");
    }
    return bench->padded || !complain(PROGRAM, "out of memory");
}

/* The first build prepares the tower and counts the prompts. */
static bool prepare(bench_run *bench)
{
    size_t total = 0;
    if (!open_model(bench) || !name_classes(bench) || !open_cache(bench, &total) ||
        failed(build_classes(bench->cache, bench->arguments->dataset, NULL, &bench->names)))
        return false;
    bench->prompts = total / bench->names.count;
    bench->vectors = calloc(bench->prompts * bench->info.embedding, sizeof *bench->vectors);
    if (!bench->vectors)
        return !complain(PROGRAM, "out of memory");
    return write_padded(bench);
}

static bool encode_padded(bench_run *bench, double *seconds)
{
    double now = seconds_now();
    bool good = !failed(aaclip_text_cache_encode(bench->cache, (const char *const *)bench->padded,
                                                 bench->prompts, bench->vectors));
    *seconds = seconds_now() - now;
    return good;
}

/* Padded prompts run before and after every build, so that both see the same conditions. */
static bool measure(bench_run *bench, report *run)
{
    double before, after;
    bool good = encode_padded(bench, &before);
    for (unsigned i = 0; good && i < bench->arguments->repeat; i++, before = after) {
        double now = seconds_now();
        good = !failed(build_classes(bench->cache, bench->arguments->dataset, NULL, &bench->names));
        double build = seconds_now() - now;
        good = good && encode_padded(bench, &after);
        if (!good)
            break;
        double padded = (before + after) / 2;
        report_value(run, "build_s", "s", "less", build);
        report_value(run, "padded_class_s", "s", "", padded);
        report_value(run, "fraction_of_padded", "", "less",
                     build / padded / (double)bench->names.count);
    }
    report_value(run, "peak_memory_mb", "MB", "less", peak_memory_mb());
    return good;
}

static aaclip_status build_again(void *user)
{
    bench_run *bench = user;
    return build_classes(bench->cache, bench->arguments->dataset, NULL, &bench->names);
}

static void describe(const bench_run *bench, report *run)
{
    report_model(run, &bench->info);
    report_text(run, "dataset", bench->arguments->dataset);
    report_number(run, "classes", (double)bench->names.count);
    report_number(run, "prompts_of_a_class", (double)bench->prompts);
    report_number(run, "context", bench->info.context);
}

static void close_all(bench_run *bench)
{
    for (size_t i = 0; bench->padded && i < bench->prompts; i++)
        free(bench->padded[i]);
    free(bench->padded);
    free(bench->vectors);
    list_clear(&bench->names);
    aaclip_text_cache_close(&bench->cache);
    aaclip_adapters_close(&bench->adapters);
    aaclip_model_close(&bench->model);
}

int bench_text(int argc, char **argv)
{
    command_line arguments = {.dataset = "MVTec", .repeat = 3};
    bench_run bench = {.arguments = &arguments};
    parse_result parsed = parse(&arguments, argc, argv);
    bool good = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN) {
        report run = report_new("text");
        show_log(false);
        good = prepare(&bench);
        if (good) {
            describe(&bench, &run);
            good = measure(&bench, &run) &&
                   (!arguments.cancel ||
                    !failed(measure_cancels(&run, "cancelled_build_s", build_again, &bench))) &&
                   report_finish(&run, "", arguments.json, PROGRAM);
        }
        report_free(&run);
        close_all(&bench);
    }
    list_clear(&arguments.adapters);
    return good ? 0 : 1;
}
