/* aaclip-bench load: from the start of a process to its first result. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"

#define PROGRAM "aaclip-bench load"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE [options]\n"
    "\n"
    "Starts fresh processes, one after the other; each opens the model, detects once and then\n"
    "twice more. beyond_s is the time of the first result beyond one such detection, start of the\n"
    "process and of the libraries included. The last lines are the results.\n"
    "\n"
    "  --cold             drop the model's file from the page cache before each start\n"
    "  --repeat N         number of processes [5]\n" SESSION_HELP;

typedef struct command_line {
    session_arguments session;
    bool cold;
} command_line;

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        SESSION_OPTIONS(&arguments->session),
        {"cold", OPTION_FLAG, &arguments->cold, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result != PARSE_RUN)
        return result;
    return session_arguments_fit(&arguments->session, &rest, PROGRAM) ? PARSE_RUN : PARSE_WRONG;
}

/* Time of the first result, by the system's clock, less the drawing; seconds of the parts.
 */
typedef struct child_figures {
    double first_at, first_s, open_s, text_s, plan_s, forward_s, peak_memory_mb;
    double threads, image_size;
} child_figures;

static aaclip_status measure_child(session *own, const session_arguments *arguments,
                                   child_figures *figures)
{
    cold_start start = {0};
    aaclip_status status = session_cold_start(own, arguments, &start);
    figures->first_at = seconds_now() - start.drawing_s;
    figures->threads = own->info.threads;
    figures->image_size = aaclip_detector_image_size(own->detector);
    figures->first_s = start.first_s;
    figures->open_s = start.open_s;
    figures->text_s = start.text_s;
    figures->plan_s = start.plan_s;
    figures->peak_memory_mb = start.peak_memory_mb;
    for (int i = 0; !status && i < 2; i++) {
        double now = seconds_now();
        status = session_detect(own);
        double seconds = seconds_now() - now;
        if (i == 0 || seconds < figures->forward_s)
            figures->forward_s = seconds;
    }
    return status;
}

int bench_load_child(int argc, char **argv)
{
    command_line arguments = {.session.repeat = 1};
    session own = {0};
    child_figures figures = {0};
    if (parse(&arguments, argc, argv) != PARSE_RUN)
        return 1;
    show_log(false);
    aaclip_status status = measure_child(&own, &arguments.session, &figures);
    int code = reported(status, PROGRAM);
    if (!status)
        code = fwrite(&figures, sizeof figures, 1, stdout) != 1 || fflush(stdout) != 0;
    session_close(&own);
    list_clear(&arguments.session.adapters);
    return code;
}

/* The process writes its results to `output`. */
static void become_child(char **argv, int output)
{
    dup2(output, STDOUT_FILENO);
    execv("/proc/self/exe", argv);
    complain(PROGRAM, "/proc/self/exe: %s", strerror(errno));
    _exit(1);
}

static bool run_child(char **argv, child_figures *figures)
{
    int ends[2], status = 0;
    if (pipe(ends) != 0)
        return !complain(PROGRAM, "no pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0)
        become_child(argv, ends[1]);
    close(ends[1]);
    FILE *input = fdopen(ends[0], "rb");
    bool good = child > 0 && input && fread(figures, sizeof *figures, 1, input) == 1;
    if (input)
        fclose(input);
    good = child > 0 && waitpid(child, &status, 0) == child && status == 0 && good;
    return good || !complain(PROGRAM, "the measured process failed");
}

/* Drops the file's pages from the cache, unless another process has them mapped. */
static bool forget_file(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    bool good = file >= 0 && fstat(file, &info) == 0 && S_ISREG(info.st_mode) &&
                posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0;
    if (!good)
        complain(PROGRAM, "--cold: %s: expected a file that can leave the page cache", path);
    if (file >= 0)
        close(file);
    return good;
}

static bool measure(const command_line *arguments, char **child, report *run)
{
    for (unsigned i = 0; i < arguments->session.repeat; i++) {
        child_figures figures = {0};
        if (arguments->cold && !forget_file(arguments->session.model))
            return false;
        double started = seconds_now();
        if (!run_child(child, &figures))
            return false;
        if (i == 0) {
            report_number(run, "threads", figures.threads);
            report_number(run, "image_size", figures.image_size);
        }
        double first = figures.first_at - started;
        report_value(run, "first_result_s", "s", "less", first);
        report_value(run, "process_s", "s", "less", first - figures.first_s);
        report_value(run, "open_s", "s", "less", figures.open_s);
        report_value(run, "text_s", "s", "less", figures.text_s);
        report_value(run, "plan_s", "s", "less", figures.plan_s);
        report_value(run, "forward_s", "s", "less", figures.forward_s);
        report_value(run, "beyond_s", "s", "less", first - figures.forward_s);
        report_value(run, "peak_memory_mb", "MB", "less", figures.peak_memory_mb);
    }
    return true;
}

/* The same arguments, in another mode. */
static char **child_arguments(int argc, char **argv)
{
    static char program[] = "aaclip-bench", mode[] = "load-child";
    char **made = calloc((size_t)argc + 2, sizeof *made);
    if (!made)
        return NULL;
    made[0] = program;
    made[1] = mode;
    memcpy(made + 2, argv + 1, (size_t)(argc - 1) * sizeof *made);
    return made;
}

int bench_load(int argc, char **argv)
{
    command_line arguments = {.session.repeat = 5};
    char **child = child_arguments(argc, argv);
    parse_result parsed = parse(&arguments, argc, argv);
    bool good = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN && child) {
        report run = report_new("load");
        report_text(&run, "model", arguments.session.model);
        report_text(&run, "precision", aaclip_precision_name(arguments.session.precision));
        report_text(&run, "page_cache", arguments.cold ? "cold" : "warm");
        good = measure(&arguments, child, &run) &&
               report_finish(&run, "", arguments.session.json, PROGRAM);
        report_free(&run);
    }
    free(child);
    list_clear(&arguments.session.adapters);
    return good ? 0 : 1;
}
