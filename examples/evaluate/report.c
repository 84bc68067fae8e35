#include "report.h"

#include <stdlib.h>
#include <string.h>

enum {
    PLOT_SIDE = 300,
    PLOT_LEFT = 42,
    PLOT_TOP = 8,
    TICKS = 5, /* parts of an axis */
    CURVE_POINTS = 200,
    THUMBNAIL_SIDE = 168,
    SCALE_STEPS = 64,
    SCALE_STEP_WIDTH = 5
};

static const char style[] =
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1180px;padding:0 1em;"
    "color:#222;background:#fff}"
    "h1{font-size:1.6em}h2{margin-top:2em;border-bottom:1px solid #ccc}h3{margin:1.6em 0 .5em}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{padding:.3em .8em;border-bottom:1px solid #e4e4e4;text-align:right}"
    "td:first-child,th:first-child{text-align:left}thead th{border-bottom:2px solid #888}"
    "tbody tr:nth-child(even){background:#f6f7f9}td.count{color:#666}"
    "tr.mean td{font-weight:bold;border-top:2px solid #888}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1.2em}dt{color:#666}"
    "dd{margin:0;overflow-wrap:anywhere}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(352px,1fr));gap:1.2em}"
    ".worst{display:grid;grid-template-columns:repeat(auto-fill,minmax(540px,1fr));gap:1.2em}"
    "figure{margin:0}figcaption{font-size:.85em;overflow-wrap:anywhere}"
    ".plots figcaption{font-weight:600;margin-left:42px}.path{color:#666}"
    ".worst img{max-width:100%;display:block}.legend{font-size:.85em;padding:0;list-style:none;"
    "display:flex;flex-wrap:wrap;gap:.2em 1.2em}.legend svg{vertical-align:-1px;margin-right:.4em}"
    ".failed{color:#a00}.frame{fill:none;stroke:#888}.grid{stroke:#e4e4e4}"
    ".chance{stroke:#aaa;stroke-dasharray:4 4}svg text{font-size:11px;fill:#555}";

/* Characters that HTML does not allow become '?'; bytes that are not UTF-8 as in JSON. */
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
    char texts[COLUMN_COUNT][COLUMN_SIZE];
    column_texts(values, texts);
    fprintf(file, "<tr%s><td>", mean ? " class=\"mean\"" : "");
    write_escaped(file, name);
    fputs("</td>", file);
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        fprintf(file, "<td>%s</td>", texts[i]);
    fprintf(file, "<td class=\"count\">%llu</td><td class=\"count\">%llu</td></tr>\n",
            (unsigned long long)values->normal_images, (unsigned long long)values->abnormal_images);
}

static void write_table_head(FILE *file, const char *first)
{
    fprintf(file, "<table>\n<thead><tr><th>%s</th>", first);
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        fprintf(file, "<th>%s</th>", column_names[i]);
    fputs("<th>normal</th><th>abnormal</th></tr></thead>\n<tbody>\n", file);
}

static void write_table(FILE *file, const evaluation *result)
{
    write_table_head(file, "class");
    for (size_t i = 0; i <= result->classes.count; i++)
        write_values_row(file, values_name(result, i), &result->values[i],
                         i == result->classes.count);
    fputs("</tbody>\n</table>\n", file);
}

static void write_decisions_row(FILE *file, const char *name, const class_decisions *decisions)
{
    char texts[DECISION_COUNT][COLUMN_SIZE];
    const aaclip_calibration *thresholds = decisions->thresholds;
    decision_texts(decisions, texts);
    fprintf(file, "<tr%s><td>", thresholds ? "" : " class=\"mean\"");
    write_escaped(file, name);
    fputs("</td>", file);
    for (size_t i = 0; i < DECISION_COUNT; i++)
        fprintf(file, "<td>%s</td>", texts[i]);
    if (thresholds)
        fprintf(file, "<td class=\"count\">%.6g</td><td class=\"count\">%.6g</td></tr>\n",
                (double)thresholds->image_threshold, (double)thresholds->map_threshold);
    else
        fputs("<td></td><td></td></tr>\n", file);
}

