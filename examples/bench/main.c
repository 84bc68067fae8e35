/* aaclip-bench: speed of detection as a fraction of what bare matrix products reach here and now.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "bench.h"
#include "options.h"
#include "roofline.h"

#define PROGRAM "aaclip-bench"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE [options]\n"
    "       " PROGRAM " train --model FILE [options]   (see " PROGRAM
    " train --help)\n"
    "\n"
    "Measures the first result from a cold start, then detections interleaved with bare oneDNN\n"
    "matrix products (1370 x 1024 x 4096) of the same precision and number of threads. The last\n"
    "lines are the figures.\n"
    "\n"
    "  --model FILE       CLIP checkpoint or bundle, or the name aaclip-mini\n"
    "  --vocab FILE       vocabulary; without it (and without a bundle) text vectors are made up\n"
    "  --adapters FILE    trained adapters; give text and image ones\n"
    "  --image FILE       picture to detect in [a generated one of 1024 x 768]\n"
    "  --image-size N     side of the network's input in pixels\n"
    "  --precision P      f32, bf16 or auto [f32]\n"
    "  --backend NAME     [the best one]\n"
    "  --threads N        [all processors]\n"
    "  --repeat N         detections that are timed [5]\n"
    "  --json FILE        also write the figures as JSON; - is stdout\n"
    "  --help, --version\n";

typedef struct command_line {
    const char *model, *vocabulary, *image, *backend, *json;
    string_list adapters;
    aaclip_precision precision;
    unsigned image_size, threads, repeat;
} command_line;

typedef struct bench_run {
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_text_cache *cache;
    aaclip_detector *detector;
    uint8_t *generated; /* NULL when --image gives a file */
    const char *class_name;
} bench_run;

typedef struct bench_figures {
    double open_s, text_s, plan_s, first_s, detection_s, roofline_gflops, work_gflop;
    double peak_memory_mb;
} bench_figures;

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"model", OPTION_MODEL, &arguments->model, 0, NULL},
        {"vocab", OPTION_TEXT, &arguments->vocabulary, 0, NULL},
        {"adapters", OPTION_LIST, &arguments->adapters, 0, NULL},
        {"image", OPTION_TEXT, &arguments->image, 0, NULL},
        {"image-size", OPTION_NUMBER, &arguments->image_size, 8192, NULL},
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
    if (arguments->model && !rest.count && arguments->repeat)
        return PARSE_RUN;
    complain(PROGRAM, "expected --model FILE; --help shows how to call this program");
    return PARSE_WRONG;
}

/* Text vectors that cost nothing, for a model without a vocabulary at hand. */
static aaclip_status invent_class(bench_run *bench, uint32_t embedding)
{
    float *pair = calloc(2 * (size_t)embedding, sizeof *pair);
    if (!pair)
        return AACLIP_ERROR_OUT_OF_MEMORY;
    pair[0] = pair[embedding + 1] = 1.0f;
    aaclip_status status = aaclip_text_cache_add(bench->cache, "object", pair, pair + embedding);
    free(pair);
    return status;
}

static aaclip_status open_text(bench_run *bench, const command_line *arguments)
{
    static const char *const name[] = {"object"}, *const phrase[] = {"metal nut"};
    aaclip_text_cache_options options;
    aaclip_model_info info = {.size = sizeof info};
    aaclip_text_cache_options_init(&options);
    aaclip_model_get_info(bench->model, &info);
    options.vocabulary = arguments->vocabulary;
    bench->class_name = name[0];
    if (!info.has_text) {
        aaclip_status status = aaclip_text_cache_open(&bench->cache, arguments->model, bench->model,
                                                      bench->adapters, &options);
        bench->class_name = aaclip_text_cache_name(bench->cache, 0);
        return status;
    }
    aaclip_status status =
        aaclip_text_cache_new(&bench->cache, bench->model, bench->adapters, &options);
    if (status)
        return status;
    return arguments->vocabulary ? aaclip_text_cache_build(bench->cache, name, phrase, 1)
                                 : invent_class(bench, info.embedding);
}

