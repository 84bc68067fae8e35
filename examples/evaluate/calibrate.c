/* Thresholds for a deployed detector, from the evaluated images. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

/* A class's images: scores, map peaks and labels. */
typedef struct class_images {
    float *scores, *peaks;
    int *labels;
    size_t count;
} class_images;

static bool is_file(const char *path)
{
    static const char ending[] = ".json";
    const size_t length = strlen(path), size = sizeof ending - 1;
    return length > size && strcmp(path + length - size, ending) == 0;
}

bool names_a_file(const char *class_name)
{
    return class_name[0] != '.' && !strchr(class_name, '/');
}

static bool class_can_calibrate(const session *state, size_t index)
{
    const command_line *arguments = state->arguments;
    const char *name = aaclip_dataset_class_name(state->dataset, index);
    const size_t normal = aaclip_dataset_class_size(state->dataset, index, 0);
    const size_t abnormal = aaclip_dataset_class_size(state->dataset, index, 1);
    if (!normal || (arguments->f1 && !abnormal))
        return !complain(PROGRAM,
                         "class \"%s\": thresholds need normal %simages, found %zu normal and %zu "
                         "abnormal ones",
                         name, arguments->f1 ? "and abnormal " : "", normal, abnormal);
    if (arguments->calibrate && !is_file(arguments->calibrate) && !names_a_file(name))
        return !complain(PROGRAM,
                         "class \"%s\": expected a valid file name; calibrate it alone, "
                         "with --class and --calibrate FILE.json",
                         name);
    return true;
}

/* The file of a class; makes its folder. NULL with a message. */
static char *class_file(const char *given, const char *class_name)
{
    if (!is_file(given) && !make_folders(given, PROGRAM))
        return NULL;
    char *path = is_file(given) ? strdup(given) : format_text("%s/%s.json", given, class_name);
    if (!path)
        complain(PROGRAM, "out of memory");
    return path;
}

static bool can_write_class(const char *given, const char *class_name)
{
    char *path = class_file(given, class_name);
    bool good = path && can_write_text_file(path, PROGRAM);
    free(path);
    return good;
}

bool can_calibrate(const session *state)
{
    const command_line *arguments = state->arguments;
    const size_t classes = aaclip_dataset_class_count(state->dataset);
    const bool one = arguments->save_adapters || is_file(arguments->calibrate);
    if (state->count > 1)
        return !complain(PROGRAM, "thresholds belong to one checkpoint, found %zu", state->count);
    if (arguments->save_adapters && !state->results[0].files.count)
        return !complain(PROGRAM, "--save-adapters needs adapters");
    if (one && classes > 1)
        return !complain(PROGRAM,
                         "thresholds belong to one class, found %zu: choose one with --class, or "
                         "give a folder to --calibrate",
                         classes);
    bool good = true;
    for (size_t i = 0; good && i < classes; i++)
        good = class_can_calibrate(state, i);
    for (size_t i = 0; good && arguments->calibrate && i < classes; i++)
        good = can_write_class(arguments->calibrate, aaclip_dataset_class_name(state->dataset, i));
    return good;
}

static void free_images(class_images *images)
{
    free(images->scores);
    free(images->peaks);
    free(images->labels);
}

/* Normal images, and with `both` abnormal ones. */
static bool collect(class_images *images, const evaluation *result, size_t class_index, bool both)
{
    *images = (class_images){malloc(result->count * sizeof *images->scores),
                             malloc(result->count * sizeof *images->peaks),
                             malloc(result->count * sizeof *images->labels), 0};
    if (!images->scores || !images->peaks || !images->labels)
        return !complain(PROGRAM, "out of memory");
    for (size_t i = 0; i < result->count; i++) {
        const image_row *row = &result->rows[i];
        const int label = row->sample->label;
        if (!row->done || row->sample->class_index != class_index ||
            (label != 0 && (label != 1 || !both)))
            continue;
        images->scores[images->count] = row->scores.score;
        images->peaks[images->count] = row->peak;
        images->labels[images->count++] = label;
    }
    return true;
}

