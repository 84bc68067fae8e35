#include "evaluate.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const column_names[COLUMN_COUNT] = {"pixel AUROC", "pixel AP",    "pixel F1-max",
                                                "AUPRO 0.3",   "image AUROC", "image AP",
                                                "image F1-max"};

void percent_text(double share, char text[COLUMN_SIZE])
{
    if (isnan(share))
        snprintf(text, COLUMN_SIZE, "n/a");
    else
        snprintf(text, COLUMN_SIZE, "%.1f", 100 * share);
}

void column_texts(const aaclip_metric_values *values, char texts[COLUMN_COUNT][COLUMN_SIZE])
{
    const double columns[COLUMN_COUNT] = {
        values->pixel_auroc,   values->pixel_ap,   values->pixel_f1_max,  values->aupro_30,
        values->dataset_auroc, values->dataset_ap, values->dataset_f1_max};
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        percent_text(columns[i], texts[i]);
}

const char *values_name(const evaluation *result, size_t index)
{
    return index < result->classes.count ? result->classes.items[index] : "mean";
}

static void widen(map_scale *range, float least, float largest)
{
    range->least = fminf(range->least, least);
    range->largest = fmaxf(range->largest, largest);
}

static float stretch(const map_scale *range, float value)
{
    const float width = range->largest - range->least;
    if (range->largest == 1)
        return value;
    return width > 0 ? (value - range->least) / width : 0;
}

static void score_class(evaluation *result, size_t class_index, aaclip_domain domain)
{
    map_scale maps = {FLT_MAX, -FLT_MAX}, scores = maps;
    for (size_t i = 0; i < result->count; i++) {
        const image_row *row = &result->rows[i];
        if (!row->done || row->sample->class_index != class_index)
            continue;
        widen(&maps, row->scores.map_least, row->scores.map_largest);
        widen(&scores, row->scores.score, row->scores.score);
    }
    for (size_t i = 0; i < result->count; i++) {
        image_row *row = &result->rows[i];
        if (!row->done || row->sample->class_index != class_index)
            continue;
        const float map = stretch(&maps, row->scores.map_largest);
        const float undecided = 0.5f * (float)row->scores.levels;
        row->scale = (map_scale){maps.least, fmaxf(maps.largest, undecided)};
        row->dataset_score = domain == AACLIP_DOMAIN_MEDICAL
                                 ? map
                                 : 0.5f * map + 0.5f * stretch(&scores, row->scores.score);
    }
}

void score_dataset(evaluation *result, aaclip_domain domain)
{
    size_t classes = 0;
    for (size_t i = 0; i < result->count; i++)
        if (result->rows[i].sample->class_index >= classes)
            classes = result->rows[i].sample->class_index + 1;
    for (size_t i = 0; i < classes; i++)
        score_class(result, i, domain);
}

/* Columns on screen, also with multibyte characters. */
static int shown_length(const char *text)
{
    int length = 0;
    for (; *text; text++)
        length += ((unsigned char)*text & 0xc0) != 0x80;
    return length;
}

static int name_width(const evaluation *result)
{
    int width = shown_length("class");
    for (size_t i = 0; i <= result->classes.count; i++)
        if (shown_length(values_name(result, i)) > width)
            width = shown_length(values_name(result, i));
    return width;
}

/* A row with columns as wide as their names, but wide enough for counts. */
static void print_row(const char *first, int width, const char *const *names, size_t count,
                      char (*texts)[COLUMN_SIZE])
{
    const int least = 5;
    write_visible(stdout, first);
    printf("%*s", width - shown_length(first), "");
    for (size_t i = 0; i < count; i++) {
        const int length = (int)strlen(names[i]);
        printf("  %*s", length > least ? length : least, texts ? texts[i] : names[i]);
    }
    putchar('\n');
}

