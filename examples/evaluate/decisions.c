/* Quality of thresholds: decisions with those of --calibration, and with newly chosen ones. */
#include "session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const decision_names[DECISION_COUNT] = {
    "TP", "FP", "TN", "FN", "sensitivity", "specificity", "pixel Dice", "pixel IoU"};

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool open_class(aaclip_calibration *calibration, const char *given, const char *name)
{
    const bool folder = is_folder(given);
    aaclip_calibration_init(calibration);
    if (folder && !names_a_file(name))
        return !complain(
            PROGRAM,
            "class \"%s\": expected a valid file name; evaluate it alone, with --class "
            "and --calibration FILE.json",
            name);
    char *path = folder ? format_text("%s/%s.json", given, name) : strdup(given);
    if (!path)
        return !complain(PROGRAM, "out of memory");
    bool opened = aaclip_calibration_load(calibration, path) == AACLIP_OK ||
                  !complain(PROGRAM, "class \"%s\": %s", name, aaclip_last_error());
    free(path);
    return opened;
}

bool open_calibrations(session *state)
{
    const char *given = state->arguments->calibration;
    const size_t classes = aaclip_dataset_class_count(state->dataset);
    if (state->count > 1)
        return !complain(PROGRAM, "thresholds belong to one checkpoint, found %zu", state->count);
    if (classes > 1 && !is_folder(given))
        return !complain(PROGRAM,
                         "thresholds belong to one class, found %zu: choose one with --class, or "
                         "give --calibration a folder with CLASS.json of each",
                         classes);
    state->calibrations = calloc(classes, sizeof *state->calibrations);
    if (!state->calibrations)
        return !complain(PROGRAM, "out of memory");
    bool good = true;
    for (size_t i = 0; good && i < classes; i++)
        good = open_class(&state->calibrations[i], given,
                          aaclip_dataset_class_name(state->dataset, i));
    return good;
}

bool check_calibrations(const session *state, const aaclip_detector *detector)
{
    bool good = true;
    for (size_t i = 0;
         good && state->calibrations && i < aaclip_dataset_class_count(state->dataset); i++)
        good = !failed(aaclip_detector_check_calibration(
            detector, aaclip_dataset_class_name(state->dataset, i), &state->calibrations[i]));
    return good;
}

static void count_call(confusion *counts, bool called, bool abnormal)
{
    counts->true_positives += called && abnormal;
    counts->false_positives += called && !abnormal;
    counts->true_negatives += !called && !abnormal;
    counts->false_negatives += !called && abnormal;
}

static void add_counts(confusion *sum, const confusion *counts)
{
    sum->true_positives += counts->true_positives;
    sum->false_positives += counts->false_positives;
    sum->true_negatives += counts->true_negatives;
    sum->false_negatives += counts->false_negatives;
}

/* At the size of the map, where its pixel metrics are counted. */
static aaclip_status call_pixels(image_row *row, const map_image *map, const uint8_t *truth,
                                 float threshold)
{
    const size_t pixels = (size_t)map->width * map->height;
    float *probability = malloc(pixels * sizeof *probability);
    uint8_t *called = malloc(pixels);
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (probability && called) {
        aaclip_map_probability(map->values, pixels, row->scores.levels, probability);
        status =
            aaclip_map_threshold(probability, NULL, map->width, map->height, threshold, called);
    }
    for (size_t i = 0; !status && i < pixels; i++)
        count_call(&row->pixels, called[i], truth && truth[i]);
    free(probability);
    free(called);
    return status;
}

/* The peak, a map of one pixel, stands for the map: nothing else of it decides. */
aaclip_status decide_image(image_row *row, const aaclip_calibration *calibration)
{
    return aaclip_decide(calibration, row->scores.score, &row->peak, NULL, 1, 1, &row->defective);
}

aaclip_status decide_pixels(image_row *row, const map_image *map, const uint8_t *truth,
                            const aaclip_calibration *calibration)
{
    if (!truth && row->sample->label != 0)
        return AACLIP_OK;
    return call_pixels(row, map, truth, calibration->map_threshold);
}

