/* A detector from the command line, as most modes measure it. */
#ifndef EXAMPLES_BENCH_SESSION_H
#define EXAMPLES_BENCH_SESSION_H

#include "options.h"
#include "report.h"

typedef struct session_arguments {
    const char *model, *vocabulary, *image, *backend, *packed, *json;
    string_list adapters;
    aaclip_precision precision;
    unsigned image_size, threads, repeat;
} session_arguments;

/* Rows of the options above for a table of parse_options, and their help. */
#define SESSION_OPTIONS(arguments)                                                                 \
    {"model", OPTION_MODEL, &(arguments)->model, 0, NULL},                                         \
        {"vocab", OPTION_TEXT, &(arguments)->vocabulary, 0, NULL},                                 \
        {"adapters", OPTION_LIST, &(arguments)->adapters, 0, NULL},                                \
        {"image", OPTION_TEXT, &(arguments)->image, 0, NULL},                                      \
        {"image-size", OPTION_NUMBER, &(arguments)->image_size, 8192, NULL},                       \
        {"precision", OPTION_PRECISION, &(arguments)->precision, 0, NULL},                         \
        {"backend", OPTION_TEXT, &(arguments)->backend, 0, NULL},                                  \
        {"threads", OPTION_NUMBER, &(arguments)->threads, 4096, NULL},                             \
        {"packed", OPTION_TEXT, &(arguments)->packed, 0, NULL},                                    \
        {"repeat", OPTION_NUMBER, &(arguments)->repeat, 1000, NULL},                               \
    {                                                                                              \
        "json", OPTION_TEXT, &(arguments)->json, 0, NULL                                           \
    }

#define MODEL_HELP                                                                                 \
    "  --model FILE       CLIP checkpoint or bundle, or the name aaclip-mini\n"                    \
    "  --vocab FILE       vocabulary [without it, or a bundle, text vectors are made up]\n"        \
    "  --adapters FILE    trained adapters; repeat for text and image\n"

#define IMAGE_HELP "  --image FILE       image to detect in [a generated one of 1024 x 768]\n"

#define DETECTOR_HELP                                                                              \
    "  --image-size N     side of the network's input in pixels\n"                                 \
    "  --precision P      f32, bf16, auto, int8, tf32 or f16 [f32]\n"                              \
    "  --backend NAME     [the best available]\n"                                                  \
    "  --threads N        [all processors]\n"                                                      \
    "  --packed FOLDER    cache packed weights here, to start faster [none]\n"                     \
    "  --json FILE        also write the results as JSON; - is stdout\n"                           \
    "  --help, --version\n"

#define SESSION_HELP MODEL_HELP IMAGE_HELP DETECTOR_HELP

/* After parse_options: a model, a number of repetitions and nothing else, or a message. */
bool session_arguments_fit(const session_arguments *arguments, const program_arguments *rest,
                           const char *program);

typedef struct session {
    const session_arguments *arguments;
    aaclip_model *model;
    aaclip_model_info info;
    aaclip_adapters *adapters;
    aaclip_text_cache *cache;
    aaclip_detector *detector;
    uint8_t *generated;    /* pixels, NULL when --image gives a file */
    aaclip_image *decoded; /* of that file, where a mode opens it beforehand */
    const char *class_name;
} session;

/* Call in this order; session_close frees what each allocates. */
aaclip_status session_open_model(session *own, const session_arguments *arguments);
aaclip_status session_open_text(session *own);
aaclip_status session_open_detector(session *own, uint32_t image_size);
void session_close(session *own);

/* The pixels: generated or decoded. */
aaclip_image_view session_view(const session *own);
/* From the file (or the generated pixels) to the map. */
aaclip_status session_detect(session *own);
/* Multiplications and additions that one image of the detector needs. */
double session_gflop(const session *own);

/* Seconds of each part of opening and of the first detection. Drawing comes before: an image is
 * generated if no file is given, a cost that users do not have. */
typedef struct cold_start {
    double drawing_s, open_s, text_s, plan_s, first_s;
    double peak_memory_mb;
} cold_start;

aaclip_status session_cold_start(session *own, const session_arguments *arguments,
                                 cold_start *seconds);

#endif
