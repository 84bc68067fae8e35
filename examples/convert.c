/* aaclip-convert: any checkpoint, adapters or deployment bundle to safetensors. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

#define PROGRAM "aaclip-convert"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE --out FILE [--f16]\n"
    "       " PROGRAM
    " --model FILE --adapters FILE... --out FILE\n"
    "       " PROGRAM
    " --bundle --model FILE [--adapters FILE]... --class NAME... --out FILE\n"
    "\n"
    "Writes a model, its adapters, or both with frozen text vectors (a bundle: detection then "
    "needs\n"
    "neither text tower nor vocabulary) as safetensors.\n"
    "\n"
    "  --model FILE     CLIP checkpoint of any layout\n"
    "  --adapters FILE  trained adapters; give text and image ones\n"
    "  --bundle         write a deployment bundle\n"
    "  --class NAME     class of the bundle; repeatable\n"
    "  --dataset NAME   take phrases from this data set's table; without --class all its classes\n"
    "  --phrase TEXT    words for a single class in prompts\n"
    "  --prompts FILE   JSON prompt set in place of the profile's\n"
    "  --vocab FILE     bpe_simple_vocab_16e6.txt.gz or merges.txt [beside the model]\n"
    "  --profile P      document or published [told by the adapters]\n"
    "  --f16            store the model's matrices in 16 bits\n"
    "  --threads N      [all processors]\n"
    "  --out FILE       what to write\n"
    "  --help, --version\n";

typedef struct command_line {
    const char *model, *out, *dataset, *phrase, *prompts, *vocabulary;
    string_list adapters, classes;
    bool bundle, float16, has_profile;
    aaclip_profile profile;
    unsigned threads;
} command_line;

enum option_code {
    OPTION_MODEL = 256,
    OPTION_ADAPTERS,
    OPTION_BUNDLE,
    OPTION_CLASS,
    OPTION_DATASET,
    OPTION_PHRASE,
    OPTION_PROMPTS,
    OPTION_VOCABULARY,
    OPTION_PROFILE,
    OPTION_F16,
    OPTION_THREADS,
    OPTION_OUT,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"model", required_argument, NULL, OPTION_MODEL},
    {"adapters", required_argument, NULL, OPTION_ADAPTERS},
    {"bundle", no_argument, NULL, OPTION_BUNDLE},
    {"class", required_argument, NULL, OPTION_CLASS},
    {"dataset", required_argument, NULL, OPTION_DATASET},
    {"phrase", required_argument, NULL, OPTION_PHRASE},
    {"prompts", required_argument, NULL, OPTION_PROMPTS},
    {"vocab", required_argument, NULL, OPTION_VOCABULARY},
    {"profile", required_argument, NULL, OPTION_PROFILE},
    {"f16", no_argument, NULL, OPTION_F16},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"out", required_argument, NULL, OPTION_OUT},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

static const char **text_option(command_line *arguments, int code)
{
    switch (code) {
    case OPTION_MODEL:
        return &arguments->model;
    case OPTION_DATASET:
        return &arguments->dataset;
    case OPTION_PHRASE:
        return &arguments->phrase;
    case OPTION_PROMPTS:
        return &arguments->prompts;
    case OPTION_VOCABULARY:
        return &arguments->vocabulary;
    case OPTION_OUT:
        return &arguments->out;
    default:
        return NULL;
    }
}

static bool parse_option(command_line *arguments, int code)
{
    switch (code) {
    case OPTION_ADAPTERS:
        return list_add(&arguments->adapters, optarg);
    case OPTION_CLASS:
        return list_add(&arguments->classes, optarg);
    case OPTION_BUNDLE:
        arguments->bundle = true;
        return true;
    case OPTION_F16:
        arguments->float16 = true;
        return true;
    case OPTION_PROFILE:
        arguments->has_profile = true;
        return parse_profile(&arguments->profile, optarg, PROGRAM);
    case OPTION_THREADS:
        return parse_number(&arguments->threads, optarg, 4096, "--threads", PROGRAM);
    default:
        return false;
    }
}

static bool add_dataset_classes(command_line *arguments)
{
    aaclip_domain domain;
    if (!arguments->dataset || arguments->classes.count)
        return true;
    if (aaclip_dataset_domain(arguments->dataset, &domain))
        return !complain(PROGRAM, "%s", aaclip_last_error());
    for (size_t i = 0; i < aaclip_dataset_class_count(arguments->dataset); i++)
        if (!list_add(&arguments->classes, aaclip_dataset_class_name(arguments->dataset, i)))
            return false;
    return true;
}

static bool check_arguments(const command_line *arguments)
{
    if (!arguments->model || !arguments->out)
        return !complain(PROGRAM, "--model and --out are needed; --help shows how to call this");
    if (arguments->bundle && !arguments->classes.count)
        return !complain(PROGRAM, "--bundle needs --class or --dataset");
    if (!arguments->bundle && arguments->classes.count)
        return !complain(PROGRAM, "classes are for bundles: add --bundle");
    if (arguments->phrase && arguments->classes.count != 1)
        return !complain(PROGRAM, "--phrase goes with exactly one --class");
    if (arguments->float16 && arguments->adapters.count && !arguments->bundle)
        return !complain(PROGRAM, "--f16 is for models and bundles; adapters stay float32");
    return true;
}

/* 0: go on; 1: wrong call; 2: nothing more to do */
static int parse(command_line *arguments, int argc, char **argv)
{
    for (int code; (code = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        const char **text = text_option(arguments, code);
        if (code == OPTION_HELP || code == OPTION_VERSION) {
            fputs(code == OPTION_HELP ? usage : aaclip_version_string(), stdout);
            fputs(code == OPTION_HELP ? "" : "\n", stdout);
            return 2;
        }
        if (text)
            *text = optarg;
        else if (!parse_option(arguments, code))
            return 1;
    }
    if (optind < argc)
        return complain(PROGRAM, "unexpected argument '%s'", argv[optind]);
    return add_dataset_classes(arguments) && check_arguments(arguments) ? 0 : 1;
}

static bool show_progress(size_t done, size_t total, void *user)
{
    progress_update(user, done, total);
    return true;
}

static aaclip_status build_classes(aaclip_text_cache *cache, const command_line *arguments)
{
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < arguments->classes.count; i++) {
        char buffer[512];
        const char *name = arguments->classes.items[i], *phrase = arguments->phrase;
        if (!phrase) {
            status = aaclip_class_phrase(arguments->dataset, name, buffer, sizeof buffer);
            phrase = buffer;
        }
        if (!status)
            status = aaclip_text_cache_build(cache, &name, &phrase, 1);
    }
    return status;
}

