/* aaclip-bench --compare: two results side by side. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "bench.h"
#include "common.h"

#define PROGRAM "aaclip-bench --compare"

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

/* What the two runs did not have in common. */
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

/* Beyond the spread: no value of the one lies among those of the other. */
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

static const json_t *same_operation(const json_t *operations, const json_t *row)
{
    size_t i;
    json_t *other;
    json_array_foreach(operations, i, other)
    {
        if (strcmp(text(other, "operation"), text(row, "operation")) == 0 &&
            strcmp(text(other, "shape"), text(row, "shape")) == 0)
            return other;
    }
    return NULL;
}

static void compare_operations(const json_t *first, const json_t *second)
{
    const json_t *others = json_object_get(second, "operations");
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(first, "operations"), i, row)
    {
        char name[128];
        const json_t *other = same_operation(others, row);
        snprintf(name, sizeof name, "%s %s", text(row, "operation"), text(row, "shape"));
        if (other)
            print_line(name, "ms", row, other, "less", 1e3);
        else
            printf("%-60s only in the first\n", name);
    }
}

int bench_compare(int argc, char **argv)
{
    if (argc != 3)
        return complain(PROGRAM, "expected two files of --json, found %d", argc - 1);
    json_t *first = read_result(argv[1]), *second = first ? read_result(argv[2]) : NULL;
    int code = 1;
    if (first && second && strcmp(text(first, "mode"), text(second, "mode")) != 0) {
        complain(PROGRAM, "%s: expected mode %s as in %s, found %s", argv[2], text(first, "mode"),
                 argv[1], text(second, "mode"));
    } else if (first && second) {
        print_differences(first, second);
        bool slower = compare_figures(first, second);
        compare_operations(first, second);
        printf(slower ? "worse by more than the spread\n"
                      : "nothing worse by more than the spread\n");
        code = slower ? SLOWER : 0;
    }
    json_decref(first);
    json_decref(second);
    return code;
}
