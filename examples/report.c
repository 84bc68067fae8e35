#include "report.h"

#include <stdlib.h>
#include <string.h>

enum { PLOT_SIDE = 260, PLOT_MARGIN = 34, CURVE_POINTS = 200, THUMBNAIL_SIDE = 160 };

static const char style[] =
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1180px;padding:0 1em;"
    "color:#222;background:#fff}"
    "h1{font-size:1.6em}h2{margin-top:2em;border-bottom:1px solid #ccc}"
    "table{border-collapse:collapse}td,th{padding:.25em .7em;border-bottom:1px solid #e4e4e4;"
    "text-align:right}td:first-child,th:first-child{text-align:left}"
    "tr.mean td{font-weight:bold;border-top:2px solid #888}dt{float:left;width:9em;color:#666}"
    "dd{margin:0 0 0 9em;overflow-wrap:anywhere}.plots,.worst{display:flex;flex-wrap:wrap;gap:1em}"
    "figure{margin:0}figcaption{font-size:.85em;max-width:480px;overflow-wrap:anywhere}"
    ".worst img{max-width:100%;display:block}.legend{font-size:.85em;padding:0;list-style:none;"
    "display:flex;flex-wrap:wrap;gap:.2em 1.2em}.legend svg{vertical-align:-1px;margin-right:.4em}"
    ".failed{color:#a00}.frame{fill:none;stroke:#888}.grid{stroke:#e4e4e4}"
    "svg text{font-size:11px;fill:#555}";

/* Characters that HTML does not take become '?', as do bytes that are no UTF-8. */
static void write_escaped(FILE *file, const char *text)
{
    json_t *whole = text_json(text);
    for (const char *c = json_string_value(whole); c && *c; c++) {
        if (*c == '&')
            fputs("&amp;", file);
        else if (*c == '<')
            fputs("&lt;", file);
        else if (*c == '>')
            fputs("&gt;", file);
        else if (*c == '"')
            fputs("&quot;", file);
        else
            fputc((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c, file);
    }
    json_decref(whole);
}

static void write_values_row(FILE *file, const char *name, const aaclip_metric_values *values,
                             bool mean)
{
    char texts[COLUMN_COUNT][16];
    column_texts(values, texts);
    fprintf(file, "<tr%s><td>", mean ? " class=\"mean\"" : "");
    write_escaped(file, name);
    fputs("</td>", file);
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        fprintf(file, "<td>%s</td>", texts[i]);
    fputs("</tr>\n", file);
}

static void write_table_head(FILE *file, const char *first)
{
    fprintf(file, "<table>\n<thead><tr><th>%s</th>", first);
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        fprintf(file, "<th>%s</th>", column_names[i]);
    fputs("</tr></thead>\n<tbody>\n", file);
}

static void write_table(FILE *file, const evaluation *result)
{
    write_table_head(file, "class");
    for (size_t i = 0; i <= result->classes.count; i++)
        write_values_row(file, values_name(result, i), &result->values[i],
                         i == result->classes.count);
    fputs("</tbody>\n</table>\n", file);
}

/* Hues that stay apart however many there are: steps of the golden angle. */
static unsigned hue(size_t index)
{
    return (unsigned)(index * 137 + 210) % 360;
}

/* Lines between the points of ROC and PRO, steps for PR: as the areas are defined. */
static void write_curve(FILE *file, const evaluation *result, size_t index, aaclip_curve kind,
                        bool steps)
{
    aaclip_curve_point points[CURVE_POINTS];
    size_t count = 0;
    if (aaclip_metrics_curve(result->metrics, index, kind, points, CURVE_POINTS, &count) || !count)
        return;
    fprintf(file, "<path fill=\"none\" stroke-width=\"1.5\" stroke=\"hsl(%u,65%%,42%%)\" d=\"",
            hue(index));
    for (size_t i = 0; i < count; i++) {
        const double x = PLOT_MARGIN + points[i].x * PLOT_SIDE;
        const double y = 8 + (1 - points[i].y) * PLOT_SIDE;
        if (!steps)
            fprintf(file, "%c%.1f %.1f", i ? 'L' : 'M', x, y);
        else if (i)
            fprintf(file, "V%.1fH%.1f", y, x);
        else
            fprintf(file, "M%d %.1fH%.1f", PLOT_MARGIN, y, x);
    }
    fputs("\"><title>", file);
    write_escaped(file, values_name(result, index));
    fputs("</title></path>\n", file);
}

static void write_axes(FILE *file, const char *across, const char *up)
{
    const int bottom = 8 + PLOT_SIDE, right = PLOT_MARGIN + PLOT_SIDE;
    for (int i = 1; i < 5; i++) {
        const int step = i * PLOT_SIDE / 5;
        fprintf(file, "<path class=\"grid\" d=\"M%d %dH%dM%d 8V%d\"/>\n", PLOT_MARGIN, 8 + step,
                right, PLOT_MARGIN + step, bottom);
    }
    fprintf(file, "<rect class=\"frame\" x=\"%d\" y=\"8\" width=\"%d\" height=\"%d\"/>\n",
            PLOT_MARGIN, PLOT_SIDE, PLOT_SIDE);
    fprintf(file, "<text x=\"%d\" y=\"%d\">0</text><text x=\"%d\" y=\"%d\">1</text>\n", PLOT_MARGIN,
            bottom + 13, right - 6, bottom + 13);
    fprintf(file, "<text x=\"%d\" y=\"%d\">0</text><text x=\"%d\" y=\"16\">1</text>\n",
            PLOT_MARGIN - 10, bottom, PLOT_MARGIN - 10);
    fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
            PLOT_MARGIN + PLOT_SIDE / 2, bottom + 24, across);
    fprintf(file,
            "<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">%s"
            "</text>\n",
            8 + PLOT_SIDE / 2, up);
}