void print_table(const evaluation *result)
{
    const int width = name_width(result);
    write_visible(stdout, result->name);
    putchar('\n');
    print_row("class", width, column_names, COLUMN_COUNT, NULL);
    for (size_t i = 0; i <= result->classes.count; i++) {
        char texts[COLUMN_COUNT][COLUMN_SIZE];
        column_texts(&result->values[i], texts);
        print_row(values_name(result, i), width, column_names, COLUMN_COUNT, texts);
    }
    printf("%zu images computed, %zu taken from an earlier run, %zu failed; %.3g images/s\n\n",
           result->computed, result->reused, result->failed,
           (double)result->count / result->seconds);
}

void print_decisions(const evaluation *result, const char *path)
{
    const int width = name_width(result);
    printf("decisions by ");
    write_visible(stdout, path);
    puts(", pixels at the size of the maps");
    print_row("class", width, decision_names, DECISION_COUNT, NULL);
    for (size_t i = 0; i <= result->classes.count; i++) {
        char texts[DECISION_COUNT][COLUMN_SIZE];
        decision_texts(&result->decisions[i], texts);
        print_row(values_name(result, i), width, decision_names, DECISION_COUNT, texts);
    }
    putchar('\n');
}

/* null where the metric is not available. */
static int set_real(json_t *object, const char *name, double value)
{
    return json_object_set_new(object, name, isnan(value) ? json_null() : json_real(value));
}

static json_t *values_json(const char *name, const aaclip_metric_values *values)
{
    const struct {
        const char *name;
        double value;
    } reals[] = {
        {"pixel_auroc", values->pixel_auroc},
        {"pixel_ap", values->pixel_ap},
        {"pixel_f1_max", values->pixel_f1_max},
        {"pixel_f1_threshold", values->pixel_f1_threshold},
        {"aupro_30", values->aupro_30},
        {"aupro_05", values->aupro_05},
        {"image_auroc", values->dataset_auroc},
        {"image_ap", values->dataset_ap},
        {"image_f1_max", values->dataset_f1_max},
        {"image_f1_threshold", values->dataset_f1_threshold},
        {"raw_image_auroc", values->image_auroc},
        {"raw_image_ap", values->image_ap},
        {"raw_image_f1_max", values->image_f1_max},
        {"raw_image_f1_threshold", values->image_f1_threshold},
        {"pixel_auroc_error", values->pixel_auroc_error},
        {"pixel_ap_error", values->pixel_ap_error},
        {"pixel_f1_max_error", values->pixel_f1_max_error},
        {"aupro_30_error", values->aupro_30_error},
        {"aupro_05_error", values->aupro_05_error},
    };
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"images", values->images},
        {"normal_images", values->normal_images},
        {"abnormal_images", values->abnormal_images},
        {"regions", values->regions},
        {"normal_pixels", values->normal_pixels},
        {"abnormal_pixels", values->abnormal_pixels},
    };
    int failed = 0;
    json_t *object = json_pack("{s:o}", "class", text_json(name));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        failed |=
            json_object_set_new(object, counts[i].name, json_integer((json_int_t)counts[i].value));
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        failed |= set_real(object, reals[i].name, reals[i].value);
    return made_json(object, failed);
}

static json_t *decisions_json(const class_decisions *decisions)
{
    static const char *const names[RATE_COUNT] = {"sensitivity", "specificity", "pixel_dice",
                                                  "pixel_iou"};
    const confusion *images = &decisions->images;
    const aaclip_calibration *thresholds = decisions->thresholds;
    int failed = 0;
    json_t *object = json_pack(
        "{s:I, s:I, s:I, s:I}", "true_positives", (json_int_t)images->true_positives,
        "false_positives", (json_int_t)images->false_positives, "true_negatives",
        (json_int_t)images->true_negatives, "false_negatives", (json_int_t)images->false_negatives);
    for (size_t i = 0; i < RATE_COUNT; i++)
        failed |= set_real(object, names[i], decisions->rates[i]);
    if (thresholds) {
        failed |= set_real(object, "image_threshold", (double)thresholds->image_threshold);
        failed |= set_real(object, "map_threshold", (double)thresholds->map_threshold);
    }
    return made_json(object, failed);
}

