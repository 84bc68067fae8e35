#include "report.h"

#include <stdlib.h>
#include <string.h>

#include "operations.h"

report report_new(const char *mode)
{
    report run = {.root = json_pack("{s:s, s:s, s:{}, s:{}, s:[]}", "mode", mode, "version",
                                    aaclip_version_string(), "settings", "figures", "operations")};
    run.failed = !run.root;
    return run;
}

void report_free(report *run)
{
    json_decref(run->root);
    run->root = NULL;
}

static void set(report *run, const char *part, const char *name, json_t *value)
{
    if (json_object_set_new(json_object_get(run->root, part), name, value))
        run->failed = true;
}

void report_text(report *run, const char *setting, const char *text)
{
    set(run, "settings", setting, text_json(text));
}

void report_number(report *run, const char *setting, double number)
{
    set(run, "settings", setting, json_real(number));
}

void report_model(report *run, const aaclip_model_info *info)
{
    report_text(run, "model", info->path);
    report_text(run, "backend", info->backend);
    report_text(run, "precision", aaclip_precision_name(info->precision));
    report_number(run, "threads", info->threads);
}

void report_value(report *run, const char *name, const char *unit, const char *better, double value)
{
    json_t *figures = json_object_get(run->root, "figures");
    if (!json_object_get(figures, name))
        set(run, "figures", name,
            json_pack("{s:s, s:s, s:[]}", "unit", unit, "better", better, "values"));
    json_t *values = json_object_get(json_object_get(figures, name), "values");
    if (json_array_append_new(values, json_real(value)))
        run->failed = true;
}

/* Median, minimum and maximum of an array of numbers; zeros for none. */
static void summarize(const json_t *values, double summary[3])
{
    unsigned count = (unsigned)json_array_size(values);
    double *sorted = malloc((count + 1) * sizeof *sorted);
    summary[0] = summary[1] = summary[2] = 0;
    for (unsigned i = 0; sorted && i < count; i++)
        sorted[i] = json_number_value(json_array_get(values, i));
    if (sorted && count) {
        summary[0] = median(sorted, count);
        summary[1] = sorted[0];
        summary[2] = sorted[count - 1];
    }
    free(sorted);
}

double report_median(const report *run, const char *name)
{
    double summary[3];
    const json_t *figure = json_object_get(json_object_get(run->root, "figures"), name);
    summarize(json_object_get(figure, "values"), summary);
    return summary[0];
}

void report_profile_begin(report *run, aaclip_profiler **profiler)
{
    if (aaclip_profiler_start(profiler))
        run->failed = true;
}

void report_profile_end(report *run, aaclip_profiler **profiler, double seconds)
{
    double sum = 0;
    if (!*profiler || aaclip_profiler_stop(*profiler) ||
        !operations_add(json_object_get(run->root, "operations"), *profiler, &sum))
        run->failed = true;
    report_value(run, "operations_s", "s", "less", sum);
    report_value(run, "rest_s", "s", "less", seconds - sum);
    aaclip_profiler_close(profiler);
}

double report_last_gflop(const report *run)
{
    return operations_gflop(json_object_get(run->root, "operations"));
}

static void summarize_each(report *run, json_t *object)
{
    static const char *const names[] = {"median", "least", "largest"};
    double summary[3];
    summarize(json_object_get(object, "values"), summary);
    for (int i = 0; i < 3; i++)
        if (json_object_set_new(object, names[i], json_real(summary[i])))
            run->failed = true;
}

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static void print_settings(const report *run)
{
    const char *name, *separator = "";
    json_t *value;
    json_object_foreach(json_object_get(run->root, "settings"), name, value)
    {
        if (json_is_string(value))
            printf("%s%s %s", separator, name, json_string_value(value));
        else
            printf("%s%s %g", separator, name, json_number_value(value));
        separator = ", ";
    }
    printf("\n");
}

static void print_figures(const report *run)
{
    const char *name;
    json_t *figure;
    json_object_foreach(json_object_get(run->root, "figures"), name, figure)
    {
        size_t count = json_array_size(json_object_get(figure, "values"));
        printf("%-28s %10.4g %-8s", name, number(figure, "median"),
               json_string_value(json_object_get(figure, "unit")));
        if (count > 1)
            printf(" %.4g to %.4g of %zu", number(figure, "least"), number(figure, "largest"),
                   count);
        printf("\n");
    }
}

static bool write_json(const report *run, const char *path, const char *program)
{
    text_output output;
    if (!open_text_file(&output, path, program))
        return false;
    bool written =
        json_dumpf(run->root, output.file, JSON_INDENT(2)) == 0 && fputc('\n', output.file) != EOF;
    return finish_text_file(&output, written, program) && written;
}

bool report_finish(report *run, const char *whole, const char *json, const char *program)
{
    size_t index;
    const char *name;
    json_t *item, *operations = json_object_get(run->root, "operations");
    json_object_foreach(json_object_get(run->root, "figures"), name, item)
        summarize_each(run, item);
    json_array_foreach(operations, index, item) summarize_each(run, item);
    if (run->failed)
        return !complain(program, "out of memory");
    FILE *text = json && strcmp(json, "-") == 0 ? NULL : stdout;
    if (text) {
        print_settings(run);
        operations_print(operations, report_median(run, whole),
                         report_median(run, "product_gflops"), report_median(run, "copy_gbs"));
        print_figures(run);
    }
    return !json || write_json(run, json, program);
}
