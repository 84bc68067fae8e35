/* aaclip-bench --compare: two results side by side. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "bench.h"
#include "options.h"

#define PROGRAM "aaclip-bench --compare"

static const char usage[] =
    "usage: " PROGRAM
    " A.json B.json\n"
    "\n"
    "Prints two --json results of the same mode side by side, and what got worse by more than\n"
    "their spread, with exit status 3.\n"
    "\n"
    "  --help, --version\n";

enum { SLOWER = 3 }; /* exit status */

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
    const char *found = json_string_value(json_object_get(object, name));
    return found ? found : "";
}

static json_t *read_result(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root) {
        complain(PROGRAM, "%s: %s (line %d)", path, error.text, error.line);
    } else if (!json_is_object(json_object_get(root, "figures")) || !*text(root, "mode")) {
        complain(PROGRAM, "%s: expected a result of aaclip-bench --json, found no figures", path);
        json_decref(root);
        root = NULL;
    }
    return root;
}

static void print_setting(const json_t *value, const char *end)
{
    if (json_is_string(value))
        printf("%s%s", json_string_value(value), end);
    else if (value)
        printf("%g%s", json_number_value(value), end);
    else
        printf("none%s", end);
}

/* Settings in which the two runs differ. */
static void print_differences(const json_t *first, const json_t *second)
{
    const json_t *settings = json_object_get(second, "settings");
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(first, "settings"), name, value)
    {
        const json_t *other = json_object_get(settings, name);
        if (other && json_equal(value, (json_t *)other))
            continue;
        printf("different: %s ", name);
        print_setting(value, " | ");
        print_setting(other, "\n");
    }
}

typedef enum verdict { SAME, BETTER, WORSE, UNJUDGED } verdict;

/* Beyond the spread: the ranges of values do not overlap. */
static verdict judge(const json_t *first, const json_t *second, const char *better)
{
    if (json_array_size(json_object_get(first, "values")) < 2 ||
        json_array_size(json_object_get(second, "values")) < 2 || !*better)
        return UNJUDGED;
    bool up = number(second, "least") > number(first, "largest");
    bool down = number(second, "largest") < number(first, "least");
    if (!up && !down)
        return SAME;
    return up == (strcmp(better, "more") == 0) ? BETTER : WORSE;
}

/* `scale` goes with the unit. Returns the verdict. */
static verdict print_line(const char *name, const char *unit, const json_t *first,
                          const json_t *second, const char *better, double scale)
{
    static const char *const words[] = {"", "better", "WORSE", "no spread known"};
    double before = number(first, "median"), after = number(second, "median");
    verdict found = judge(first, second, better);
    printf("%-60s %10.4g %10.4g %-8s %7.3f  %s\n", name, scale * before, scale * after, unit,
           before != 0 ? after / before : NAN, *better ? words[found] : "");
    return found;
}

static bool compare_figures(const json_t *first, const json_t *second)
{
    const char *name;
    json_t *figure;
    bool slower = false;
    printf("%-60s %10s %10s %-8s %7s\n", "", "first", "second", "", "ratio");
    json_object_foreach(json_object_get(first, "figures"), name, figure)
    {
        const json_t *other = json_object_get(json_object_get(second, "figures"), name);
        if (other)
            slower = print_line(name, text(figure, "unit"), figure, other, text(figure, "better"),
                                1) == WORSE ||
                     slower;
        else
            printf("%-60s only in the first\n", name);
    }
    json_object_foreach(json_object_get(second, "figures"), name, figure)
    {
        if (!json_object_get(json_object_get(first, "figures"), name))
            printf("%-60s only in the second\n", name);
    }
    return slower;
}

static bool same_text(const json_t *one, const json_t *other, const char *name)
{
    return strcmp(text(one, name), text(other, name)) == 0;
}

static bool same_work(const json_t *one, const json_t *other)
{
    return same_text(one, other, "operation") && same_text(one, other, "shape");
}

static bool same_place(const json_t *one, const json_t *other)
{
    return same_text(one, other, "backend") && number(one, "threads") == number(other, "threads");
}

/* The row of a result for the same operation as `row`, if there is exactly one. */
static const json_t *only_work(const json_t *operations, const json_t *row)
{
    const json_t *found = NULL;
    size_t i;
    json_t *other;
    json_array_foreach(operations, i, other)
    {
        if (!same_work(other, row))
            continue;
        if (found)
            return NULL;
        found = other;
    }
    return found;
}

/* An operation that both results have once is compared even if it ran on another backend or with
 * another number of threads. */
static const json_t *counterpart(const json_t *operations, const json_t *row, const json_t *among)
{
    size_t i;
    json_t *other;
    json_array_foreach(operations, i, other)
    {
        if (same_work(other, row) && same_place(other, row))
            return other;
    }
    return only_work(among, row) ? only_work(operations, row) : NULL;
}

/* With backend and threads where the result has the operation more than once. */
static void name_row(char name[128], const json_t *row, const json_t *among)
{
    if (only_work(among, row))
        snprintf(name, 128, "%s %s", text(row, "operation"), text(row, "shape"));
    else
        snprintf(name, 128, "%s %s, %s %g", text(row, "operation"), text(row, "shape"),
                 text(row, "backend"), number(row, "threads"));
}

static bool compare_operations(const json_t *first, const json_t *second)
{
    const json_t *rows = json_object_get(first, "operations");
    const json_t *others = json_object_get(second, "operations");
    char name[128];
    size_t i;
    json_t *row;
    bool slower = false;
    json_array_foreach(rows, i, row)
    {
        const json_t *other = counterpart(others, row, rows);
        name_row(name, row, rows);
        if (other)
            slower = print_line(name, "ms", row, other, "less", 1e3) == WORSE || slower;
        else
            printf("%-60s only in the first\n", name);
    }
    json_array_foreach(others, i, row)
    {
        name_row(name, row, others);
        if (!counterpart(rows, row, others))
            printf("%-60s only in the second\n", name);
    }
    return slower;
}

static int compare_files(const char *const *paths)
{
    json_t *first = read_result(paths[0]), *second = first ? read_result(paths[1]) : NULL;
    int code = 1;
    if (first && second && strcmp(text(first, "mode"), text(second, "mode")) != 0) {
        complain(PROGRAM, "%s: expected mode %s as in %s, found %s", paths[1], text(first, "mode"),
                 paths[0], text(second, "mode"));
    } else if (first && second) {
        print_differences(first, second);
        bool slower = compare_figures(first, second);
        slower = compare_operations(first, second) || slower;
        printf(slower ? "worse by more than the spread\n"
                      : "nothing worse by more than the spread\n");
        code = slower ? SLOWER : 0;
    }
    json_decref(first);
    json_decref(second);
    return code;
}

int bench_compare(int argc, char **argv)
{
    const program_option none[] = {{0}};
    program_arguments rest;
    parse_result parsed = parse_options(none, PROGRAM, usage, argc, argv, &rest);
    if (parsed != PARSE_RUN)
        return parsed == PARSE_WRONG;
    if (rest.count != 2)
        return complain(PROGRAM, "expected two files of --json, found %d", rest.count);
    return compare_files((const char *const *)rest.items);
}