static aaclip_status open_model(bench_run *bench, const command_line *arguments)
{
    aaclip_model_options options;
    aaclip_model_info info = {.size = sizeof info};
    const char *bundle[] = {arguments->model};
    aaclip_model_options_init(&options);
    options.backend = arguments->backend;
    options.precision = arguments->precision;
    options.threads = arguments->threads;
    aaclip_status status = aaclip_model_open(&bench->model, arguments->model, &options);
    if (!status)
        status = aaclip_model_get_info(bench->model, &info);
    if (status)
        return status;
    if (arguments->adapters.count)
        return aaclip_adapters_open(&bench->adapters, bench->model,
                                    (const char *const *)arguments->adapters.items,
                                    arguments->adapters.count, NULL);
    return info.has_text ? AACLIP_OK
                         : aaclip_adapters_open(&bench->adapters, bench->model, bundle, 1, NULL);
}

static aaclip_status open_detector(bench_run *bench, const command_line *arguments)
{
    aaclip_detector_options options;
    aaclip_detector_options_init(&options);
    options.image_size = arguments->image_size;
    return aaclip_detector_new(&bench->detector, bench->model, bench->adapters, bench->cache,
                               &options);
}

/* From the file (or the generated pixels) to the map. */
static aaclip_status detect(bench_run *bench, const command_line *arguments)
{
    const aaclip_image_view generated = {bench->generated, 1024, 768, 0, AACLIP_PIXEL_RGB8};
    aaclip_result result = {.size = sizeof result};
    if (!arguments->image)
        return aaclip_detector_detect(bench->detector, &generated, bench->class_name, &result);
    aaclip_image *image = NULL;
    aaclip_status status = aaclip_image_open(&image, arguments->image);
    if (!status) {
        const aaclip_image_view view = aaclip_image_get_view(image);
        status = aaclip_detector_detect(bench->detector, &view, bench->class_name, &result);
    }
    aaclip_image_close(&image);
    return status;
}

/* Multiplications and additions that one image needs, in GFLOP. */
static double work_of(const bench_run *bench)
{
    aaclip_model_info info = {.size = sizeof info};
    aaclip_config config = {.size = sizeof config};
    aaclip_model_get_info(bench->model, &info);
    if (bench->adapters)
        aaclip_adapters_get_config(bench->adapters, &config);
    if (!aaclip_adapters_has_image(bench->adapters))
        config.image_adapter_layers = 0;
    return forward_gflop(&info, &config, aaclip_detector_image_size(bench->detector));
}

static aaclip_status cold_start(bench_run *bench, const command_line *arguments,
                                bench_figures *figures)
{
    double started = seconds_now(), now = started;
    aaclip_status status = open_model(bench, arguments);
    figures->open_s = seconds_now() - now;
    now = seconds_now();
    if (!status)
        status = open_text(bench, arguments);
    figures->text_s = seconds_now() - now;
    now = seconds_now();
    if (!status)
        status = open_detector(bench, arguments);
    figures->plan_s = seconds_now() - now;
    if (!status)
        status = detect(bench, arguments);
    figures->first_s = seconds_now() - started;
    figures->peak_memory_mb = peak_memory_mb();
    return status;
}