/* `decide_by` -1: whichever separates them better. */
static aaclip_status choose_by_f1(aaclip_calibration *calibration, const class_images *images,
                                  int decide_by)
{
    double score_f1 = 0, map_f1 = 0;
    aaclip_status status = aaclip_calibrate_f1(images->scores, images->labels, images->count,
                                               &calibration->image_threshold, &score_f1);
    if (!status)
        status = aaclip_calibrate_f1(images->peaks, images->labels, images->count,
                                     &calibration->map_threshold, &map_f1);
    if (decide_by < 0)
        decide_by = map_f1 > score_f1 ? AACLIP_DECIDE_BY_MAP : AACLIP_DECIDE_BY_SCORE;
    calibration->decide_by = (aaclip_decide_by)decide_by;
    calibration->method = AACLIP_CALIBRATION_F1_MAX;
    return status;
}

/* Where either decides, each may cause half of the false alarms. */
static aaclip_status choose_by_rate(aaclip_calibration *calibration, const class_images *images,
                                    int decide_by, double rate)
{
    calibration->decide_by = decide_by < 0 ? AACLIP_DECIDE_BY_EITHER : (aaclip_decide_by)decide_by;
    calibration->method = AACLIP_CALIBRATION_QUANTILE;
    calibration->false_alarm_rate = rate;
    const double share = calibration->decide_by == AACLIP_DECIDE_BY_EITHER ? rate / 2 : rate;
    aaclip_status status = aaclip_calibrate_quantile(images->scores, images->count, share,
                                                     &calibration->image_threshold);
    return status ? status
                  : aaclip_calibrate_quantile(images->peaks, images->count, share,
                                              &calibration->map_threshold);
}

static aaclip_status choose_thresholds(aaclip_calibration *calibration, const class_images *images,
                                       const command_line *arguments)
{
    const int given = arguments->decide_by ? find_decide_by(arguments->decide_by) : -1;
    calibration->images = images->count;
    return arguments->f1 ? choose_by_f1(calibration, images, given)
                         : choose_by_rate(calibration, images, given, arguments->false_alarm_rate);
}

static bool write_calibration(const session *state, const char *class_name,
                              const aaclip_calibration *calibration,
                              const aaclip_adapters *adapters)
{
    const command_line *arguments = state->arguments;
    const char *given = arguments->calibrate;
    if (given) {
        char *path = class_file(given, class_name);
        bool written = path && !failed(aaclip_calibration_save(calibration, path));
        free(path);
        if (!written)
            return false;
    }
    return !arguments->save_adapters || !failed(aaclip_adapters_save_calibrated(
                                            adapters, calibration, arguments->save_adapters));
}

static void tell(const session *state, const char *name, const aaclip_calibration *calibration)
{
    const command_line *arguments = state->arguments;
    const double images = (double)calibration->images;
    if (table_is_shown(arguments)) {
        write_visible(stdout, name);
        printf(": image threshold %.6g, map threshold %.6g, decides by %s, from %.0f images\n",
               (double)calibration->image_threshold, (double)calibration->map_threshold,
               decide_by_names[calibration->decide_by], images);
    }
    const double each = calibration->decide_by == AACLIP_DECIDE_BY_EITHER ? 2 : 1;
    if (!arguments->f1 && images * arguments->false_alarm_rate < each)
        complain(PROGRAM,
                 "class \"%s\": %.0f normal images are too few to promise a false alarm rate of "
                 "%g; the thresholds are just above the largest of them",
                 name, images, arguments->false_alarm_rate);
}

bool calibrate(const session *state, const evaluation *result, const aaclip_adapters *adapters,
               const aaclip_detector *detector)
{
    bool good = true;
    for (size_t i = 0; good && i < aaclip_dataset_class_count(state->dataset); i++) {
        const char *name = aaclip_dataset_class_name(state->dataset, i);
        class_images images = {0};
        aaclip_calibration calibration;
        aaclip_calibration_init(&calibration);
        good = !failed(aaclip_detector_describe_calibration(detector, name, &calibration)) &&
               collect(&images, result, i, state->arguments->f1) &&
               !failed(choose_thresholds(&calibration, &images, state->arguments)) &&
               write_calibration(state, name, &calibration, adapters);
        if (good) {
            tell(state, name, &calibration);
            tell_of_thresholds(state, result, i, &calibration);
        }
        free_images(&images);
    }
    return good;
}
