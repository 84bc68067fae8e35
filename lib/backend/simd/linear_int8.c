/*
 * Linear layers of 8-bit integers. The rows of x are quantised first. A task is some rows times a
 * group of panels that stays in the second-level cache; the sums of a block of rows become floats
 * while they are in the first-level cache.
 */
#include <stdio.h>
#include <string.h>

#include "backend/simd/linear.h"
#include "backend/simd/quantized.h"
#include "core/error.h"
#include "core/memory.h"

#define GROUP_BYTES (256 * 1024)
#define GROUP       8  /* panels, at most */
#define LEAST_ROWS  48 /* of a task, if there are that many */
#define UNIT        4  /* integers */
#define LINE        64 /* bytes of a cache line */

typedef struct int8_weight {
    aac_weight base;
    aac_quantized_channels channels;
    char *panels; // (outputs / columns, units, columns) units, both padded with zeros
} int8_weight;

bool aac_simd_multiplies_int8(const aac_op_desc *desc)
{
    bool floats = desc->linear.x == AAC_F32 && desc->linear.y == AAC_F32;
    return desc->linear.quantized && !desc->linear.transposed &&
           desc->linear.inputs <= AAC_QUANTIZED_INPUTS && (floats || aac_narrow_kernels_get());
}

static int64_t units_of(int64_t inputs)
{
    return aac_simd_divide_up(inputs, UNIT);
}

static size_t panel_bytes(const aac_weight *weight)
{
    return (size_t)(units_of(weight->inputs) * aac_block_kernels_get()->columns * UNIT);
}

static size_t panels_size(const aac_weight *weight)
{
    int64_t columns = aac_block_kernels_get()->columns;
    return (size_t)aac_simd_divide_up(weight->outputs, columns) * panel_bytes(weight);
}

void aac_simd_int8_free(aac_weight *base)
{
    int8_weight *weight = (int8_weight *)base;
    if (!base->adopted) {
        aac_quantized_channels_clear(&weight->channels);
        aac_free(weight->panels);
    }
    aac_free(weight);
}

static void fill_panels(const int8_weight *weight, const int8_t *values)
{
    int64_t columns = aac_block_kernels_get()->columns, inputs = weight->base.inputs;
    int64_t outputs = weight->base.outputs;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < outputs; first += columns) {
        char *panel = weight->panels + (size_t)(first / columns) * panel_bytes(&weight->base);
        memset(panel, 0, panel_bytes(&weight->base));
        for (int64_t j = 0; j < aac_simd_smaller(columns, outputs - first); j++)
            for (int64_t k = 0; k < inputs; k += UNIT)
                memcpy(panel + k * columns + j * UNIT, values + (first + j) * inputs + k,
                       (size_t)aac_simd_smaller(UNIT, inputs - k));
    }
}

aaclip_status aac_simd_pack_int8(aac_weight **out, const aac_tensor *parts,
                                 const aac_tensor *bias_parts, int part_count)
{
    *out = NULL;
    int8_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base = aac_quantized_packed(&aac_backend_simd, parts, bias_parts, part_count);
    int8_t *values;
    aaclip_status status = aac_quantize_matrix(&weight->channels, &values, parts, bias_parts,
                                               part_count, AAC_QUANTIZED_LIMIT);
    weight->panels = status ? NULL : aac_alloc(panels_size(&weight->base));
    if (weight->panels)
        fill_panels(weight, values);
    else if (!status)
        status = aac_error_memory();
    aac_free(values);
    if (status)
        aac_simd_int8_free(&weight->base);
    else
        *out = &weight->base;
    return status;
}

void aac_simd_int8_image(const aac_weight *base, aac_weight_image *image)
{
    const int8_weight *weight = (const int8_weight *)base;
    snprintf(image->layout, sizeof image->layout, "simd int8 %lldx%lld, panels of %d, limit %d",
             (long long)base->outputs, (long long)base->inputs, aac_block_kernels_get()->columns,
             AAC_QUANTIZED_LIMIT);
    image->pieces[0].data = weight->panels;
    image->pieces[0].size = panels_size(base);
    image->count = 1 + aac_quantized_image(&weight->channels, base, 1, image);
}

aaclip_status aac_simd_adopt_int8(aac_weight **out, const aac_op_desc *desc,
                                  const aac_weight_image *image)
{
    *out = NULL;
    int8_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base = aac_quantized_adopted(&aac_backend_simd, desc);
    aac_weight_image own = {0};
    aac_simd_int8_image(&weight->base, &own);
    if (!aac_weight_image_fits(&own, image) ||
        !aac_quantized_channels_adopt(&weight->channels, &weight->base, 1, image)) {
        aac_simd_int8_free(&weight->base);
        return AACLIP_OK;
    }
    weight->panels = (char *)image->pieces[0].data;
    *out = &weight->base;
    return AACLIP_OK;
}

/* Bytes of a row of integers. Rows a multiple of 1 KB apart would compete for a few sets of the
 * first-level cache. */
static int64_t row_bytes(int64_t inputs)
{
    int64_t bytes = units_of(inputs) * UNIT;
    return bytes % 1024 ? bytes : bytes + LINE;
}

/* Scratch: the rows as integers, their steps and zero points, then each thread's own part. */
typedef struct int8_scratch {
    size_t values, rows;
    size_t sums, thread; /* of one thread: sums of a block by a group; with a row of floats */
} int8_scratch;

static int64_t group_panels(const aac_op_desc *desc)
{
    int64_t bytes = units_of(desc->linear.inputs) * aac_block_kernels_get()->columns * UNIT;
    int64_t panels = aac_simd_smaller(GROUP, GROUP_BYTES / bytes);
    return panels ? panels : 1;
}

