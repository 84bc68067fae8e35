#include "options.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_OPTIONS = 60, FIRST_CODE = 256 };

static bool parse_precision(aaclip_precision *precision, const char *text, const char *program)
{
    for (int i = AACLIP_PRECISION_F32; i <= AACLIP_PRECISION_F16; i++)
        if (strcmp(text, aaclip_precision_name((aaclip_precision)i)) == 0) {
            *precision = (aaclip_precision)i;
            return true;
        }
    return !complain(program,
                     "--precision: expected f32, bf16, auto, int8, tf32 or f16, found '%s'", text);
}

static bool parse_profile(aaclip_profile *profile, const char *text, const char *program)
{
    *profile = strcmp(text, "published") == 0 ? AACLIP_PROFILE_PUBLISHED : AACLIP_PROFILE_DOCUMENT;
    return strcmp(text, aaclip_profile_name(*profile)) == 0 ||
           !complain(program, "--profile: expected document or published, found '%s'", text);
}

static bool parse_domain(aaclip_domain *domain, const char *text, const char *program)
{
    *domain = strcmp(text, "medical") == 0 ? AACLIP_DOMAIN_MEDICAL : AACLIP_DOMAIN_INDUSTRIAL;
    return strcmp(text, aaclip_domain_name(*domain)) == 0 ||
           !complain(program, "--domain: expected industrial or medical, found '%s'", text);
}

static bool parse_window(value_window *window, const char *text, const char *program)
{
    char *end;
    window->low = strtod(text, &end);
    const bool begun = end > text && *end == ',';
    const char *rest = begun ? end + 1 : text;
    window->high = strtod(rest, &end);
    return (begun && end > rest && !*end && window->low >= 0 && window->low < window->high &&
            window->high <= 65535) ||
           !complain(program,
                     "--window: expected LOW,HIGH with 0 <= LOW < HIGH <= 65535, found '%s'", text);
}

static bool parse_number(const program_option *option, const char *text, const char *program)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *(unsigned *)option->value = (unsigned)value;
    if (*text >= '0' && *text <= '9' && !*end && value <= option->most)
        return true;
    return !complain(program, "--%s: expected a number from 0 to %u, found '%s'", option->name,
                     option->most, text);
}

static bool parse_real(const program_option *option, const char *text, const char *program)
{
    char *end;
    double value = strtod(text, &end);
    *(double *)option->value = value;
    if (*text && !*end && isfinite(value) && value >= 0)
        return true;
    return !complain(program, "--%s: expected a non-negative number, found '%s'", option->name,
                     text);
}

/* A name that is not a file here: the model of that name in AACLIP_MODELS or the installation. */
static bool find_model(const program_option *option, const char *text, const char *program)
{
    static char path[4096]; /* of the one model that a program opens */
    const char *named = getenv("AACLIP_MODELS");
    const char *folder = named && *named ? named : INSTALLED_MODELS;
    *(const char **)option->value = text;
    if (!*text || strpbrk(text, "/.") || access(text, F_OK) == 0)
        return true;
    snprintf(path, sizeof path, "%s/%s/clip.safetensors", folder, text);
    *(const char **)option->value = path;
    return access(path, R_OK) == 0 ||
           !complain(program, "--model: no file '%s', and no model of that name: %s not found",
                     text, path);
}

static bool set_option(const program_option *option, const char *text, const char *program)
{
    if (option->given)
        *option->given = true;
    switch (option->kind) {
    case OPTION_TEXT:
        *(const char **)option->value = text;
        return true;
    case OPTION_MODEL:
        return find_model(option, text, program);
    case OPTION_LIST:
        return list_add(option->value, text) || !complain(program, "out of memory");
    case OPTION_FLAG:
        *(bool *)option->value = true;
        return true;
    case OPTION_NUMBER:
        return parse_number(option, text, program);
    case OPTION_REAL:
        return parse_real(option, text, program);
    case OPTION_PRECISION:
        return parse_precision(option->value, text, program);
    case OPTION_PROFILE:
        return parse_profile(option->value, text, program);
    case OPTION_DOMAIN:
        return parse_domain(option->value, text, program);
    case OPTION_WINDOW:
        return parse_window(option->value, text, program);
    }
    return false;
}

static void underscores_to_dashes(char *argument)
{
    if (strncmp(argument, "--", 2) != 0)
        return;
    for (char *c = argument; *c && *c != '='; c++)
        if (*c == '_')
            *c = '-';
}

parse_result parse_options(const program_option *options, const char *program, const char *usage,
                           int argc, char **argv, program_arguments *rest)
{
    struct option table[MOST_OPTIONS + 3] = {{0}};
    int count = 0;
    for (; count < MOST_OPTIONS && options[count].name; count++)
        table[count] =
            (struct option){options[count].name,
                            options[count].kind == OPTION_FLAG ? no_argument : required_argument,
                            NULL, FIRST_CODE + count};
    const int help = FIRST_CODE + count, version = help + 1;
    table[count] = (struct option){"help", no_argument, NULL, help};
    table[count + 1] = (struct option){"version", no_argument, NULL, version};
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        underscores_to_dashes(argv[i]);
    for (int code; (code = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (code == help || code == version) {
            fputs(code == help ? usage : aaclip_version_string(), stdout);
            fputs(code == help ? "" : "\n", stdout);
            return PARSE_DONE;
        }
        if (code < FIRST_CODE || !set_option(&options[code - FIRST_CODE], optarg, program))
            return PARSE_WRONG; /* getopt has reported it */
    }
    *rest = (program_arguments){argv + optind, argc - optind};
    return PARSE_RUN;
}
