/* aaclip-bench detect: speed of detection as a fraction of that of bare matrix products at the same
 * time, and where its time goes. */
#include "cancel.h"
#include "roofline.h"
#include "session.h"

#define PROGRAM "aaclip-bench"

static const char usage[] =
    "usage: " PROGRAM
    " [detect] --model FILE [options]\n"
    "       " PROGRAM
    " train --model FILE [options]\n"
    "       " PROGRAM
    " text --model FILE [options]\n"
    "       " PROGRAM
    " load --model FILE [options]\n"
    "       " PROGRAM
    " folder --model FILE [options]\n"
    "       " PROGRAM
    " growth --model FILE [options]\n"
    "       " PROGRAM
    " roofline [options]\n"
    "       " PROGRAM
    " --compare A.json B.json\n"
    "\n"
    "Measures how fast this machine detects and trains. The last lines are the results: medians,\n"
    "with minimum and maximum. MODE --help describes a mode.\n"
    "\n"
    "detect measures the first result from a cold start, then detections interleaved with bare\n"
    "oneDNN matrix products (1370 x 1024 x 4096) of the same precision and number of threads.\n"
    "train measures training steps, load the start of fresh processes, folder aaclip-detect on\n"
    "many images against the forward pass alone, growth how time grows with image size, batch,\n"
    "prompts and threads, roofline the yardsticks alone. --compare prints two --json results and\n"
    "what got slower by more than their spread, with exit status 3.\n"
    "\n"
    "  --operations       a table of the operations by shape: milliseconds, rates and "
    "shares\n" CANCEL_HELP "  --repeat N         timed detections [5]\n" SESSION_HELP;

typedef struct command_line {
    session_arguments session;
    bool operations, cancel;
} command_line;

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        SESSION_OPTIONS(&arguments->session),
        {"operations", OPTION_FLAG, &arguments->operations, 0, NULL},
        {"cancel", OPTION_FLAG, &arguments->cancel, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result != PARSE_RUN)
        return result;
    return session_arguments_fit(&arguments->session, &rest, PROGRAM) ? PARSE_RUN : PARSE_WRONG;
}

/* Both under the same conditions: one product before every detection. */
static aaclip_status measure_once(session *own, const command_line *arguments, const roofline *bare,
                                  report *run)
{
    aaclip_profiler *profiler = NULL;
    double gflops = roofline_gflops(bare);
    if (arguments->operations)
        report_profile_begin(run, &profiler);
    double now = seconds_now();
    aaclip_status status = session_detect(own);
    double seconds = seconds_now() - now;
    if (profiler)
        report_profile_end(run, &profiler, seconds);
    if (status)
        return status;
    report_value(run, "detection_s", "s", "less", seconds);
    roofline_report(run, gflops, session_gflop(own) / seconds);
    return AACLIP_OK;
}

static aaclip_status measure(session *own, const command_line *arguments, report *run)
{
    unsigned repeat = arguments->session.repeat;
    roofline *bare = roofline_new(own->info.backend, own->info.precision, (int)own->info.threads);
    aaclip_status status = AACLIP_OK;
    progress_bar bar;
    progress_start(&bar, "detections");
    for (unsigned i = 0; !status && i < repeat; i++) {
        status = measure_once(own, arguments, bare, run);
        progress_update(&bar, i + 1, repeat);
    }
    progress_end(&bar);
    if (!status)
        report_value(run, "beyond_one_detection_s", "s", "less",
                     report_median(run, "first_result_s") - report_median(run, "detection_s"));
    if (arguments->operations)
        roofline_report_copy(run, own->info.backend, (int)own->info.threads);
    roofline_free(bare);
    return status;
}

static aaclip_status start_anew(void *user)
{
    session again = {0};
    cold_start seconds = {0};
    aaclip_status status = session_cold_start(&again, user, &seconds);
    session_close(&again);
    return status;
}

static aaclip_status detect_again(void *user)
{
    return session_detect(user);
}

static aaclip_status measure_ends(session *own, report *run)
{
    aaclip_status status =
        measure_cancels(run, "cancelled_start_s", start_anew, (void *)own->arguments);
    return status ? status : measure_cancels(run, "cancelled_detection_s", detect_again, own);
}

static void report_start(report *run, const session *own, const cold_start *start)
{
    report_model(run, &own->info);
    report_number(run, "image_size", aaclip_detector_image_size(own->detector));
    report_value(run, "open_s", "s", "less", start->open_s);
    report_value(run, "text_s", "s", "less", start->text_s);
    report_value(run, "plan_s", "s", "less", start->plan_s);
    report_value(run, "first_result_s", "s", "less", start->first_s);
    report_value(run, "peak_memory_mb", "MB", "less", start->peak_memory_mb);
    report_value(run, "gflop", "GFLOP", "", session_gflop(own));
}

int bench_detect(int argc, char **argv)
{
    command_line arguments = {.session.repeat = 5};
    session own = {0};
    cold_start start = {0};
    parse_result parsed = parse(&arguments, argc, argv);
    int code = parsed == PARSE_WRONG;
    if (parsed == PARSE_RUN) {
        show_log(false);
        report run = report_new("detect");
        aaclip_status status = session_cold_start(&own, &arguments.session, &start);
        if (!status) {
            report_start(&run, &own, &start);
            status = measure(&own, &arguments, &run);
        }
        if (!status && arguments.cancel)
            status = measure_ends(&own, &run);
        code = status ? reported(status, PROGRAM)
                      : !report_finish(&run, "detection_s", arguments.session.json, PROGRAM);
        report_free(&run);
    }
    session_close(&own);
    list_clear(&arguments.session.adapters);
    return code;
}
