/* aaclip-bench growth: how time and memory grow with image size, batch, prompts and threads. */
#include <stdlib.h>
#include <string.h>

#include "roofline.h"
#include "session.h"

#define PROGRAM "aaclip-bench growth"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE [options]\n"
    "\n"
    "Measures detection over image sizes, batches and numbers of threads, and the encoding of\n"
    "prompts. Sizes are rounded to whole patches. Prompts need a vocabulary, named or next to\n"
    "the model. An empty list omits a curve. The last lines are the results of each point:\n"
    "seconds, the fraction of the bare product, and the peak memory.\n"
    "\n"
    "  --sizes LIST       sides in pixels [224,336,518,700,1036]\n"
    "  --batches LIST     images in one call [1,2,4,8,16]\n"
    "  --prompts LIST     prompts in one call [1,10,100,500,2000]\n"
    "  --thread-counts LIST  [1 and doubled up to --threads]\n"
    "  --repeat N         measurements of each point [3]\n" SESSION_HELP;

enum { MOST_POINTS = 32, MOST_PROMPTS = 100000 };

typedef struct curve {
    unsigned points[MOST_POINTS];
    unsigned count;
} curve;

typedef struct command_line {
    session_arguments session;
    const char *sizes, *batches, *prompts, *thread_counts;
    curve size, batch, prompt, thread;
} command_line;

static bool parse_curve(curve *list, const char *text, const char *name, unsigned most)
{
    while (*text) {
        char *end;
        unsigned long value = strtoul(text, &end, 10);
        bool good = *text >= '0' && *text <= '9' && (*end == ',' || !*end) && value &&
                    value <= most && list->count < MOST_POINTS;
        if (!good)
            return !complain(PROGRAM,
                             "--%s: expected at most %d comma-separated numbers from 1 to %u, "
                             "found '%s'",
                             name, MOST_POINTS, most, text);
        list->points[list->count++] = (unsigned)value;
        text = *end ? end + 1 : end;
    }
    return true;
}

static bool parse_curves(command_line *arguments)
{
    return parse_curve(&arguments->size, arguments->sizes, "sizes", 8192) &&
           parse_curve(&arguments->batch, arguments->batches, "batches", 1024) &&
           parse_curve(&arguments->prompt, arguments->prompts, "prompts", MOST_PROMPTS) &&
           parse_curve(&arguments->thread, arguments->thread_counts ? arguments->thread_counts : "",
                       "thread-counts", 4096);
}

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        SESSION_OPTIONS(&arguments->session),
        {"sizes", OPTION_TEXT, &arguments->sizes, 0, NULL},
        {"batches", OPTION_TEXT, &arguments->batches, 0, NULL},
        {"prompts", OPTION_TEXT, &arguments->prompts, 0, NULL},
        {"thread-counts", OPTION_TEXT, &arguments->thread_counts, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result != PARSE_RUN)
        return result;
    bool good =
        session_arguments_fit(&arguments->session, &rest, PROGRAM) && parse_curves(arguments);
    return good ? PARSE_RUN : PARSE_WRONG;
}

static bool failed(aaclip_status status)
{
    return reported(status, PROGRAM);
}

/* One point of a curve: `work` runs once to warm up and then `repeat` times. */
typedef struct point {
    const char *curve;
    unsigned at;
    double gflop; /* of one run; 0: not known */
    bool (*work)(session *own, unsigned at);
} point;

/* The bare product runs before each, to reveal points measured under other conditions. */
static bool measure_point(session *own, const point *place, const roofline *bare, report *run)
{
    char seconds[64], fraction[64], memory[64];
    snprintf(seconds, sizeof seconds, "%s_%u_s", place->curve, place->at);
    snprintf(fraction, sizeof fraction, "%s_%u_fraction", place->curve, place->at);
    snprintf(memory, sizeof memory, "%s_%u_mb", place->curve, place->at);
    reset_peak_memory();
    bool good = place->work(own, place->at);
    for (unsigned i = 0; good && i < own->arguments->repeat; i++) {
        double gflops = roofline_gflops(bare), now = seconds_now();
        good = place->work(own, place->at);
        double taken = seconds_now() - now;
        report_value(run, seconds, "s", "less", taken);
        if (place->gflop > 0 && gflops > 0)
            report_value(run, fraction, "", "more", place->gflop / taken / gflops);
    }
    report_value(run, memory, "MB", "less", peak_memory_mb());
    fprintf(stderr, "%s %u: %.3f s\n", place->curve, place->at, report_median(run, seconds));
    return good;
}

static bool detect_one(session *own, unsigned at)
{
    (void)at;
    return !failed(session_detect(own));
}

static bool measure_sizes(session *own, const curve *list, const roofline *bare, report *run)
{
    bool good = true;
    for (unsigned i = 0; good && i < list->count; i++) {
        uint32_t patch = own->info.patch_size;
        uint32_t side = (list->points[i] + patch / 2) / patch * patch;
        good = !failed(session_open_detector(own, side ? side : patch));
        if (good) {
            const point place = {"size", aaclip_detector_image_size(own->detector),
                                 session_gflop(own), detect_one};
            good = measure_point(own, &place, bare, run);
        }
    }
    return good;
}

/* The session's image, already decoded, `at` times in one call. */
static bool detect_batch(session *own, unsigned at)
{
    const aaclip_image_view view = session_view(own);
    aaclip_image_view *views = calloc(at, sizeof *views);
    const char **names = calloc(at, sizeof *names);
    aaclip_result *results = calloc(at, sizeof *results);
    bool good = views && names && results;
    for (unsigned i = 0; good && i < at; i++) {
        views[i] = view;
        names[i] = own->class_name;
        results[i].size = sizeof *results;
    }
    good = good && !failed(aaclip_detector_detect_batch(own->detector, views, names, at, results));
    free(views);
    free(names);
    free(results);
    return good;
}