/* Both under the same conditions: one product before and after every detection. */
static aaclip_status measure(bench_run *bench, const command_line *arguments,
                             bench_figures *figures)
{
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(bench->model, &info);
    roofline *bare = roofline_new(info.precision == AACLIP_PRECISION_BF16, (int)info.threads);
    double *detections = calloc(arguments->repeat, sizeof *detections);
    double *products = calloc(arguments->repeat, sizeof *products);
    aaclip_status status = detections && products ? AACLIP_OK : AACLIP_ERROR_OUT_OF_MEMORY;
    progress_bar bar;
    progress_start(&bar, "detections");
    for (unsigned i = 0; !status && i < arguments->repeat; i++) {
        products[i] = roofline_gflops(bare);
        double now = seconds_now();
        status = detect(bench, arguments);
        detections[i] = seconds_now() - now;
        progress_update(&bar, i + 1, arguments->repeat);
    }
    progress_end(&bar);
    if (!status) {
        figures->roofline_gflops = median(products, arguments->repeat);
        figures->detection_s = median(detections, arguments->repeat);
        figures->work_gflop = work_of(bench);
    }
    free(detections);
    free(products);
    roofline_free(bare);
    return status;
}

static bool write_json(const command_line *arguments, const bench_figures *figures, double fraction)
{
    json_t *root =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "open_s", figures->open_s,
                  "text_s", figures->text_s, "plan_s", figures->plan_s, "first_result_s",
                  figures->first_s, "detection_s", figures->detection_s, "gflop",
                  figures->work_gflop, "roofline_gflops", figures->roofline_gflops,
                  "fraction_of_roofline", fraction, "peak_memory_mb", figures->peak_memory_mb);
    text_output output;
    bool opened = root && open_text_file(&output, arguments->json, PROGRAM);
    bool written = opened && json_dumpf(root, output.file, JSON_INDENT(2)) == 0 &&
                   fputc('\n', output.file) != EOF;
    json_decref(root);
    return opened && finish_text_file(&output, written, PROGRAM) && written;
}

static bool report(const bench_run *bench, const command_line *arguments,
                   const bench_figures *figures)
{
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(bench->model, &info);
    double reached = figures->work_gflop / figures->detection_s;
    double fraction = figures->roofline_gflops > 0 ? reached / figures->roofline_gflops : 0;
    printf("%s, %s, %u threads, %u x %u\n", info.backend, aaclip_precision_name(info.precision),
           info.threads, aaclip_detector_image_size(bench->detector),
           aaclip_detector_image_size(bench->detector));
    printf("first result   %8.3f s  (open %.3f, text %.3f, plan %.3f; %.3f beyond one detection)\n",
           figures->first_s, figures->open_s, figures->text_s, figures->plan_s,
           figures->first_s - figures->detection_s);
    printf("peak memory    %8.0f MB\n", figures->peak_memory_mb);
    printf("detection      %8.3f s  %.1f GFLOP at %.1f GFLOP/s\n", figures->detection_s,
           figures->work_gflop, reached);
    if (figures->roofline_gflops > 0)
        printf("bare product   %8.1f GFLOP/s\nfraction       %8.3f\n", figures->roofline_gflops,
               fraction);
    else
        printf("bare product   not measured: this build has no oneDNN\n");
    return !arguments->json || write_json(arguments, figures, fraction);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "train") == 0)
        return bench_train(argc - 1, argv + 1);
    command_line arguments = {.repeat = 5};
    bench_run bench = {0};
    bench_figures figures = {0};
    parse_result parsed = parse(&arguments, argc, argv);
    int code = parsed == PARSE_WRONG;
    if (parsed == PARSE_RUN) {
        show_log(false);
        bench.generated = generate_picture(1024, 768);
        aaclip_status status =
            bench.generated ? cold_start(&bench, &arguments, &figures) : AACLIP_ERROR_OUT_OF_MEMORY;
        if (!status)
            status = measure(&bench, &arguments, &figures);
        code = status ? complain(PROGRAM, "%s", aaclip_last_error())
                      : !report(&bench, &arguments, &figures);
    }
    aaclip_detector_close(&bench.detector);
    aaclip_text_cache_close(&bench.cache);
    aaclip_adapters_close(&bench.adapters);
    aaclip_model_close(&bench.model);
    free(bench.generated);
    list_clear(&arguments.adapters);
    return code;
}
