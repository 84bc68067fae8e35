#include "operations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static json_t *find(const json_t *operations, const aaclip_profiler_entry *entry)
{
    size_t i;
    json_t *row;
    json_array_foreach(operations, i, row)
    {
        if (strcmp(text(row, "operation"), entry->operation) == 0 &&
            strcmp(text(row, "shape"), entry->shape) == 0 &&
            strcmp(text(row, "backend"), entry->backend) == 0 &&
            number(row, "threads") == entry->threads)
            return row;
    }
    return NULL;
}

static bool add_entry(json_t *operations, const aaclip_profiler_entry *entry)
{
    json_t *row = find(operations, entry);
    if (!row) {
        row = json_pack("{s:s, s:s, s:s, s:i, s:[]}", "operation", entry->operation, "shape",
                        entry->shape, "backend", entry->backend, "threads", (int)entry->threads,
                        "values");
        if (json_array_append_new(operations, row))
            return false;
    }
    return json_object_set_new(row, "calls", json_integer((json_int_t)entry->calls)) == 0 &&
           json_object_set_new(row, "flop", json_real(entry->flop)) == 0 &&
           json_object_set_new(row, "bytes", json_real(entry->bytes)) == 0 &&
           json_array_append_new(json_object_get(row, "values"), json_real(entry->seconds)) == 0;
}

bool operations_add(json_t *operations, const aaclip_profiler *profiler, double *sum)
{
    aaclip_profiler_entry entry = {.size = sizeof entry};
    bool good = true;
    for (size_t i = 0; good && i < aaclip_profiler_count(profiler); i++) {
        good =
            aaclip_profiler_get(profiler, i, &entry) == AACLIP_OK && add_entry(operations, &entry);
        *sum += entry.seconds;
    }
    return good;
}

double operations_gflop(const json_t *operations)
{
    double sum = 0;
    size_t i;
    json_t *row;
    json_array_foreach(operations, i, row) sum += 1e-9 * number(row, "flop");
    return sum;
}

static int compare_rows(const void *a, const void *b)
{
    double left = number(*(json_t *const *)a, "median");
    double right = number(*(json_t *const *)b, "median");
    return (left < right) - (left > right);
}

/* A rate and its share of a yardstick; blank if there is none. */
static void print_rate(double amount, double seconds, double yardstick)
{
    double rate = seconds > 0 ? 1e-9 * amount / seconds : 0;
    if (rate > 0)
        printf(" %8.1f", rate);
    else
        printf(" %8s", "");
    if (rate > 0 && yardstick > 0)
        printf(" %5.2f", rate / yardstick);
    else
        printf(" %5s", "");
}

static void print_row(const json_t *row, double whole, double product_gflops, double copy_gbs)
{
    double seconds = number(row, "median");
    printf("%-19s %-38s %-9s %3.0f %6.0f %9.2f %5.1f", text(row, "operation"), text(row, "shape"),
           text(row, "backend"), number(row, "threads"), number(row, "calls"), 1e3 * seconds,
           100 * seconds / whole);
    print_rate(number(row, "flop"), seconds, product_gflops);
    print_rate(number(row, "bytes"), seconds, copy_gbs);
    printf("\n");
}

void operations_print(const json_t *operations, double whole, double product_gflops,
                      double copy_gbs)
{
    size_t count = json_array_size(operations);
    json_t **rows = calloc(count + 1, sizeof *rows);
    if (!rows || !count || whole <= 0) {
        free(rows);
        return;
    }
    for (size_t i = 0; i < count; i++)
        rows[i] = json_array_get(operations, i);
    qsort(rows, count, sizeof *rows, compare_rows);
    printf("%-19s %-38s %-9s %3s %6s %9s %5s %8s %5s %8s %5s\n", "operation", "shape", "backend",
           "thr", "calls", "ms", "%", "GFLOP/s", "share", "GB/s", "share");
    for (size_t i = 0; i < count; i++)
        print_row(rows[i], whole, product_gflops, copy_gbs);
    printf(
        "shares: of the bare product, and of a copy in memory (above 1: from caches); rest_s is\n"
        "decoding, resizing and what lies between operations\n");
    free(rows);
}
