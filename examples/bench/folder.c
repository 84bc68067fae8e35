/* aaclip-bench folder: aaclip-detect on folders of images, against the forward pass alone. */
#define _GNU_SOURCE /* nftw */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"

#define PROGRAM "aaclip-bench folder"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE [options]\n"
    "\n"
    "Runs aaclip-detect, which writes an overlay for each image, on a folder of N and on one of\n"
    "2 N generated images of 1024 x 768. The difference is the time of N images without start-up:\n"
    "folder_s per image. Then this process detects the same image as often: decoded_s with\n"
    "reading its file before each detection, forward_s without. over_forward is folder_s /\n"
    "forward_s. The last lines are the results.\n"
    "\n"
    "  --pictures N       images in the smaller folder [4]\n"
    "  --detect FILE      the program [aaclip-detect next to this one]\n"
    "  --repeat N         pairs of runs [3]\n" MODEL_HELP DETECTOR_HELP;

typedef struct command_line {
    session_arguments session;
    const char *detect;
    unsigned pictures;
} command_line;

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        SESSION_OPTIONS(&arguments->session),
        {"pictures", OPTION_NUMBER, &arguments->pictures, 10000, NULL},
        {"detect", OPTION_TEXT, &arguments->detect, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result != PARSE_RUN)
        return result;
    if (!session_arguments_fit(&arguments->session, &rest, PROGRAM))
        return PARSE_WRONG;
    bool good = arguments->pictures || !complain(PROGRAM, "--pictures: expected 1 or more");
    if (good && arguments->session.image)
        good = !complain(PROGRAM, "--image is for the other modes: folder generates its images");
    return good ? PARSE_RUN : PARSE_WRONG;
}

enum { PATH_SIZE = 4096 };

typedef struct folder_run {
    const command_line *arguments;
    session session;
    char program[PATH_SIZE]; /* aaclip-detect */
    char folder[TEMPORARY_SIZE];
    char path[3][TEMPORARY_SIZE + 16]; /* the two folders of pictures, and the output */
    char texts[TEMPORARY_SIZE + 32], picture[TEMPORARY_SIZE + 32];
} folder_run;

/* Smooth with some noise, so that it compresses as photographs do. */
static uint8_t *draw_picture(uint32_t width, uint32_t height)
{
    uint8_t *rgb = generate_picture(width, height);
    for (size_t i = 0; rgb && i < (size_t)width * height * 3; i++) {
        size_t x = i / 3 % width, y = i / 3 / width;
        rgb[i] = (uint8_t)((x / 8 + y / 6 + 40 * (i % 3)) % 240 + rgb[i] % 8);
    }
    return rgb;
}

static bool write_folder(const char *folder, unsigned count, const aaclip_image_view *view)
{
    bool good = mkdir(folder, 0777) == 0 || !complain(PROGRAM, "%s: %s", folder, strerror(errno));
    for (unsigned i = 0; good && i < count; i++) {
        char path[TEMPORARY_SIZE + 32];
        snprintf(path, sizeof path, "%s/%04u.png", folder, i);
        good = !aaclip_write_png(path, view) || !complain(PROGRAM, "%s", aaclip_last_error());
    }
    return good;
}

static bool prepare_files(folder_run *own)
{
    const uint32_t width = 1024, height = 768;
    const unsigned count = own->arguments->pictures;
    if (!make_temporary_folder(own->folder, PROGRAM))
        return false;
    for (int i = 0; i < 3; i++)
        snprintf(own->path[i], sizeof own->path[i], "%s/%d", own->folder, i);
    snprintf(own->texts, sizeof own->texts, "%s/texts.safetensors", own->folder);
    snprintf(own->picture, sizeof own->picture, "%s/0000.png", own->path[0]);
    uint8_t *rgb = draw_picture(width, height);
    const aaclip_image_view view = {rgb, width, height, 0, AACLIP_PIXEL_RGB8};
    bool good = rgb && write_folder(own->path[0], count, &view) &&
                write_folder(own->path[1], 2 * count, &view);
    free(rgb);
    return good;
}

static bool find_program(folder_run *own)
{
    if (own->arguments->detect) {
        snprintf(own->program, PATH_SIZE, "%s", own->arguments->detect);
    } else {
        static const char name[] = "/aaclip-detect";
        ssize_t length = readlink("/proc/self/exe", own->program, PATH_SIZE - sizeof name);
        own->program[length > 0 ? length : 0] = '\0';
        char *end = strrchr(own->program, '/');
        if (end)
            memcpy(end, name, sizeof name);
    }
    return access(own->program, X_OK) == 0 ||
           !complain(PROGRAM, "%s: not found; --detect names the program", own->program);
}

static bool failed(aaclip_status status)
{
    return reported(status, PROGRAM);
}

static bool open_all(folder_run *own)
{
    session *opened = &own->session;
    return find_program(own) && prepare_files(own) &&
           !failed(session_open_model(opened, &own->arguments->session)) &&
           !failed(session_open_text(opened)) &&
           !failed(session_open_detector(opened, own->arguments->session.image_size)) &&
           !failed(aaclip_text_cache_save(opened->cache, own->texts));
}

