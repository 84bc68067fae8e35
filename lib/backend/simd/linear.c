/*
 * Linear layers. A task is some rows times some panels; its rows are copied, dense, one step of
 * inputs at a time. While a block is multiplied, the panel that comes next and the lines of y are
 * fetched: in a network every matrix comes from memory.
 */
#include "backend/simd/linear.h"

#include <string.h>

#define PANEL_BYTES (16 * 1024) /* of one step */
#define TASK_ROWS   192         /* at most */
#define LEAST_ROWS  48          /* of one task, if there are as many */
#define GROUP       8           /* panels that get bias and activation together */
#define LINE        16          /* floats of a cache line */

/* As many tasks for each thread; fewer rows than threads need share the outputs instead. */
aac_simd_split aac_simd_split_linear(const aac_op_desc *desc, int threads, int64_t row_unit,
                                     int64_t unit)
{
    int64_t rows = desc->linear.rows;
    aac_simd_split split = {.blocks = aac_simd_divide_up(rows, row_unit),
                            .pieces = aac_simd_divide_up(desc->linear.outputs, unit),
                            .row_tasks = aac_simd_divide_up(rows, TASK_ROWS),
                            .piece_tasks = 1};
    int64_t even = aac_simd_divide_up(split.row_tasks, threads) * threads;
    if (rows >= even * LEAST_ROWS)
        split.row_tasks = even;
    split.row_tasks = aac_simd_smaller(split.row_tasks, split.blocks);
    if (split.row_tasks < threads)
        split.piece_tasks =
            aac_simd_smaller(aac_simd_divide_up(threads, split.row_tasks), split.pieces);
    split.rows = aac_simd_divide_up(split.blocks, split.row_tasks) * row_unit;
    split.outputs = aac_simd_divide_up(split.pieces, split.piece_tasks) * unit;
    int64_t columns = aac_block_kernels_get()->columns, inputs = desc->linear.inputs;
    int64_t most = PANEL_BYTES / (int64_t)sizeof(float) / columns;
    int64_t steps = aac_simd_divide_up(inputs, most);
    split.depth = aac_simd_divide_up(aac_simd_divide_up(inputs, steps), columns) * columns;
    return split;
}

static aac_simd_split split_of(const aac_op_desc *desc, int threads)
{
    const aac_block_kernels *blocks = aac_block_kernels_get();
    return aac_simd_split_linear(desc, threads, blocks->rows, blocks->columns);
}

int64_t aac_simd_linear_floats(const aac_op_desc *desc, int threads)
{
    aac_simd_split split = split_of(desc, threads);
    return split.rows * split.depth;
}

/* One task at one step. */
typedef struct linear_task {
    const aac_simd_plan *plan;
    const aac_simd_weight *weight;
    const float *rows;  // (count in whole blocks, depth)
    float *y;           // (count, outputs)
    int64_t count, end; /* rows; the panels' last output */
    int64_t input, depth;
} linear_task;

/* A block that reaches over the edge of y. */
static void multiply_edge(const linear_task *task, int64_t row, const float *panel, int64_t column,
                          bool add)
{
    enum { MOST = 12 * 32 };
    const aac_block_kernels *blocks = task->plan->blocks;
    int64_t outputs = task->plan->base.desc.linear.outputs;
    int64_t rows = aac_simd_smaller(task->count - row, blocks->rows);
    int64_t columns = aac_simd_smaller(outputs - column, blocks->columns);
    float block[MOST] = {0}, *y = task->y + row * outputs + column;
    for (int64_t i = 0; add && i < rows; i++)
        memcpy(block + i * blocks->columns, y + i * outputs, (size_t)columns * sizeof *y);
    blocks->product(task->rows + row * task->depth, task->depth, panel, task->depth, add, block,
                    blocks->columns);
    for (int64_t i = 0; i < rows; i++)
        memcpy(y + i * outputs, block + i * blocks->columns, (size_t)columns * sizeof *y);
}

