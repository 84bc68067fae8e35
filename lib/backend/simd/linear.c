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
    bool last; /* step */
} linear_task;

/* One block of y, in whole columns and rows or up to the edge. */
static void multiply_block(const linear_task *task, int64_t row, int64_t column,
                           aac_streamed_block *block)
{
    const aac_op_desc *desc = &task->plan->base.desc;
    const aac_block_kernels *blocks = task->plan->blocks;
    int64_t outputs = desc->linear.outputs, width = blocks->columns;
    int64_t rows = aac_simd_smaller(task->count - row, blocks->rows);
    int64_t columns = aac_simd_smaller(outputs - column, width);
    bool whole = rows == blocks->rows && columns == width;
    bool activated = task->last && desc->linear.activation != AAC_ACTIVATION_NONE;
    float *y = task->y + row * outputs + column, values[AAC_BLOCK_MOST];
    bool add = task->input > 0 || desc->linear.accumulate;
    block->a = task->rows + row * task->depth;
    block->fetched = block->added = y;
    block->fetched_stride = block->added_stride = block->c_stride = outputs;
    block->c = y;
    if (!whole || activated) {
        block->c = values;
        block->c_stride = width;
    }
    if (!whole) {
        block->fetched = block->added = memset(values, 0, sizeof values);
        block->fetched_stride = block->added_stride = width;
        for (int64_t i = 0; add && i < rows; i++)
            memcpy(values + i * width, y + i * outputs, (size_t)columns * sizeof *y);
    }
    if (!add)
        block->added = NULL;
    blocks->streamed_product(block);
    if (activated)
        task->plan->kernels->activate(values, blocks->rows * width, desc->linear.activation,
                                      desc->linear.slope);
    for (int64_t i = 0; block->c == values && i < rows; i++)
        memcpy(y + i * outputs, values + i * width, (size_t)columns * sizeof *y);
}

static void multiply_panel(const linear_task *task, int64_t column)
{
    const aac_op_desc *desc = &task->plan->base.desc;
    const aac_block_kernels *blocks = task->plan->blocks;
    int64_t width = blocks->columns;
    aac_streamed_block block = {
        .a_stride = task->depth,
        .panel = task->weight->panels + column * desc->linear.inputs + task->input * width,
        .depth = task->depth,
        .start = desc->linear.bias && task->input == 0 ? task->weight->bias + column : NULL,
    };
    int64_t lines = column + width < task->end ? task->depth * width / LINE : 0;
    block.ahead = aac_simd_divide_up(lines, aac_simd_divide_up(task->count, blocks->rows));
    block.next = block.panel + desc->linear.inputs * width;
    for (int64_t row = 0; row < task->count; row += blocks->rows, block.next += block.ahead * LINE)
        multiply_block(task, row, column, &block);
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
        task.last = task.depth == left;
        for (int64_t column = output; column < task.end; column += width)
            multiply_panel(&task, column);
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
