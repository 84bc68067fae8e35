/* aaclip-convert: any checkpoint, adapters or deployment bundle to safetensors. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

#define PROGRAM "aaclip-convert"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE --out FILE [--f16]\n"
    "       " PROGRAM
    " --model FILE --adapters FILE... --out FILE\n"
    "       " PROGRAM
    " --bundle --model FILE [--adapters FILE]... --class NAME... --out FILE\n"
    "       " PROGRAM
    " --verify FILE\n"
    "\n"
    "Writes a model, its adapters, or both with frozen text vectors (a bundle, which needs\n"
    "neither text tower nor vocabulary for detection) as safetensors.\n"
    "\n"
    "  --model FILE     CLIP checkpoint of any layout, or the name aaclip-mini\n"
    "  --adapters FILE  trained adapters; repeat for text and image\n"
    "  --bundle         write a deployment bundle\n"
    "  --class NAME     class in the bundle; repeatable\n"
    "  --dataset NAME   phrases from this data set's table; all its classes without --class\n"
    "  --phrase TEXT    phrase for a single class in prompts\n"
    "  --prompts FILE   JSON prompt set instead of the profile's\n"
    "  --vocab FILE     bpe_simple_vocab_16e6.txt.gz or merges.txt [next to the model]\n"
    "  --profile P      document or published [from the adapters]\n"
    "  --f16            store the model's matrices in 16 bits\n"
    "  --threads N      [all processors]\n"
    "  --out FILE       file to write\n"
    "  --verify FILE    compare such a file with the checksum in it\n"
    "  --help, --version\n";

typedef struct command_line {
    const char *model, *out, *verify, *dataset, *phrase, *prompts, *vocabulary;
    string_list adapters, classes;
    bool bundle, float16, has_profile;
    aaclip_profile profile;
    unsigned threads;
} command_line;

static bool add_dataset_classes(command_line *arguments)
{
    aaclip_domain domain;
    if (!arguments->dataset || arguments->classes.count)
        return true;
    if (aaclip_known_dataset_domain(arguments->dataset, &domain))
        return !complain(PROGRAM, "%s", aaclip_last_error());
    for (size_t i = 0; i < aaclip_known_dataset_class_count(arguments->dataset); i++)
        if (!list_add(&arguments->classes, aaclip_known_dataset_class_name(arguments->dataset, i)))
            return false;
    return true;
}

static bool check_arguments(const command_line *arguments)
{
    if (arguments->verify && (arguments->model || arguments->out))
        return !complain(PROGRAM, "--verify goes without --model and --out");
    if (arguments->verify)
        return true;
    if (!arguments->model || !arguments->out)
        return !complain(PROGRAM, "--model and --out are needed; see --help");
    if (arguments->bundle && !arguments->classes.count)
        return !complain(PROGRAM, "--bundle needs --class or --dataset");
    if (!arguments->bundle && arguments->classes.count)
        return !complain(PROGRAM, "--class and --dataset are for bundles: add --bundle");
    if (!arguments->bundle && (arguments->prompts || arguments->vocabulary))
        return !complain(PROGRAM, "--%s is for bundles: add --bundle",
                         arguments->prompts ? "prompts" : "vocab");
    if (!arguments->bundle && !arguments->adapters.count && arguments->has_profile)
        return !complain(PROGRAM, "--profile is for adapters and bundles");
    if (arguments->phrase && arguments->classes.count != 1)
        return !complain(PROGRAM, "--phrase goes with exactly one --class");
    if (arguments->float16 && arguments->adapters.count && !arguments->bundle)
        return !complain(PROGRAM, "--f16 is for models and bundles; adapters stay float32");
    return true;
}

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"model", OPTION_MODEL, &arguments->model, 0, NULL},
        {"adapters", OPTION_LIST, &arguments->adapters, 0, NULL},
        {"bundle", OPTION_FLAG, &arguments->bundle, 0, NULL},
        {"class", OPTION_LIST, &arguments->classes, 0, NULL},
        {"dataset", OPTION_TEXT, &arguments->dataset, 0, NULL},
        {"phrase", OPTION_TEXT, &arguments->phrase, 0, NULL},
        {"prompts", OPTION_TEXT, &arguments->prompts, 0, NULL},
        {"vocab", OPTION_TEXT, &arguments->vocabulary, 0, NULL},
        {"profile", OPTION_PROFILE, &arguments->profile, 0, &arguments->has_profile},
        {"f16", OPTION_FLAG, &arguments->float16, 0, NULL},
        {"threads", OPTION_NUMBER, &arguments->threads, 4096, NULL},
        {"out", OPTION_TEXT, &arguments->out, 0, NULL},
        {"verify", OPTION_TEXT, &arguments->verify, 0, NULL},
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
    return add_dataset_classes(arguments) && check_arguments(arguments) ? PARSE_RUN : PARSE_WRONG;
}

static bool show_progress(size_t done, size_t total, void *user)
{
    progress_update(user, done, total);
    return true;
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
        status = build_classes(cache, arguments->dataset, arguments->phrase, &arguments->classes);
    progress_end(&bar);
    if (!status)
        status = aaclip_bundle_save(model, adapters, cache, arguments->out, arguments->float16);
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

static volatile sig_atomic_t interrupted;

static aaclip_status verify(const char *path)
{
    const aaclip_status status = aaclip_verify_file(path);
    if (!status)
        printf("%s: as it was written\n", path);
    return status;
}

/* The second signal ends the program as usual. */
static void stop(int number)
{
    interrupted = 1;
    signal(number, SIG_DFL);
}

int main(int argc, char **argv)
{
    command_line arguments = {0};
    parse_result parsed = parse(&arguments, argc, argv);
    int code = parsed == PARSE_WRONG;
    if (parsed == PARSE_RUN) {
        show_log(false);
        signal(SIGINT, stop); /* leaves no partial file */
        signal(SIGTERM, stop);
        aaclip_watch_cancel(&interrupted);
        code = reported(arguments.verify ? verify(arguments.verify) : convert(&arguments), PROGRAM);
    }
    list_clear(&arguments.adapters);
    list_clear(&arguments.classes);
    return end_program(code, PROGRAM);
}