static double ratio(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

/* Dice is F1 of pixels. Like all metrics, it is not available where nothing is abnormal. */
static double f1(const confusion *counts)
{
    const uint64_t found = counts->true_positives, missed = counts->false_negatives;
    return found + missed ? ratio(2 * found, 2 * found + counts->false_positives + missed) : NAN;
}

static double overlap(const confusion *counts)
{
    const uint64_t found = counts->true_positives, missed = counts->false_negatives;
    return found + missed ? ratio(found, found + counts->false_positives + missed) : NAN;
}

static void rate(class_decisions *decisions)
{
    const confusion *images = &decisions->images;
    decisions->rates[0] =
        ratio(images->true_positives, images->true_positives + images->false_negatives);
    decisions->rates[1] =
        ratio(images->true_negatives, images->true_negatives + images->false_positives);
    decisions->rates[2] = f1(&decisions->pixels);
    decisions->rates[3] = overlap(&decisions->pixels);
}

/* As for metrics: classes without a value are skipped, counts are sums. */
static void find_mean(class_decisions *mean, const class_decisions *decisions, size_t classes)
{
    for (size_t i = 0; i < classes; i++) {
        add_counts(&mean->images, &decisions[i].images);
        add_counts(&mean->pixels, &decisions[i].pixels);
    }
    for (size_t r = 0; r < RATE_COUNT; r++) {
        double sum = 0;
        size_t count = 0;
        for (size_t i = 0; i < classes; i++)
            if (!isnan(decisions[i].rates[r])) {
                sum += decisions[i].rates[r];
                count++;
            }
        mean->rates[r] = count ? sum / (double)count : NAN;
    }
}

static size_t place_of_class(const evaluation *result, const char *name)
{
    size_t place = 0;
    while (place < result->classes.count && strcmp(result->classes.items[place], name) != 0)
        place++;
    return place;
}

bool sum_decisions(evaluation *result, const aaclip_calibration *calibrations)
{
    const size_t classes = result->classes.count;
    result->decisions = calloc(classes + 1, sizeof *result->decisions);
    if (!result->decisions)
        return !complain(PROGRAM, "out of memory");
    for (size_t i = 0; i < result->count; i++) {
        const image_row *row = &result->rows[i];
        if (!row->done)
            continue;
        class_decisions *decisions =
            &result->decisions[place_of_class(result, row->sample->class_name)];
        decisions->thresholds = &calibrations[row->sample->class_index];
        add_counts(&decisions->pixels, &row->pixels);
        if (row->sample->label >= 0)
            count_call(&decisions->images, row->defective, row->sample->label);
    }
    for (size_t i = 0; i < classes; i++)
        rate(&result->decisions[i]);
    find_mean(&result->decisions[classes], result->decisions, classes);
    return true;
}

void decision_texts(const class_decisions *decisions, char texts[DECISION_COUNT][COLUMN_SIZE])
{
    const confusion *images = &decisions->images;
    const uint64_t counts[] = {images->true_positives, images->false_positives,
                               images->true_negatives, images->false_negatives};
    const size_t first = sizeof counts / sizeof *counts;
    for (size_t i = 0; i < first; i++)
        snprintf(texts[i], COLUMN_SIZE, "%llu", (unsigned long long)counts[i]);
    for (size_t i = 0; i < RATE_COUNT; i++)
        percent_text(decisions->rates[i], texts[first + i]);
}

/* The labelled images of a class, by the score, the peak of the map, or either. */
static confusion call_images(const evaluation *result, size_t class_index,
                             const aaclip_calibration *chosen, aaclip_decide_by decide_by)
{
    confusion counts = {0};
    aaclip_calibration calibration = *chosen;
    calibration.decide_by = decide_by;
    for (size_t i = 0; i < result->count; i++) {
        image_row row = result->rows[i];
        if (row.done && row.sample->class_index == class_index && row.sample->label >= 0 &&
            !decide_image(&row, &calibration))
            count_call(&counts, row.defective, row.sample->label);
    }
    return counts;
}

static void print_calls(const char *what, const confusion *calls)
{
    const uint64_t normal = calls->false_positives + calls->true_negatives;
    const uint64_t abnormal = calls->true_positives + calls->false_negatives;
    printf("  %s: %llu of %llu normal images called abnormal", what,
           (unsigned long long)calls->false_positives, (unsigned long long)normal);
    if (abnormal)
        printf(", %llu of %llu abnormal ones missed, F1 %.1f",
               (unsigned long long)calls->false_negatives, (unsigned long long)abnormal,
               100 * f1(calls));
    putchar('\n');
}

static void warn_of_calls(const char *class_name, const char *what, const confusion *calls)
{
    if (calls->false_positives && !calls->true_negatives && !calls->false_negatives)
        complain(PROGRAM, "class \"%s\": the %s threshold calls every image abnormal", class_name,
                 what);
}

void tell_of_thresholds(const session *state, const evaluation *result, size_t class_index,
                        const aaclip_calibration *chosen)
{
    const double hardly = 0.6;
    const char *name = aaclip_dataset_class_name(state->dataset, class_index);
    const aaclip_metric_values *values = &result->values[place_of_class(result, name)];
    const confusion scores = call_images(result, class_index, chosen, AACLIP_DECIDE_BY_SCORE);
    const confusion maps = call_images(result, class_index, chosen, AACLIP_DECIDE_BY_MAP);
    const confusion both = call_images(result, class_index, chosen, AACLIP_DECIDE_BY_EITHER);
    if (table_is_shown(state->arguments)) {
        print_calls("score", &scores);
        print_calls("map", &maps);
        print_calls("either", &both);
        if (!isnan(values->image_auroc))
            printf("  image AUROC: %.1f of the score, %.1f of the data-set score\n",
                   100 * values->image_auroc, 100 * values->dataset_auroc);
    }
    warn_of_calls(name, "image", &scores);
    warn_of_calls(name, "map", &maps);
    if (values->image_auroc < hardly)
        complain(PROGRAM,
                 "class \"%s\": image AUROC of the score is %.1f: it hardly separates abnormal "
                 "images from normal ones, whatever the threshold",
                 name, 100 * values->image_auroc);
}