static void write_decisions(FILE *file, const evaluation *result)
{
    fputs("<h3>Decisions by the calibration</h3>\n<table>\n<thead><tr><th>class</th>", file);
    for (size_t i = 0; i < DECISION_COUNT; i++)
        fprintf(file, "<th>%s</th>", decision_names[i]);
    fputs("<th>image threshold</th><th>map threshold</th></tr></thead>\n<tbody>\n", file);
    for (size_t i = 0; i <= result->classes.count; i++)
        write_decisions_row(file, values_name(result, i), &result->decisions[i]);
    fputs(
        "</tbody>\n</table>\n<p>TP, FP, TN and FN are images: defective ones called so, good ones "
        "called defective, good ones called so, defective ones missed. Dice and IoU are of the "
        "pixels that reach the map threshold, at the size of the maps.</p>\n",
        file);
}

/* Hues that stay distinct however many there are: steps of the golden angle. */
static unsigned hue(size_t index)
{
    return (unsigned)(index * 137 + 210) % 360;
}

/* Lines between the points of ROC and PRO, steps for PR, as the areas are defined. */
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
        const double x = PLOT_LEFT + points[i].x * PLOT_SIDE;
        const double y = PLOT_TOP + (1 - points[i].y) * PLOT_SIDE;
        if (!steps)
            fprintf(file, "%c%.1f %.1f", i ? 'L' : 'M', x, y);
        else if (i)
            fprintf(file, "V%.1fH%.1f", y, x);
        else
            fprintf(file, "M%d %.1fH%.1f", PLOT_LEFT, y, x);
    }
    fputs("\"><title>", file);
    write_escaped(file, values_name(result, index));
    fputs("</title></path>\n", file);
}

static void write_ticks(FILE *file)
{
    const int bottom = PLOT_TOP + PLOT_SIDE, right = PLOT_LEFT + PLOT_SIDE;
    for (int i = 0; i <= TICKS; i++) {
        const int x = PLOT_LEFT + i * PLOT_SIDE / TICKS, y = bottom - i * PLOT_SIDE / TICKS;
        const double value = (double)i / TICKS;
        fprintf(file, "<path class=\"grid\" d=\"M%d %dH%dM%d %dV%d\"/>\n", PLOT_LEFT, y, right, x,
                PLOT_TOP, bottom);
        fprintf(file,
                "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%g</text>"
                "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%g</text>\n",
                x, bottom + 14, value, PLOT_LEFT - 5, y + 4, value);
    }
}

static void write_axes(FILE *file, const char *across, const char *up, bool diagonal)
{
    const int bottom = PLOT_TOP + PLOT_SIDE, right = PLOT_LEFT + PLOT_SIDE;
    write_ticks(file);
    if (diagonal)
        fprintf(file, "<path class=\"chance\" d=\"M%d %dL%d %d\"/>\n", PLOT_LEFT, bottom, right,
                PLOT_TOP);
    fprintf(file, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n",
            PLOT_LEFT, PLOT_TOP, PLOT_SIDE, PLOT_SIDE);
    fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
            PLOT_LEFT + PLOT_SIDE / 2, bottom + 30, across);
    fprintf(file,
            "<text transform=\"translate(11 %d) rotate(-90)\" text-anchor=\"middle\">%s"
            "</text>\n",
            PLOT_TOP + PLOT_SIDE / 2, up);
}

static void write_legend(FILE *file, const evaluation *result)
{
    fputs("<ul class=\"legend\">", file);
    for (size_t i = 0; i < result->classes.count; i++) {
        fprintf(file,
                "<li><svg width=\"11\" height=\"11\" aria-hidden=\"true\"><rect width=\"11\" "
                "height=\"11\" fill=\"hsl(%u,65%%,42%%)\"/></svg>",
                hue(i));
        write_escaped(file, values_name(result, i));
        fputs("</li>", file);
    }
    fputs("</ul>\n", file);
}

static void write_plots(FILE *file, const evaluation *result)
{
    static const char fpr[] = "false positive rate", tpr[] = "true positive rate";
    static const struct {
        aaclip_curve kind;
        const char *title, *across, *up;
        bool steps, diagonal; /* the diagonal is chance level */
    } plots[] = {
        {AACLIP_CURVE_PIXEL_ROC, "Pixels: ROC", fpr, tpr, false, true},
        {AACLIP_CURVE_PIXEL_PR, "Pixels: precision and recall", "recall", "precision", true, false},
        {AACLIP_CURVE_PIXEL_PRO, "Pixels: overlap with regions", fpr, "PRO", false, true},
        {AACLIP_CURVE_DATASET_ROC, "Images: ROC", fpr, tpr, false, true},
        {AACLIP_CURVE_DATASET_PR, "Images: precision and recall", "recall", "precision", true,
         false},
        {AACLIP_CURVE_IMAGE_ROC, "Images, each scored alone: ROC", fpr, tpr, false, true},
    };
    fputs("<h3>Curves</h3>\n", file);
    write_legend(file, result);
    fputs("<div class=\"plots\">\n", file);
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++) {
        fprintf(file,
                "<figure><figcaption>%s</figcaption>\n<svg width=\"%d\" height=\"%d\" "
                "role=\"img\" aria-label=\"%s\">\n",
                plots[i].title, PLOT_LEFT + PLOT_SIDE + 10, PLOT_TOP + PLOT_SIDE + 38,
                plots[i].title);
        write_axes(file, plots[i].across, plots[i].up, plots[i].diagonal);
        for (size_t c = 0; c < result->classes.count; c++)
            write_curve(file, result, c, plots[i].kind, plots[i].steps);
        fputs("</svg></figure>\n", file);
    }
    fputs("</div>\n", file);
}