static int8_scratch sizes_of(const aac_op_desc *desc)
{
    const aac_block_kernels *blocks = aac_block_kernels_get();
    int64_t group = group_panels(desc) * blocks->columns, inputs = desc->linear.inputs;
    int64_t rows = aac_simd_divide_up(desc->linear.rows, blocks->rows) * blocks->rows;
    int8_scratch sizes = {
        .values = aac_align((size_t)(rows * row_bytes(inputs))),
        .rows = aac_align((size_t)rows * sizeof(float)),
        .sums = aac_align((size_t)(blocks->rows * group) * sizeof(int32_t)),
    };
    sizes.thread =
        sizes.sums + aac_align((size_t)(group > inputs ? group : inputs) * sizeof(float));
    return sizes;
}

size_t aac_simd_int8_scratch(const aac_op_desc *desc, int threads)
{
    int8_scratch sizes = sizes_of(desc);
    return sizes.values + 2 * sizes.rows + (size_t)threads * sizes.thread;
}

typedef struct int8_run {
    const aac_op_desc *desc;
    const aac_op_args *args;
    aac_quantized_rows rows;
    int8_scratch sizes;
    char *own;                    /* the threads' own scratch */
    int64_t blocks, parts, group; /* of rows; shares of them; outputs of a group of panels */
} int8_run;

/* A group of panels. */
typedef struct int8_task {
    const aac_op_desc *desc;
    const int8_weight *weight;
    const aac_quantized_rows *rows;
    int64_t output, outputs, group; /* of these panels; `group`: outputs of a whole group */
    int32_t *sums;                  // (rows of a block, group)
    float *buffer;
    char *y;
} int8_task;

static void multiply_rows(const int8_task *task, int64_t row)
{
    const aac_quantized_kernels *kernels = aac_quantized_kernels_get();
    const aac_op_desc *desc = task->desc;
    int64_t units = units_of(desc->linear.inputs), columns = aac_block_kernels_get()->columns;
    const char *panel =
        task->weight->panels + (size_t)(task->output / columns) * panel_bytes(&task->weight->base);
    int64_t count = aac_simd_smaller(aac_block_kernels_get()->rows, desc->linear.rows - row);
    int64_t element = (int64_t)aac_dtype_size(desc->linear.y);
    char *y = task->y + (row * desc->linear.outputs + task->output) * element;
    int64_t stride = desc->linear.outputs * element;
    const uint8_t *rows = task->rows->values + row * task->rows->stride;
    int64_t bytes = aac_block_kernels_get()->rows * task->rows->stride;
    int64_t step = aac_simd_divide_up(bytes, units * aac_simd_divide_up(task->outputs, columns));
    const uint8_t *next = rows + bytes; /* the next block's rows, prefetched meanwhile */
    for (int64_t j = 0; j < task->outputs; j += columns, panel += units * columns * UNIT) {
        int64_t width = aac_simd_smaller(columns, task->outputs - j) * element;
        for (int64_t i = 0; i < count; i++)
            for (int64_t at = 0; at < width; at += LINE)
                __builtin_prefetch(y + i * stride + j * element + at, 1);
        kernels->multiply((const uint32_t *)rows, task->rows->stride / UNIT,
                          (const uint32_t *)panel, units, task->sums + j, task->group, next, step);
        next += units * step;
    }
    for (int64_t i = 0; i < count; i++) {
        aac_quantized_sums sums = {.values = task->sums + i * task->group,
                                   .step = task->rows->steps[row + i],
                                   .zero = task->rows->zeros[row + i]};
        aac_quantized_finish(desc, &task->weight->channels, task->output, task->outputs, &sums,
                             y + i * stride, task->buffer);
    }
}

static void run_task(const void *context, int64_t part, int64_t group)
{
    const int8_run *run = context;
    char *memory = run->own + (size_t)aac_threads_index() * run->sizes.thread;
    int64_t output = group * run->group, end = run->blocks * (part + 1) / run->parts;
    const int8_task task = {
        .desc = run->desc,
        .weight = (const int8_weight *)run->args->weight,
        .rows = &run->rows,
        .output = output,
        .outputs = aac_simd_smaller(run->group, run->desc->linear.outputs - output),
        .group = run->group,
        .sums = (int32_t *)memory,
        .buffer = (float *)(memory + run->sizes.sums),
        .y = run->args->y,
    };
    for (int64_t block = run->blocks * part / run->parts; block < end; block++)
        multiply_rows(&task, block * aac_block_kernels_get()->rows);
}

aaclip_status aac_simd_linear_int8(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_op_desc *desc = &base->desc;
    const int8_scratch sizes = sizes_of(desc);
    char *memory = scratch;
    int64_t height = aac_block_kernels_get()->rows, count = desc->linear.rows;
    const int8_run run = {
        .desc = desc,
        .args = args,
        .rows = {.values = scratch,
                 .stride = row_bytes(desc->linear.inputs),
                 .steps = (float *)(memory + sizes.values),
                 .zeros = (int32_t *)(memory + sizes.values + sizes.rows)},
        .sizes = sizes,
        .own = memory + sizes.values + 2 * sizes.rows,
        .blocks = aac_simd_divide_up(count, height),
        .parts = count >= base->threads * LEAST_ROWS ? base->threads : 1,
        .group = group_panels(desc) * aac_block_kernels_get()->columns,
    };
    int64_t padding = run.blocks * height - count;
    aac_quantize_rows(desc, args->x, &run.rows, run.own, sizes.thread);
    memset(run.rows.values + count * run.rows.stride, 0, (size_t)(padding * run.rows.stride));
    aac_simd_share_out(base->threads, run.parts,
                       aac_simd_divide_up(desc->linear.outputs, run.group), run_task, &run);
    return AACLIP_OK;
}
