#include "evaluate.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const column_names[COLUMN_COUNT] = {"pixel AUROC", "pixel AP",    "pixel F1-max",
                                                "AUPRO 0.3",   "image AUROC", "image AP",
                                                "image F1-max"};

void column_texts(const aaclip_metric_values *values, char texts[COLUMN_COUNT][16])
{
    const double columns[COLUMN_COUNT] = {
        values->pixel_auroc,   values->pixel_ap,   values->pixel_f1_max,  values->aupro_30,
        values->dataset_auroc, values->dataset_ap, values->dataset_f1_max};
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (isnan(columns[i]))
            strcpy(texts[i], "n/a");
        else
            snprintf(texts[i], sizeof texts[i], "%.1f", 100 * columns[i]);
    }
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

/* Columns that characters of several bytes fill, too. */
static int shown_length(const char *text)
{
    int length = 0;
    for (; *text; text++)
        length += ((unsigned char)*text & 0xc0) != 0x80;
    return length;
}

void print_table(const evaluation *result)
{
    int width = shown_length("class");
    for (size_t i = 0; i <= result->classes.count; i++)
        if (shown_length(values_name(result, i)) > width)
            width = shown_length(values_name(result, i));
    printf("%s\n%-*s", result->name, width, "class");
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        printf("  %s", column_names[i]);
    putchar('\n');
    for (size_t i = 0; i <= result->classes.count; i++) {
        char texts[COLUMN_COUNT][16];
        const char *name = values_name(result, i);
        column_texts(&result->values[i], texts);
        printf("%s%*s", name, width - shown_length(name), "");
        for (size_t c = 0; c < COLUMN_COUNT; c++)
            printf("  %*s", (int)strlen(column_names[c]), texts[c]);
        putchar('\n');
    }
    printf("%zu images computed, %zu taken from an earlier run, %zu failed; %.3g images/s\n\n",
           result->computed, result->reused, result->failed,
           (double)result->count / result->seconds);
}

/* null where the metric is not available. */
static void set_real(json_t *object, const char *name, double value)
{
    json_object_set_new(object, name, isnan(value) ? json_null() : json_real(value));
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
    json_t *object = json_pack("{s:o}", "class", text_json(name));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        json_object_set_new(object, counts[i].name, json_integer((json_int_t)counts[i].value));
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        set_real(object, reals[i].name, reals[i].value);
    return object;
}

static json_t *result_json(const evaluation *result)
{
    json_t *classes = json_array(), *failures = json_array(), *files = json_array();
    for (size_t i = 0; i < result->classes.count; i++)
        json_array_append_new(classes, values_json(values_name(result, i), &result->values[i]));
    for (size_t i = 0; i < result->count; i++)
        if (result->rows[i].failure)
            json_array_append_new(failures, json_pack("{s:o, s:o}", "image",
                                                      text_json(result->rows[i].sample->image_path),
                                                      "error", text_json(result->rows[i].failure)));
    for (size_t i = 0; i < result->files.count; i++)
        json_array_append_new(files, text_json(result->files.items[i]));
    json_t *mean = values_json("mean", &result->values[result->classes.count]);
    return json_pack("{s:o, s:o, s:I, s:I, s:f, s:o, s:o, s:o}", "name", text_json(result->name),
                     "files", files, "computed", (json_int_t)result->computed, "reused",
                     (json_int_t)result->reused, "images_per_second",
                     (double)result->count / result->seconds, "failed", failures, "classes",
                     classes, "mean", mean);
}

bool write_results_json(const char *path, json_t *settings, const evaluation *results, size_t count)
{
    json_t *checkpoints = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(checkpoints, result_json(&results[i]));
    bool made = json_object_set_new(settings, "checkpoints", checkpoints) == 0;
    text_output output;
    bool opened = open_text_file(&output, path, PROGRAM);
    bool written = opened && made && json_dumpf(settings, output.file, JSON_INDENT(2)) == 0 &&
                   fputc('\n', output.file) != EOF;
    json_decref(settings);
    return opened && finish_text_file(&output, written, PROGRAM) && written;
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
        fprintf(file, ",%d,%.9g,%.9g,%.9g,%.9g\n", row->sample->label, (double)row->scores.score,
                (double)row->dataset_score, (double)row->scores.map_least,
                (double)row->scores.map_largest);
    }
}

bool write_scores_csv(const char *path, const evaluation *results, size_t count)
{
    text_output output;
    if (!open_text_file(&output, path, PROGRAM))
        return false;
    fputs("checkpoint,class,image,label,score,dataset_score,map_least,map_largest\n", output.file);
    for (size_t i = 0; i < count; i++)
        write_rows(output.file, &results[i]);
    return finish_text_file(&output, true, PROGRAM);
}