static bool measure_batches(session *own, const curve *list, const roofline *bare, report *run)
{
    const char *picture = own->arguments->image;
    bool good = !list->count || !failed(session_open_detector(own, own->arguments->image_size));
    if (good && picture && list->count)
        good = !failed(aaclip_image_open(&own->decoded, picture));
    for (unsigned i = 0; good && i < list->count; i++) {
        const point place = {"batch", list->points[i], list->points[i] * session_gflop(own),
                             detect_batch};
        good = measure_point(own, &place, bare, run);
    }
    return good;
}

static const char *const states[] = {"flawless", "perfect",   "damaged",     "broken",
                                     "clean",    "scratched", "unblemished", "cracked"};
static const char *const views[] = {"a photo of", "a close-up of", "a blurry photo of",
                                    "a bright picture of", "a cropped photo of"};

/* Prompts like those of classes: a view, a state, a thing, whose number makes them all
 * different. */
static bool encode_prompts(session *own, unsigned at)
{
    enum { LONGEST = 96 };
    const unsigned state_count = sizeof states / sizeof *states;
    const unsigned view_count = sizeof views / sizeof *views, kinds = state_count * view_count;
    char(*texts)[LONGEST] = calloc(at, sizeof *texts);
    const char **prompts = calloc(at, sizeof *prompts);
    float *vectors = calloc((size_t)at * own->info.embedding, sizeof *vectors);
    bool good = texts && prompts && vectors;
    for (unsigned i = 0; good && i < at; i++) {
        snprintf(texts[i], sizeof texts[i], "%s a %s part number %u.", views[i % view_count],
                 states[i / view_count % state_count], i / kinds);
        prompts[i] = texts[i];
    }
    good = good && !failed(aaclip_text_cache_encode(own->cache, prompts, at, vectors));
    free(texts);
    free(prompts);
    free(vectors);
    return good;
}

/* Whether there is a vocabulary: named, or next to the model. */
static bool can_encode(session *own)
{
    int32_t ids[8];
    size_t count;
    return aaclip_text_cache_tokenize(own->cache, "nut", ids, 8, &count) == AACLIP_OK;
}

static bool measure_prompts(session *own, const curve *list, report *run)
{
    if (list->count && !can_encode(own)) {
        fprintf(stderr, "prompts are skipped: %s\n", aaclip_last_error());
        report_text(run, "left_out", "prompts");
        return true;
    }
    bool good = true;
    for (unsigned i = 0; good && i < list->count; i++) {
        const point place = {"prompts", list->points[i], 0, encode_prompts};
        good = measure_point(own, &place, NULL, run);
    }
    return good;
}

static bool open_all(session *own, const session_arguments *arguments)
{
    return !failed(session_open_model(own, arguments)) && !failed(session_open_text(own)) &&
           !failed(session_open_detector(own, arguments->image_size));
}

/* speedup: over one thread, extrapolated from the first count. */
static bool measure_threads(const session_arguments *arguments, const curve *list, report *run)
{
    bool good = true;
    for (unsigned i = 0; good && i < list->count; i++) {
        session_arguments with = *arguments;
        session own = {0};
        with.threads = list->points[i];
        good = open_all(&own, &with);
        if (good) {
            roofline *bare =
                roofline_new(own.info.backend, own.info.precision, (int)own.info.threads);
            const point place = {"threads", list->points[i], session_gflop(&own), detect_one};
            good = measure_point(&own, &place, bare, run);
            roofline_free(bare);
        }
        session_close(&own);
    }
    for (unsigned i = 1; good && i < list->count; i++) {
        char first[64], here[64], name[64];
        snprintf(first, sizeof first, "threads_%u_s", list->points[0]);
        snprintf(here, sizeof here, "threads_%u_s", list->points[i]);
        snprintf(name, sizeof name, "threads_%u_speedup", list->points[i]);
        report_value(run, name, "", "more",
                     list->points[0] * report_median(run, first) / report_median(run, here));
    }
    return good;
}

static void default_threads(curve *list, const char *given, uint32_t most)
{
    for (uint32_t count = 1; !given && list->count < MOST_POINTS && count < most; count *= 2)
        list->points[list->count++] = count;
    if (!given && list->count < MOST_POINTS)
        list->points[list->count++] = most;
}

static bool measure(command_line *arguments, report *run)
{
    session own = {0};
    bool good = open_all(&own, &arguments->session);
    if (good) {
        roofline *bare = roofline_new(own.info.backend, own.info.precision, (int)own.info.threads);
        report_model(run, &own.info);
        report_number(run, "image_size", aaclip_detector_image_size(own.detector));
        default_threads(&arguments->thread, arguments->thread_counts, own.info.threads);
        good = measure_sizes(&own, &arguments->size, bare, run) &&
               measure_batches(&own, &arguments->batch, bare, run) &&
               measure_prompts(&own, &arguments->prompt, run);
        roofline_free(bare);
    }
    session_close(&own);
    return good && measure_threads(&arguments->session, &arguments->thread, run);
}

int bench_growth(int argc, char **argv)
{
    command_line arguments = {.session.repeat = 3,
                              .sizes = "224,336,518,700,1036",
                              .batches = "1,2,4,8,16",
                              .prompts = "1,10,100,500,2000"};
    parse_result parsed = parse(&arguments, argc, argv);
    bool good = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN) {
        show_log(false);
        report run = report_new("growth");
        good =
            measure(&arguments, &run) && report_finish(&run, "", arguments.session.json, PROGRAM);
        report_free(&run);
    }
    list_clear(&arguments.session.adapters);
    return good ? 0 : 1;
}
