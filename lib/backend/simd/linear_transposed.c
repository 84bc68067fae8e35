/*
 * Linear layers through a packed matrix in the opposite direction: y = x W, W (inputs, outputs) in
 * the panels of the layer whose outputs are these inputs. With long steps, the matrix is transposed
 * first. Otherwise y^T = W^T x^T, with a block of the matrix, made dense by a copy, as the left
 * operand, and the rows of x as the panel.
 */
#include "backend/simd/linear.h"

#include <string.h>

#define SQUARE 16 /* of the result, transposed back at a time */

static aac_simd_split split_of(const aac_op_desc *desc, int threads)
{
    const aac_block_kernels *blocks = aac_block_kernels_get();
    return aac_simd_split_linear(desc, threads, &aac_simd_short_step, blocks->columns,
                                 blocks->rows);
}

int64_t aac_simd_transposed_matrix_floats(const aac_op_desc *desc)
{
    int64_t columns = aac_block_kernels_get()->columns, outputs = desc->linear.outputs;
    return aac_simd_has_long_steps()
               ? aac_simd_divide_up(outputs, columns) * columns * desc->linear.inputs
               : 0;
}

int64_t aac_simd_transposed_linear_floats(const aac_op_desc *desc, int threads)
{
    if (aac_simd_has_long_steps())
        return aac_simd_linear_floats(desc, threads);
    aac_simd_split split = split_of(desc, threads);
    int64_t block = aac_block_kernels_get()->rows * split.depth;
    return split.rows * split.depth + block + split.outputs * split.rows;
}

/* One task. */
typedef struct transposed_task {
    const aac_simd_plan *plan;
    const aac_simd_weight *weight;
    const float *x;      // (count, inputs)
    float *y;            // (count, outputs)
    int64_t count, rows; /* rows; rounded up to whole panels */
    int64_t first, end;  /* outputs, from a block's start */
    int64_t depth;       /* of this step, whole panels of W */
    float *panels, *block,
        *sums; // (rows / columns, depth, columns), (block, depth), (outputs, rows)
} transposed_task;

/* Inputs [input, input + depth) of the rows, transposed; padded with zeros in both dimensions. */
static void lay_out_rows(const transposed_task *task, int64_t input)
{
    int64_t inputs = task->plan->base.desc.linear.inputs, columns = task->plan->blocks->columns;
    int64_t depth = aac_simd_smaller(inputs - input, task->depth);
    memset(task->panels, 0, (size_t)(task->rows * task->depth) * sizeof *task->panels);
    for (int64_t first = 0; first < task->count; first += columns) {
        float *to = task->panels + first * task->depth;
        int64_t count = aac_simd_smaller(task->count - first, columns);
        const float *from = task->x + first * inputs + input;
        for (int64_t k = 0; k < depth; k++)
            for (int64_t j = 0; j < count; j++)
                to[k * columns + j] = from[j * inputs + k];
    }
}

/* Copies rows of W^T from `output` on, dense, and prefetches those of the next block. Rows beyond
 * W^T are not written: their results are never read. */
static void copy_block(const transposed_task *task, int64_t input, int64_t output)
{
    const aac_op_desc *desc = &task->plan->base.desc;
    int64_t columns = task->plan->blocks->columns, outputs = desc->linear.outputs;
    int64_t count = aac_simd_smaller(outputs - output, task->plan->blocks->rows);
    for (int64_t k = 0; k < task->depth; k += columns) {
        const float *from = task->weight->panels + (input + k) * outputs + output * columns;
        for (int64_t i = 0; i < count; i++) {
            if (output + count + i < outputs)
                __builtin_prefetch(from + (count + i) * columns);
            memcpy(task->block + i * task->depth + k, from + i * columns,
                   (size_t)columns * sizeof *from);
        }
    }
}

static void multiply_block(const transposed_task *task, int64_t row, bool add, float *sums)
{
    const aac_streamed_block block = {
        .a = task->block,
        .a_stride = task->depth,
        .panel = task->panels + row * task->depth,
        .depth = task->depth,
        .added = add ? sums : NULL,
        .added_stride = task->rows,
        .c = sums,
        .c_stride = task->rows,
        .fetched = sums,
        .fetched_stride = task->rows,
    };
    task->plan->blocks->streamed_product(&block);
}

static void run_step(const transposed_task *task, int64_t input)
{
    const aac_block_kernels *blocks = task->plan->blocks;
    lay_out_rows(task, input);
    for (int64_t output = task->first; output < task->end; output += blocks->rows) {
        float *sums = task->sums + (output - task->first) * task->rows;
        copy_block(task, input, output);
        for (int64_t row = 0; row < task->rows; row += blocks->columns)
            multiply_block(task, row, input > 0, sums + row);
    }
}