/* Of a class, or the mean. */
static json_t *class_json(const evaluation *result, size_t index)
{
    json_t *object = values_json(values_name(result, index), &result->values[index]);
    int failed = 0;
    if (result->decisions)
        failed =
            json_object_set_new(object, "decisions", decisions_json(&result->decisions[index]));
    return made_json(object, failed);
}

/* NULL, as of the next: out of memory. */
static json_t *result_json(const evaluation *result)
{
    int failed = 0;
    json_t *classes = json_array(), *failures = json_array(), *files = json_array();
    for (size_t i = 0; i < result->classes.count; i++)
        failed |= json_array_append_new(classes, class_json(result, i));
    for (size_t i = 0; i < result->count; i++)
        if (result->rows[i].failure)
            failed |= json_array_append_new(failures,
                                            json_pack("{s:o, s:o}", "image",
                                                      text_json(result->rows[i].sample->image_path),
                                                      "error", text_json(result->rows[i].failure)));
    for (size_t i = 0; i < result->files.count; i++)
        failed |= json_array_append_new(files, text_json(result->files.items[i]));
    json_t *mean = class_json(result, result->classes.count);
    json_t *object = json_pack("{s:o, s:o, s:I, s:I, s:f, s:o, s:o, s:o}", "name",
                               text_json(result->name), "files", files, "computed",
                               (json_int_t)result->computed, "reused", (json_int_t)result->reused,
                               "images_per_second", (double)result->count / result->seconds,
                               "failed", failures, "classes", classes, "mean", mean);
    return made_json(object, failed);
}

static json_t *results_json(const evaluation *results, size_t count)
{
    int failed = 0;
    json_t *checkpoints = json_array();
    for (size_t i = 0; i < count; i++)
        failed |= json_array_append_new(checkpoints, result_json(&results[i]));
    return made_json(checkpoints, failed);
}

bool write_results_json(const char *path, json_t *settings, const evaluation *results, size_t count)
{
    bool made = json_object_set_new(settings, "checkpoints", results_json(results, count)) == 0 ||
                !complain(PROGRAM, "out of memory");
    text_output output;
    bool opened = made && open_text_file(&output, path, PROGRAM);
    bool written = opened && json_dumpf(settings, output.file, JSON_INDENT(2)) == 0 &&
                   fputc('\n', output.file) != EOF;
    json_decref(settings);
    return opened && finish_text_file(&output, written, PROGRAM) && written;
}

/* Optional fields: decision and picture. */
static void write_more(FILE *file, const evaluation *result, const image_row *row)
{
    if (result->decisions)
        fputs(row->defective ? ",1" : ",0", file);
    if (result->pictures) {
        char *picture = picture_file(result->pictures, row->sample);
        fputc(',', file);
        write_quoted(file, picture ? picture : "");
        free(picture);
    }
    fputc('\n', file);
}

static void write_rows(FILE *file, const evaluation *result)
{
    for (size_t i = 0; i < result->count; i++) {
        const image_row *row = &result->rows[i];
        if (!row->done)
            continue;
        write_quoted(file, result->name);
        fputc(',', file);
        write_quoted(file, row->sample->class_name);
        fputc(',', file);
        write_quoted(file, row->sample->image_path);
        fprintf(file, ",%d,%.9g,%.9g,%.9g,%.9g", row->sample->label, (double)row->scores.score,
                (double)row->dataset_score, (double)row->scores.map_least,
                (double)row->scores.map_largest);
        write_more(file, result, row);
    }
}

bool write_scores_csv(const char *path, const evaluation *results, size_t count)
{
    text_output output;
    if (!open_text_file(&output, path, PROGRAM))
        return false;
    fprintf(output.file,
            "checkpoint,class,image,label,score,dataset_score,map_least,map_largest%s%s\n",
            results->decisions ? ",decision" : "", results->pictures ? ",picture" : "");
    for (size_t i = 0; i < count; i++)
        write_rows(output.file, &results[i]);
    return finish_text_file(&output, true, PROGRAM);
}