static aaclip_status write_bundle(const command_line *arguments, const aaclip_model *model,
                                  const aaclip_adapters *adapters)
{
    aaclip_text_cache *cache = NULL;
    aaclip_text_cache_options options;
    aaclip_config config;
    progress_bar bar;
    aaclip_config_init(&config, arguments->profile);
    aaclip_text_cache_options_init(&options);
    options.vocabulary = arguments->vocabulary;
    options.prompts = arguments->prompts;
    options.config = &config;
    options.progress = show_progress;
    options.progress_user = &bar;
    progress_start(&bar, "text");
    aaclip_status status = aaclip_text_cache_new(&cache, model, adapters, &options);
    if (!status)
        status = build_classes(cache, arguments);
    progress_end(&bar);
    if (!status)
        status = aaclip_bundle_save(arguments->out, model, adapters, cache, arguments->float16);
    aaclip_text_cache_close(&cache);
    return status;
}

static aaclip_status convert(const command_line *arguments)
{
    aaclip_model *model = NULL;
    aaclip_adapters *adapters = NULL;
    aaclip_model_options options;
    aaclip_config config;
    aaclip_model_options_init(&options);
    aaclip_config_init(&config, arguments->profile);
    options.threads = arguments->threads;
    aaclip_status status = aaclip_model_open(&model, arguments->model, &options);
    if (!status && arguments->adapters.count)
        status = aaclip_adapters_open(
            &adapters, model, (const char *const *)arguments->adapters.items,
            arguments->adapters.count, arguments->has_profile ? &config : NULL);
    if (!status && arguments->bundle)
        status = write_bundle(arguments, model, adapters);
    else if (!status && adapters)
        status = aaclip_adapters_save(adapters, arguments->out);
    else if (!status)
        status = aaclip_model_save(model, arguments->out, arguments->float16);
    aaclip_adapters_close(&adapters);
    aaclip_model_close(&model);
    return status;
}

int main(int argc, char **argv)
{
    command_line arguments = {0};
    int code = parse(&arguments, argc, argv);
    if (!code) {
        show_log(false);
        if (convert(&arguments))
            code = complain(PROGRAM, "%s", aaclip_last_error());
    }
    list_clear(&arguments.adapters);
    list_clear(&arguments.classes);
    return code == 2 ? 0 : code;
}