static void store_square(const transposed_task *task, int64_t row, int64_t output)
{
    const aac_op_desc *desc = &task->plan->base.desc;
    int64_t rows = aac_simd_smaller(task->count - row, SQUARE),
            count = aac_simd_smaller(task->end - output, SQUARE);
    const float *sums = task->sums + (output - task->first) * task->rows + row;
    for (int64_t i = 0; i < rows; i++) {
        float *y = task->y + (row + i) * desc->linear.outputs + output;
        for (int64_t j = 0; j < count; j++) {
            float sum = sums[j * task->rows + i];
            y[j] = desc->linear.accumulate ? y[j] + sum : sum;
        }
    }
}

/* y = sums^T [+ y] */
static void store(const transposed_task *task)
{
    for (int64_t row = 0; row < task->count; row += SQUARE)
        for (int64_t output = task->first; output < task->end; output += SQUARE)
            store_square(task, row, output);
}

static void run_task(const aac_simd_plan *plan, const aac_op_args *args,
                     const aac_simd_split *split, int64_t row_task, int64_t piece_task,
                     float *memory)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t width = plan->blocks->columns, height = plan->blocks->rows;
    int64_t first = split->blocks * row_task / split->row_tasks * width;
    int64_t past = split->blocks * (row_task + 1) / split->row_tasks * width;
    int64_t end = split->pieces * (piece_task + 1) / split->piece_tasks * height;
    transposed_task task = {
        .plan = plan,
        .weight = (const aac_simd_weight *)args->weight,
        .x = (const float *)args->x + first * desc->linear.inputs,
        .y = (float *)args->y + first * desc->linear.outputs,
        .count = aac_simd_smaller(past, desc->linear.rows) - first,
        .rows = past - first,
        .first = split->pieces * piece_task / split->piece_tasks * height,
        .end = aac_simd_smaller(end, desc->linear.outputs),
        .panels = memory,
        .block = memory + split->rows * split->depth,
        .sums = memory + (split->rows + height) * split->depth,
    };
    memset(task.block, 0, (size_t)(height * split->depth) * sizeof *task.block);
    for (int64_t input = 0; input < desc->linear.inputs; input += task.depth) {
        int64_t left = aac_simd_divide_up(desc->linear.inputs - input, width) * width;
        task.depth = aac_simd_smaller(left, split->depth);
        run_step(&task, input);
    }
    store(&task);
}

/* From W in panels (inputs / columns, outputs, columns): panel `output` of (outputs / columns,
 * inputs, columns), in squares that are contiguous on both sides. */
static void transpose_panel(const aac_simd_plan *plan, const float *matrix, int64_t output,
                            float *panel)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t inputs = desc->linear.inputs, outputs = desc->linear.outputs;
    int64_t columns = plan->blocks->columns, width = aac_simd_smaller(columns, outputs - output);
    for (int64_t input = 0; input < inputs; input += columns) {
        int64_t height = aac_simd_smaller(columns, inputs - input);
        const float *from = matrix + input * outputs + output * columns;
        float *to = panel + input * columns;
        for (int64_t i = 0; i < height; i++, to += columns) {
            for (int64_t j = 0; j < width; j++)
                to[j] = from[j * columns + i];
            for (int64_t j = width; j < columns; j++)
                to[j] = 0.0f;
        }
    }
}

static aaclip_status run_upon_transposed(const aac_simd_plan *plan, const aac_op_args *args,
                                         void *scratch)
{
    const aac_op_desc *desc = &plan->base.desc;
    float *panels = (float *)((char *)scratch + plan->thread_scratch * (size_t)plan->base.threads);
    const float *matrix = ((const aac_simd_weight *)args->weight)->panels;
    int64_t columns = plan->blocks->columns;
#pragma omp parallel for schedule(static)
    for (int64_t output = 0; output < desc->linear.outputs; output += columns)
        transpose_panel(plan, matrix, output, panels + output * desc->linear.inputs);
    const aac_simd_weight transposed = {.panels = panels};
    aac_op_args straight = *args;
    straight.weight = &transposed.base;
    return aac_simd_linear(&plan->base, &straight, scratch);
}

aaclip_status aac_simd_transposed_linear(const aac_plan *base, const aac_op_args *args,
                                         void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    if (aac_simd_has_long_steps())
        return run_upon_transposed(plan, args, scratch);
    const aac_simd_split split = split_of(&base->desc, base->threads);
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t row = 0; row < split.row_tasks; row++)
        for (int64_t piece = 0; piece < split.piece_tasks; piece++)
            run_task(plan, args, &split, row, piece, aac_simd_buffer(plan, scratch));
    return AACLIP_OK;
}