static void write_plots(FILE *file, const evaluation *result)
{
    static const struct {
        aaclip_curve kind;
        const char *title, *across, *up;
        bool steps;
    } plots[] = {
        {AACLIP_CURVE_PIXEL_ROC, "pixels: ROC", "false positive rate", "true positive rate", false},
        {AACLIP_CURVE_PIXEL_PR, "pixels: precision and recall", "recall", "precision", true},
        {AACLIP_CURVE_PIXEL_PRO, "pixels: overlap with regions", "false positive rate", "PRO",
         false},
        {AACLIP_CURVE_DATASET_ROC, "images: ROC", "false positive rate", "true positive rate",
         false},
        {AACLIP_CURVE_DATASET_PR, "images: precision and recall", "recall", "precision", true},
    };
    fputs("<ul class=\"legend\">", file);
    for (size_t i = 0; i < result->classes.count; i++) {
        fprintf(file,
                "<li><svg width=\"11\" height=\"11\" aria-hidden=\"true\"><rect width=\"11\" "
                "height=\"11\" fill=\"hsl(%u,65%%,42%%)\"/></svg>",
                hue(i));
        write_escaped(file, values_name(result, i));
        fputs("</li>", file);
    }
    fputs("</ul>\n<div class=\"plots\">\n", file);
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++) {
        fprintf(file,
                "<figure><figcaption>%s</figcaption>\n<svg width=\"%d\" height=\"%d\" "
                "role=\"img\" aria-label=\"%s\">\n",
                plots[i].title, PLOT_MARGIN + PLOT_SIDE + 8, PLOT_SIDE + 38, plots[i].title);
        write_axes(file, plots[i].across, plots[i].up);
        for (size_t c = 0; c < result->classes.count; c++)
            write_curve(file, result, c, plots[i].kind, plots[i].steps);
        fputs("</svg></figure>\n", file);
    }
    fputs("</div>\n", file);
}

static void write_base64(FILE *file, FILE *bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t three[3] = {0};
    for (size_t count; (count = fread(three, 1, sizeof three, bytes)) > 0;) {
        memset(three + count, 0, sizeof three - count);
        const uint32_t bits = (uint32_t)three[0] << 16 | (uint32_t)three[1] << 8 | three[2];
        for (size_t i = 0; i < 4; i++)
            fputc(i <= count ? digits[bits >> (18 - 6 * i) & 63] : '=', file);
    }
}

static aaclip_status make_thumbnail(const image_row *row, const report_sources *sources)
{
    const aaclip_sample *sample = row->sample;
    const size_t pixels = (size_t)sources->side * sources->side;
    float *map = malloc(pixels * sizeof *map);
    uint8_t *truth = malloc(pixels);
    aaclip_image *photo = NULL;
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (map && truth)
        status = aaclip_image_open(&photo, sample->image_path);
    if (!status && sample->mask_path)
        status = read_truth(sample->mask_path, sources->side, truth);
    const bool mapped =
        !status && sources->pixels && store_read_map(sources->store, row, sources->side, map);
    const picture panels = {aaclip_image_get_view(photo), sample->mask_path ? truth : NULL,
                            mapped ? map : NULL,          sources->side,
                            row->scores.levels,           sample->label};
    if (!status)
        status = write_panels(sources->scratch, &panels, THUMBNAIL_SIDE);
    aaclip_image_close(&photo);
    free(truth);
    free(map);
    return status;
}

