/* aaclip-bench: selects the mode. */
#include <string.h>

#include "bench.h"
#include "common.h"

#define PROGRAM "aaclip-bench"

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } modes[] = {
        {"detect", bench_detect}, {"train", bench_train},           {"text", bench_text},
        {"load", bench_load},     {"load-child", bench_load_child}, {"folder", bench_folder},
        {"growth", bench_growth}, {"roofline", bench_roofline},     {"--compare", bench_compare},
    };
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(argv[1], modes[i].name) == 0)
            return end_program(modes[i].run(argc - 1, argv + 1), PROGRAM);
    return end_program(bench_detect(argc, argv), PROGRAM);
}
