/* aaclip-bench roofline: the yardsticks alone, for comparison with other programs. */
#include <unistd.h>

#include "options.h"
#include "roofline.h"

#define PROGRAM "aaclip-bench roofline"

static const char usage[] =
    "usage: " PROGRAM
    " [options]\n"
    "\n"
    "Measures bare oneDNN matrix products of 1370 x 1024 x 4096, each the best of eight, and\n"
    "copying blocks in memory.\n"
    "\n"
    "  --precision P      f32, bf16 or int8 [f32]\n"
    "  --threads N        [all processors]\n"
    "  --repeat N         measurements [5]\n"
    "  --json FILE        also write the results as JSON; - is stdout\n"
    "  --help, --version\n";

typedef struct command_line {
    aaclip_precision precision;
    unsigned threads, repeat;
    const char *json;
} command_line;

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"precision", OPTION_PRECISION, &arguments->precision, 0, NULL},
        {"threads", OPTION_NUMBER, &arguments->threads, 4096, NULL},
        {"repeat", OPTION_NUMBER, &arguments->repeat, 1000, NULL},
        {"json", OPTION_TEXT, &arguments->json, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result == PARSE_RUN && (rest.count || !arguments->repeat)) {
        complain(PROGRAM, "unexpected argument; see --help");
        return PARSE_WRONG;
    }
    const aaclip_precision precision = arguments->precision;
    if (result == PARSE_RUN && precision != AACLIP_PRECISION_F32 &&
        precision != AACLIP_PRECISION_BF16 && precision != AACLIP_PRECISION_INT8) {
        complain(PROGRAM, "--precision: expected f32, bf16 or int8, found %s",
                 aaclip_precision_name(precision));
        return PARSE_WRONG;
    }
    if (!arguments->threads)
        arguments->threads = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    return result;
}

static int measure(const command_line *arguments)
{
    report run = report_new("roofline");
    roofline *bare = roofline_new(NULL, arguments->precision, (int)arguments->threads);
    int code = 0;
    report_text(&run, "precision", aaclip_precision_name(arguments->precision));
    report_number(&run, "threads", arguments->threads);
    if (bare) {
        for (unsigned i = 0; i < arguments->repeat; i++) {
            report_value(&run, "product_gflops", "GFLOP/s", "more", roofline_gflops(bare));
            report_value(&run, "copy_gbs", "GB/s", "more",
                         roofline_copy_gbs(NULL, (int)arguments->threads));
        }
        code = !report_finish(&run, "", arguments->json, PROGRAM);
    } else {
        code = complain(PROGRAM, "this build or processor has no oneDNN products of %s",
                        aaclip_precision_name(arguments->precision));
    }
    roofline_free(bare);
    report_free(&run);
    return code;
}

int bench_roofline(int argc, char **argv)
{
    command_line arguments = {.repeat = 5};
    parse_result parsed = parse(&arguments, argc, argv);
    return parsed == PARSE_RUN ? measure(&arguments) : parsed == PARSE_WRONG;
}
