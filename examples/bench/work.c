/* Measurements that all modes of aaclip-bench need. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "common.h"

double peak_memory_mb(void)
{
    double kilobytes = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lf kB", &kilobytes) == 1)
            break;
    if (file)
        fclose(file);
    return kilobytes / 1024;
}

void reset_peak_memory(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        fputs("5", file);
        fclose(file);
    }
}

bool make_temporary_folder(char path[TEMPORARY_SIZE], const char *program)
{
    const char *named = getenv("TMPDIR");
    int length =
        snprintf(path, TEMPORARY_SIZE, "%s/aaclip-bench-XXXXXX", named && *named ? named : "/tmp");
    errno = ENAMETOOLONG;
    if (length < TEMPORARY_SIZE && mkdtemp(path))
        return true;
    complain(program, "%s: cannot make a temporary folder: %s", path, strerror(errno));
    *path = '\0';
    return false;
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

uint8_t *generate_picture(uint32_t width, uint32_t height)
{
    size_t bytes = (size_t)width * height * 3;
    uint8_t *rgb = malloc(bytes);
    uint32_t state = 1;
    for (size_t i = 0; rgb && i < bytes; i++) {
        state = state * 1664525u + 1013904223u;
        rgb[i] = (uint8_t)(state >> 24);
    }
    return rgb;
}

/* Operations of the parts of a tower, each once. */
typedef struct part_work {
    double patches, linear, attention_product, adapter, head;
} part_work;

static part_work work_of(const aaclip_model_info *info, uint32_t image_size)
{
    double side = image_size / info->patch_size, patches = side * side, tokens = patches + 1;
    double width = info->image_width, patch_values = 3.0 * info->patch_size * info->patch_size;
    return (part_work){
        .patches = 2 * patches * patch_values * width,
        .linear = 2 * tokens * width * (4 * width + 2 * (double)info->image_mlp),
        .attention_product = 2 * tokens * tokens * width,
        .adapter = 2 * tokens * width * width, /* linear, or two halves */
        .head = 2 * patches * width * info->embedding,
    };
}

double forward_gflop(const aaclip_model_info *info, const aaclip_config *config,
                     uint32_t image_size)
{
    const part_work work = work_of(info, image_size);
    double levels = config->level_count ? config->level_count : 4;
    return 1e-9 * (work.patches + info->image_layers * (work.linear + 2 * work.attention_product) +
                   config->image_adapter_layers * work.adapter + (levels + 1) * work.head);
}

/* The first block passes no gradient, nor does the first matrix of the first adapter. */
double backward_gflop(const aaclip_model_info *info, const aaclip_config *config,
                      uint32_t image_size)
{
    const part_work work = work_of(info, image_size);
    double blocks = info->image_layers - 1.0, adapters = config->image_adapter_layers;
    double first = config->layer_adapter == AACLIP_LAYER_ADAPTER_LINEAR ? 1 : 0.5;
    return 1e-9 *
           (blocks * (work.linear + 4 * work.attention_product) +
            (2 * adapters - first) * work.adapter + 2 * (config->level_count + 1.0) * work.head);
}