/* The legend of the maps' colours. */
static void write_scale(FILE *file)
{
    const int width = SCALE_STEPS * SCALE_STEP_WIDTH, margin = 10;
    fprintf(file,
            "<p>Colours of a map go from the smallest value of its class to the largest:</p>\n"
            "<svg width=\"%d\" height=\"34\" role=\"img\" aria-label=\"scale of colours\">\n",
            width + 2 * margin);
    for (int i = 0; i < SCALE_STEPS; i++) {
        const float value = ((float)i + 0.5f) / SCALE_STEPS;
        uint8_t rgb[3];
        aaclip_colour_map(&value, 1, rgb);
        fprintf(file, "<rect x=\"%d\" width=\"%d\" height=\"16\" fill=\"#%02x%02x%02x\"/>\n",
                margin + i * SCALE_STEP_WIDTH, SCALE_STEP_WIDTH, rgb[0], rgb[1], rgb[2]);
    }
    fprintf(file, "<text x=\"%d\" y=\"30\">normal</text>\n", margin);
    fprintf(file, "<text x=\"%d\" y=\"30\" text-anchor=\"end\">abnormal</text>\n", margin + width);
    fputs("</svg>\n", file);
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

static void write_thumbnail(FILE *file, const image_row *row, const report_sources *sources)
{
    aaclip_status status = write_panels(sources->scratch, row, sources->store, THUMBNAIL_SIDE);
    FILE *bytes = status ? NULL : fopen(sources->scratch, "rb");
    fputs("<figure>", file);
    if (bytes) {
        fputs("<img alt=\"photo, mask, map and scale of colours\" src=\"data:image/png;base64,",
              file);
        write_base64(file, bytes);
        fputs("\">", file);
        fclose(bytes);
    }
    remove(sources->scratch);
    fputs("<figcaption>", file);
    write_escaped(file, row->sample->class_name);
    fprintf(file, ": score %.3f in its class, %.3f alone<br><span class=\"path\">",
            (double)row->dataset_score, (double)row->scores.score);
    write_escaped(file, row->sample->image_path);
    fputs("</span></figcaption></figure>\n", file);
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
    fprintf(file, "<p>%zu images", result->computed + result->reused);
    if (result->reused)
        fprintf(file, ", of which %zu were computed by an earlier run", result->reused);
    fputs(".</p>\n", file);
    if (result->decisions)
        write_decisions(file, result);
    write_failures(file, result);
    write_plots(file, result);
    fputs("<h3>Photo, mask and map</h3>\n", file);
    write_scale(file);
    write_worst(file, result, sources, 0, "Worst false alarms: normal images that score highest");
    write_worst(file, result, sources, 1, "Worst misses: abnormal images that score lowest");
    fputs("</section>\n", file);
}

/* Empty or 0: not given. */
static bool is_set(const json_t *value)
{
    return json_is_string(value) ? *json_string_value(value) : json_number_value(value) != 0;
}

static void write_settings(FILE *file, json_t *settings)
{
    const char *name;
    json_t *value;
    fputs("<dl>\n", file);
    json_object_foreach(settings, name, value)
    {
        if (!is_set(value))
            continue;
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
        "<p>Tables are in percent. Images are scored within their class, as the published "
        "evaluation does it; n/a stands where there is nothing to tell apart.</p>\n",
        output.file);
    if (count > 1)
        write_summary(output.file, results, count);
    for (size_t i = 0; i < count; i++)
        fputs(sections[i], output.file);
    fputs("</body>\n</html>\n", output.file);
    return finish_text_file(&output, true, PROGRAM);
}