static void write_thumbnail(FILE *file, const image_row *row, const report_sources *sources)
{
    aaclip_status status = make_thumbnail(row, sources);
    FILE *bytes = status ? NULL : fopen(sources->scratch, "rb");
    fputs("<figure>", file);
    if (bytes) {
        fputs("<img alt=\"photo, mask and map\" src=\"data:image/png;base64,", file);
        write_base64(file, bytes);
        fputs("\">", file);
        fclose(bytes);
    }
    remove(sources->scratch);
    fputs("<figcaption>", file);
    write_escaped(file, row->sample->class_name);
    fprintf(file, ", score %.4f (alone %.4f)<br>", (double)row->dataset_score,
            (double)row->scores.score);
    write_escaped(file, row->sample->image_path);
    fputs("</figcaption></figure>\n", file);
}

static int compare_scores(const void *a, const void *b)
{
    const float x = (*(const image_row *const *)a)->dataset_score;
    const float y = (*(const image_row *const *)b)->dataset_score;
    return (x > y) - (x < y);
}

/* Normal images that score highest, or abnormal ones that score lowest. */
static void write_worst(FILE *file, const evaluation *result, const report_sources *sources,
                        int label, const char *title)
{
    const image_row **sorted = malloc((result->count + 1) * sizeof *sorted);
    size_t count = 0;
    for (size_t i = 0; sorted && i < result->count; i++)
        if (result->rows[i].done && result->rows[i].sample->label == label)
            sorted[count++] = &result->rows[i];
    if (count) {
        qsort(sorted, count, sizeof *sorted, compare_scores);
        fprintf(file, "<h3>%s</h3>\n<div class=\"worst\">\n", title);
        for (size_t i = 0; i < count && i < sources->worst; i++)
            write_thumbnail(file, sorted[label ? i : count - 1 - i], sources);
        fputs("</div>\n", file);
    }
    free(sorted);
}

static void write_failures(FILE *file, const evaluation *result)
{
    if (!result->failed)
        return;
    fprintf(file, "<h3>Failed: %zu of %zu images do not count</h3>\n<ul class=\"failed\">\n",
            result->failed, result->count);
    for (size_t i = 0; i < result->count; i++)
        if (result->rows[i].failure) {
            fputs("<li>", file);
            write_escaped(file, result->rows[i].failure);
            fputs("</li>\n", file);
        }
    fputs("</ul>\n", file);
}

void report_section(FILE *file, const evaluation *result, const report_sources *sources)
{
    fputs("<section>\n<h2>", file);
    write_escaped(file, result->name);
    fputs("</h2>\n", file);
    write_table(file, result);
    fprintf(file, "<p>%zu images, of which %zu were computed by an earlier run.</p>\n",
            result->computed + result->reused, result->reused);
    write_failures(file, result);
    write_plots(file, result);
    write_worst(file, result, sources, 0, "Worst false alarms: normal images that score highest");
    write_worst(file, result, sources, 1, "Worst misses: abnormal images that score lowest");
    fputs("</section>\n", file);
}

static void write_settings(FILE *file, json_t *settings)
{
    const char *name;
    json_t *value;
    fputs("<dl>\n", file);
    json_object_foreach(settings, name, value)
    {
        char *number = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
        fputs("<dt>", file);
        write_escaped(file, name);
        fputs("</dt><dd>", file);
        write_escaped(file, number ? number : json_string_value(value));
        fputs("</dd>\n", file);
        free(number);
    }
    fputs("</dl>\n", file);
}

static void write_summary(FILE *file, const evaluation *results, size_t count)
{
    fputs("<section>\n<h2>Checkpoints</h2>\n", file);
    write_table_head(file, "mean of");
    for (size_t i = 0; i < count; i++)
        write_values_row(file, results[i].name, &results[i].values[results[i].classes.count],
                         false);
    fputs("</tbody>\n</table>\n</section>\n", file);
}

bool write_report(const char *path, json_t *settings, const evaluation *results,
                  char *const *sections, size_t count)
{
    text_output output;
    if (!open_text_file(&output, path, PROGRAM))
        return false;
    fprintf(output.file,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<title>Evaluation</title>\n<style>%s</style>\n</head>\n<body>\n"
            "<h1>Evaluation of anomaly detection</h1>\n",
            style);
    write_settings(output.file, settings);
    fputs(
        "<p>Percent. Images are scored as the published evaluation does it, within their class. "
        "Maps have one scale of colours in all pictures: blue is normal, red abnormal.</p>\n",
        output.file);
    if (count > 1)
        write_summary(output.file, results, count);
    for (size_t i = 0; i < count; i++)
        fputs(sections[i], output.file);
    fputs("</body>\n</html>\n", output.file);
    return finish_text_file(&output, true, PROGRAM);
}
