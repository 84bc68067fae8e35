/*
 * Linear layers. A task is some rows times some panels, one step of inputs at a time. In a network
 * every matrix comes from memory. With short steps, the rows are copied into dense storage and the
 * next panel is prefetched while a block is multiplied. With long steps, hardware prefetching
 * suffices, the rows are read in place, and a task has enough of them that panels are rarely
 * loaded.
 */
#include "backend/simd/linear.h"

#include <string.h>

#define LINE 16 /* floats of a cache line */

const aac_simd_step aac_simd_short_step = {
    .panel_bytes = 16 * 1024, .task_rows = 192, .least_rows = 48, .pieces = 1};
/* Several pieces per thread: they cost nothing here, and threads are not equally fast. */
static const aac_simd_step long_step = {
    .panel_bytes = 256 * 1024, .task_rows = 4096, .least_rows = 336, .pieces = 4};

bool aac_simd_has_long_steps(void)
{
    return aac_kernels_isa() == AAC_ISA_AVX512;
}

/* An equal number of tasks per thread; if there are too few rows, the outputs are shared out
 * instead. */
aac_simd_split aac_simd_split_linear(const aac_op_desc *desc, int threads,
                                     const aac_simd_step *step, int64_t row_unit, int64_t unit)
{
    int64_t rows = desc->linear.rows;
    aac_simd_split split = {.blocks = aac_simd_divide_up(rows, row_unit),
                            .pieces = aac_simd_divide_up(desc->linear.outputs, unit),
                            .row_tasks = aac_simd_divide_up(rows, step->task_rows),
                            .piece_tasks = step->pieces};
    int64_t even = aac_simd_divide_up(split.row_tasks, threads) * threads;
    if (rows >= even * step->least_rows)
        split.row_tasks = even;
    split.row_tasks = aac_simd_smaller(split.row_tasks, split.blocks);
    if (split.row_tasks < threads)
        split.piece_tasks *= aac_simd_divide_up(threads, split.row_tasks);
    split.piece_tasks = aac_simd_smaller(split.piece_tasks, split.pieces);
    split.rows = aac_simd_divide_up(split.blocks, split.row_tasks) * row_unit;
    split.outputs = aac_simd_divide_up(split.pieces, split.piece_tasks) * unit;
    int64_t columns = aac_block_kernels_get()->columns, inputs = desc->linear.inputs;
    int64_t most = step->panel_bytes / (int64_t)sizeof(float) / columns;
    int64_t steps = aac_simd_divide_up(inputs, most);
    split.depth = aac_simd_divide_up(aac_simd_divide_up(inputs, steps), columns) * columns;
    return split;
}

static aac_simd_split split_of(const aac_op_desc *desc, int threads)
{
    const aac_block_kernels *blocks = aac_block_kernels_get();
    return aac_simd_split_linear(desc, threads,
                                 aac_simd_has_long_steps() ? &long_step : &aac_simd_short_step,
                                 blocks->rows, blocks->columns);
}

int64_t aac_simd_linear_floats(const aac_op_desc *desc, int threads)
{
    aac_simd_split split = split_of(desc, threads);
    return (aac_simd_has_long_steps() ? aac_block_kernels_get()->rows : split.rows) * split.depth;
}

/* One task at one step. */
typedef struct linear_task {
    const aac_simd_plan *plan;
    const aac_simd_weight *weight;
    const float *rows; // (whole, depth), `stride` values apart
    int64_t stride;
    const float *rest;    // (count - whole, padded to a whole block, depth), dense
    float *y;             // (count, outputs)
    int64_t count, whole; /* all rows; those in `rows`, in whole blocks */
    int64_t end;          /* the panels' last output */
    int64_t input, depth;
    bool last; /* step */
} linear_task;

/* One block of y, complete or cut at the edge. */
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
    bool rest = row >= task->whole;
    block->a =
        rest ? task->rest + (row - task->whole) * task->depth : task->rows + row * task->stride;
    block->a_stride = rest ? task->depth : task->stride;
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
        .panel = task->weight->panels + column * desc->linear.inputs + task->input * width,
        .depth = task->depth,
        .start = desc->linear.bias && !desc->linear.transposed && task->input == 0
                     ? task->weight->bias + column
                     : NULL,
    };
    bool fetch = !aac_simd_has_long_steps() && column + width < task->end;
    int64_t lines = fetch ? task->depth * width / LINE : 0;
    block.ahead = aac_simd_divide_up(lines, aac_simd_divide_up(task->count, blocks->rows));
    block.next = block.panel + desc->linear.inputs * width;
    for (int64_t row = 0; row < task->count; row += blocks->rows, block.next += block.ahead * LINE)
        multiply_block(task, row, column, &block);
}

/* Copies the step's inputs of all rows or, with long steps, of those that do not fill a block. */
static void take_rows(linear_task *task, const float *x, float *memory)
{
    int64_t inputs = task->plan->base.desc.linear.inputs, height = task->plan->blocks->rows;
    task->whole = aac_simd_has_long_steps() ? task->count / height * height : 0;
    task->rows = x + task->input;
    task->stride = inputs;
    task->rest = memory;
    int64_t rest = task->count - task->whole, filled = aac_simd_divide_up(rest, height) * height;
    for (int64_t row = 0; row < rest; row++)
        memcpy(memory + row * task->depth, x + (task->whole + row) * inputs + task->input,
               (size_t)task->depth * sizeof *x);
    memset(memory + rest * task->depth, 0, (size_t)((filled - rest) * task->depth) * sizeof *x);
}

typedef struct linear_run {
    const aac_simd_plan *plan;
    const aac_op_args *args;
    void *scratch;
    aac_simd_split split;
} linear_run;

static void run_task(const void *context, int64_t row_task, int64_t piece_task)
{
    const linear_run *run = context;
    const aac_simd_plan *plan = run->plan;
    const aac_op_args *args = run->args;
    const aac_simd_split *split = &run->split;
    const aac_op_desc *desc = &plan->base.desc;
    int64_t height = plan->blocks->rows, width = plan->blocks->columns;
    int64_t first = split->blocks * row_task / split->row_tasks * height;
    int64_t past = split->blocks * (row_task + 1) / split->row_tasks * height;
    int64_t output = split->pieces * piece_task / split->piece_tasks * width;
    int64_t end = split->pieces * (piece_task + 1) / split->piece_tasks * width;
    linear_task task = {
        .plan = plan,
        .weight = (const aac_simd_weight *)args->weight,
        .y = (float *)args->y + first * desc->linear.outputs,
        .count = aac_simd_smaller(past, desc->linear.rows) - first,
        .end = aac_simd_smaller(end, desc->linear.outputs),
    };
    const float *x = (const float *)args->x + first * desc->linear.inputs;
    for (; task.input < desc->linear.inputs; task.input += task.depth) {
        int64_t left = desc->linear.inputs - task.input;
        task.depth = aac_simd_smaller(left, split->depth);
        take_rows(&task, x, aac_simd_buffer(plan, run->scratch));
        task.last = task.depth == left;
        for (int64_t column = output; column < task.end; column += width)
            multiply_panel(&task, column);
    }
}

aaclip_status aac_simd_linear(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const linear_run run = {
        .plan = (const aac_simd_plan *)base,
        .args = args,
        .scratch = scratch,
        .split = split_of(&base->desc, base->threads),
    };
    aac_simd_share_out(base->threads, run.split.row_tasks, run.split.piece_tasks, run_task, &run);
    return AACLIP_OK;
}