static bool add(string_list *list, const char *name, const char *value)
{
    return !value || (list_add(list, name) && list_add(list, value));
}

/* Arguments of aaclip-detect: the same model, and the text vectors at hand. */
static bool make_call(string_list *call, const folder_run *own, const char *pictures)
{
    const session_arguments *given = &own->arguments->session;
    char threads[16], size[16];
    snprintf(threads, sizeof threads, "%u", own->session.info.threads);
    snprintf(size, sizeof size, "%u", aaclip_detector_image_size(own->session.detector));
    bool good = list_add(call, own->program) && add(call, "--model", given->model) &&
                add(call, "--backend", given->backend) && add(call, "--threads", threads) &&
                add(call, "--packed", given->packed) && add(call, "--image-size", size) &&
                add(call, "--precision", aaclip_precision_name(own->session.info.precision)) &&
                add(call, "--class", own->session.class_name) && add(call, "--out", own->path[2]);
    if (own->session.info.has_text)
        good = good && add(call, "--text-cache", own->texts);
    for (size_t i = 0; i < given->adapters.count; i++)
        good = good && add(call, "--adapters", given->adapters.items[i]);
    return good && list_add(call, pictures);
}

static void become_program(char **call)
{
    int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDOUT_FILENO);
    execv(call[0], call);
    complain(PROGRAM, "%s: %s", call[0], strerror(errno));
    _exit(1);
}

/* Seconds of a run of the program; 0 after a message. */
static double run_program(const folder_run *own, const char *pictures)
{
    string_list call = {0};
    char **arguments = NULL;
    double seconds = 0;
    if (make_call(&call, own, pictures))
        arguments = calloc(call.count + 1, sizeof *arguments);
    if (arguments) {
        memcpy(arguments, call.items, call.count * sizeof *arguments);
        int status = 0;
        double now = seconds_now();
        pid_t child = fork();
        if (child == 0)
            become_program(arguments);
        bool good = child > 0 && waitpid(child, &status, 0) == child && status == 0;
        seconds = good ? seconds_now() - now : 0;
    }
    if (seconds <= 0)
        complain(PROGRAM, "%s failed", own->program);
    free(arguments);
    list_clear(&call);
    return seconds;
}

/* Every picture once, decoded before each detection or only once before all. */
static bool time_detections(folder_run *own, bool decode_each, double *seconds)
{
    aaclip_image *image = NULL;
    aaclip_result result = {.size = sizeof result};
    session *opened = &own->session;
    bool good = !failed(aaclip_image_open(&image, own->picture));
    double now = seconds_now();
    for (unsigned i = 0; good && i < own->arguments->pictures; i++) {
        if (decode_each) {
            aaclip_image_close(&image);
            good = !failed(aaclip_image_open(&image, own->picture));
        }
        const aaclip_image_view view = aaclip_image_get_view(image);
        good = good && !failed(aaclip_detector_detect(opened->detector, &view, opened->class_name,
                                                      &result));
    }
    *seconds = (seconds_now() - now) / own->arguments->pictures;
    aaclip_image_close(&image);
    return good;
}

static bool measure_once(folder_run *own, report *run)
{
    double forward = 0, decoded = 0, pictures = own->arguments->pictures;
    /* The first run does not count: on a virtual machine memory that nobody had for some seconds
     * comes slowly, a second for a gigabyte. */
    bool warm = run_program(own, own->path[0]) > 0;
    double less = warm ? run_program(own, own->path[0]) : 0;
    double more = less > 0 ? run_program(own, own->path[1]) : 0;
    if (more <= 0 || !time_detections(own, false, &forward) ||
        !time_detections(own, true, &decoded))
        return false;
    double folder = (more - less) / pictures;
    report_value(run, "folder_s", "s", "less", folder);
    report_value(run, "forward_s", "s", "less", forward);
    report_value(run, "decoded_s", "s", "less", decoded);
    report_value(run, "over_forward", "", "less", folder / forward);
    report_value(run, "start_s", "s", "less", less - pictures * folder);
    report_value(run, "images_per_second", "1/s", "more", 1 / folder);
    return true;
}

static bool measure(folder_run *own, report *run)
{
    double seconds;
    bool good = open_all(own) && time_detections(own, false, &seconds); /* warm */
    if (!good)
        return false;
    report_model(run, &own->session.info);
    report_number(run, "image_size", aaclip_detector_image_size(own->session.detector));
    report_number(run, "pictures", own->arguments->pictures);
    for (unsigned i = 0; good && i < own->arguments->session.repeat; i++)
        good = measure_once(own, run);
    return good;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

int bench_folder(int argc, char **argv)
{
    command_line arguments = {.session.repeat = 3, .pictures = 4};
    folder_run own = {.arguments = &arguments};
    parse_result parsed = parse(&arguments, argc, argv);
    bool good = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN) {
        show_log(false);
        report run = report_new("folder");
        good = measure(&own, &run) && report_finish(&run, "", arguments.session.json, PROGRAM);
        report_free(&run);
        session_close(&own.session);
        if (*own.folder)
            nftw(own.folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
    list_clear(&arguments.session.adapters);
    return good ? 0 : 1;
}
