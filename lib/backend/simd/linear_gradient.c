/* Gradients of matrices: y += dy^T x. A task is some columns of x, taken some rows at a time. */
#include "backend/simd/linear.h"

#include <string.h>

#define STEP_ROWS 128

/* One task. */
typedef struct gradient_task {
    const aac_simd_plan *plan;
    const aac_op_args *args;
    int64_t first, end;    /* columns of x and y, from a panel's start */
    int64_t row, rows;     /* of this step */
    float *panels, *block; // (columns in panels, rows, columns of a panel), (rows, block)
} gradient_task;

static int64_t task_panels(const aac_op_desc *desc, int threads)
{
    int64_t columns = aac_block_kernels_get()->columns;
    int64_t panels = aac_simd_divide_up(desc->linear_gradient.inputs, columns);
    return aac_simd_divide_up(panels, threads);
}

int64_t aac_simd_linear_gradient_floats(const aac_op_desc *desc, int threads)
{
    const aac_block_kernels *blocks = aac_block_kernels_get();
    return STEP_ROWS * (task_panels(desc, threads) * blocks->columns + blocks->rows);
}

/* Copies rows of `count` values, padded with zeros to `width`. */
static void copy_columns(const float *from, int64_t stride, int64_t rows, int64_t count,
                         int64_t width, float *to)
{
    for (int64_t i = 0; i < rows; i++, from += stride, to += width) {
        memcpy(to, from, (size_t)count * sizeof *to);
        memset(to + count, 0, (size_t)(width - count) * sizeof *to);
    }
}

static void add_block(const gradient_task *task, int64_t output, int64_t column)
{
    const aac_op_desc *desc = &task->plan->base.desc;
    const aac_block_kernels *blocks = task->plan->blocks;
    int64_t inputs = desc->linear_gradient.inputs;
    int64_t rows = aac_simd_smaller(desc->linear_gradient.outputs - output, blocks->rows);
    int64_t columns = aac_simd_smaller(inputs - column, blocks->columns);
    const float *panel = task->panels + (column - task->first) * task->rows;
    float *y = (float *)task->args->y + output * inputs + column;
    if (rows == blocks->rows && columns == blocks->columns) {
        blocks->transposed_product(task->block, blocks->rows, panel, task->rows, true, y, inputs);
        return;
    }
    float sums[AAC_BLOCK_MOST];
    blocks->transposed_product(task->block, blocks->rows, panel, task->rows, false, sums,
                               blocks->columns);
    for (int64_t i = 0; i < rows; i++)
        task->plan->kernels->add(sums + i * blocks->columns, columns, y + i * inputs);
}

static void run_step(const gradient_task *task)
{
    const aac_op_desc *desc = &task->plan->base.desc;
    const aac_block_kernels *blocks = task->plan->blocks;
    int64_t inputs = desc->linear_gradient.inputs, outputs = desc->linear_gradient.outputs;
    const float *x = (const float *)task->args->x + task->row * inputs;
    const float *dy = (const float *)task->args->dy + task->row * outputs;
    for (int64_t column = task->first; column < task->end; column += blocks->columns)
        copy_columns(x + column, inputs, task->rows,
                     aac_simd_smaller(inputs - column, blocks->columns), blocks->columns,
                     task->panels + (column - task->first) * task->rows);
    for (int64_t output = 0; output < outputs; output += blocks->rows) {
        copy_columns(dy + output, outputs, task->rows,
                     aac_simd_smaller(outputs - output, blocks->rows), blocks->rows, task->block);
        for (int64_t column = task->first; column < task->end; column += blocks->columns)
            add_block(task, output, column);
    }
}

aaclip_status aac_simd_linear_gradient(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_simd_plan *plan = (const aac_simd_plan *)base;
    int64_t rows = base->desc.linear_gradient.rows, inputs = base->desc.linear_gradient.inputs;
    int64_t width = task_panels(&base->desc, base->threads) * plan->blocks->columns;
#pragma omp parallel for schedule(dynamic)
    for (int64_t first = 0; first < inputs; first += width) {
        gradient_task task = {.plan = plan,
                              .args = args,
                              .first = first,
                              .end = aac_simd_smaller(inputs, first + width),
                              .panels = aac_simd_buffer(plan, scratch)};
        task.block = task.panels + width * STEP_ROWS;
        for (; task.row < rows; task.row += STEP_ROWS) {
            task.rows = aac_simd_smaller(rows - task.row, STEP_ROWS);
            run_step(&task);
        }
    }
    return AACLIP_OK;
}