static void multiply_panel(const linear_task *task, int64_t column)
{
    const aac_op_desc *desc = &task->plan->base.desc;
    const aac_block_kernels *blocks = task->plan->blocks;
    int64_t outputs = desc->linear.outputs, panel_floats = desc->linear.inputs * blocks->columns;
    const float *panel =
        task->weight->panels + column * desc->linear.inputs + task->input * blocks->columns;
    bool add = task->input > 0 || desc->linear.accumulate;
    bool whole = outputs - column >= blocks->columns;
    int64_t lines = column + blocks->columns < task->end
                        ? task->depth * blocks->columns / LINE
                        : 0; /* of the next panel, for all blocks together */
    int64_t ahead = aac_simd_divide_up(lines, aac_simd_divide_up(task->count, blocks->rows));
    const float *next = panel + panel_floats;
    for (int64_t row = 0; row < task->count; row += blocks->rows, next += ahead * LINE) {
        if (whole && task->count - row >= blocks->rows)
            blocks->streamed_product(task->rows + row * task->depth, task->depth, panel,
                                     task->depth, add, task->y + row * outputs + column, outputs,
                                     next, ahead);
        else
            multiply_edge(task, row, panel, column, add);
    }
}

static void finish_columns(const linear_task *task, int64_t column, int64_t columns)
{
    const aac_op_desc *desc = &task->plan->base.desc;
    const aac_kernels *kernels = task->plan->kernels;
    for (int64_t row = 0; row < task->count; row++) {
        float *y = task->y + row * desc->linear.outputs + column;
        if (desc->linear.bias)
            kernels->add(task->weight->bias + column, columns, y);
        kernels->activate(y, columns, desc->linear.activation, desc->linear.slope);
    }
}

/* Outputs [first, task->end). */
static void run_step(const linear_task *task, int64_t first, bool last)
{
    int64_t columns = task->plan->blocks->columns;
    for (int64_t group = first; group < task->end; group += GROUP * columns) {
        int64_t group_end = aac_simd_smaller(task->end, group + GROUP * columns);
        for (int64_t column = group; column < group_end; column += columns)
            multiply_panel(task, column);
        if (last)
            finish_columns(task, group, group_end - group);
    }
}

static void copy_rows(const linear_task *task, const float *x, int64_t whole, float *to)
{
    int64_t inputs = task->plan->base.desc.linear.inputs;
    for (int64_t row = 0; row < task->count; row++)
        memcpy(to + row * task->depth, x + row * inputs + task->input,
               (size_t)task->depth * sizeof *x);
    memset(to + task->count * task->depth, 0,
           (size_t)((whole - task->count) * task->depth) * sizeof *to);
}

static void run_task(const aac_simd_plan *plan, const aac_op_args *args,
                     const aac_simd_split *split, int64_t row_task, int64_t piece_task,
                     float *memory)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t height = plan->blocks->rows, width = plan->blocks->columns;
    int64_t first = split->blocks * row_task / split->row_tasks * height;
    int64_t past = split->blocks * (row_task + 1) / split->row_tasks * height;
    int64_t output = split->pieces * piece_task / split->piece_tasks * width;
    int64_t end = split->pieces * (piece_task + 1) / split->piece_tasks * width;
    linear_task task = {
        .plan = plan,
        .weight = (const aac_simd_weight *)args->weight,
        .rows = memory,
        .y = (float *)args->y + first * desc->linear.outputs,
        .count = aac_simd_smaller(past, desc->linear.rows) - first,
        .end = aac_simd_smaller(end, desc->linear.outputs),
    };
    const float *x = (const float *)args->x + first * desc->linear.inputs;
    for (; task.input < desc->linear.inputs; task.input += task.depth) {
        int64_t left = desc->linear.inputs - task.input;
        task.depth = aac_simd_smaller(left, split->depth);
        copy_rows(&task, x, past - first, memory);
        run_step(&task, output, task.depth == left);
    }
}

aaclip_status aac_simd_linear(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    const aac_simd_split split = split_of(&base->desc, base->threads);
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t row = 0; row < split.row_tasks; row++)
        for (int64_t piece = 0; piece < split.piece_tasks; piece++)
            run_task(plan, args, &split, row, piece, aac_simd_buffer(plan, scratch));
    return AACLIP_OK;
}
