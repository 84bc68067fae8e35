/* Attention, one query row of one head at a time. */
#include <math.h>

#include "backend/reference/reference.h"
#include "core/threads.h"

/* Doubles of scratch for one (sequence, head), whose rows count from 0. */
typedef struct head_memory {
    double *weights, *dweights, *keys; // (longest)
    double *q, *k, *v;                 // (rows of the sequence, head_size)
    double *dy, *dk, *dv;              // the same, backward only
} head_memory;

static bool is_tree(const aac_op_desc *desc)
{
    return desc->attention.kind == AAC_ATTENTION_TREE;
}

/* A tree's rows count as one sequence, of which each row sees a part. */
static int64_t most_rows(const aac_op_desc *desc)
{
    return is_tree(desc) ? desc->attention.rows : desc->attention.longest;
}

static void find_rows(const aac_op_desc *desc, const aac_op_args *args, int64_t sequence,
                      int64_t *first, int64_t *rows)
{
    *first = is_tree(desc) ? 0 : args->offsets[sequence];
    *rows = is_tree(desc) ? desc->attention.rows : args->offsets[sequence + 1] - *first;
}

static head_memory lay_out(const aac_op_desc *desc, double *scratch)
{
    const int64_t longest = desc->attention.longest;
    const int64_t values = most_rows(desc) * desc->attention.head_size;
    double *q = scratch + 3 * longest;
    return (head_memory){
        .weights = scratch,
        .dweights = scratch + longest,
        .keys = scratch + 2 * longest,
        .q = q,
        .k = q + values,
        .v = q + 2 * values,
        .dy = q + 3 * values,
        .dk = q + 4 * values,
        .dv = q + 5 * values,
    };
}

size_t aac_reference_attention_scratch(const aac_op_desc *desc)
{
    const int64_t arrays = desc->op == AAC_OP_ATTENTION_BACKWARD ? 6 : 3;
    return (size_t)(3 * desc->attention.longest +
                    arrays * most_rows(desc) * desc->attention.head_size);
}

/* Part `part` of `parts` that lie side by side in each row; `out` is (rows, head_size). */
static void read_head(const aac_op_desc *desc, const void *values, int64_t first, int64_t rows,
                      int64_t head, int64_t part, int64_t parts, double *out)
{
    const int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < size; i++)
            out[row * size + i] =
                aac_reference_get(values, desc->attention.type,
                                  ((first + row) * parts + part) * width + head * size + i);
}

static void read_parts(const aac_op_desc *desc, const aac_op_args *args, int64_t first,
                       int64_t rows, int64_t head, const head_memory *memory)
{
    const bool alone = desc->attention.kind == AAC_ATTENTION_VALUE; /* x holds v alone */
    read_head(desc, args->x, first, rows, head, 0, alone ? 1 : 3, memory->q);
    read_head(desc, args->x, first, rows, head, alone ? 0 : 1, alone ? 1 : 3, memory->k);
    read_head(desc, args->x, first, rows, head, alone ? 0 : 2, alone ? 1 : 3, memory->v);
}

/* Lists the rows that `row` sees; returns their number. */
static int64_t list_keys(const aac_op_desc *desc, const aac_op_args *args, int64_t row,
                         int64_t rows, double *keys)
{
    int64_t count = 0;
    if (is_tree(desc)) {
        for (int64_t key = row; key >= 0; key = args->parents[key])
            keys[count++] = (double)key;
        return count;
    }
    int64_t end = desc->attention.kind == AAC_ATTENTION_CAUSAL ? row + 1 : rows;
    for (int64_t key = 0; key < end; key++)
        keys[count++] = (double)key;
    return count;
}

/* Softmax over the keys of query `row`, into `weights`. */
static void weigh(const head_memory *memory, int64_t row, int64_t count, int64_t size)
{
    const double *q = memory->q + row * size;
    double largest = -INFINITY, sum = 0;
    for (int64_t key = 0; key < count; key++) {
        const double *k = memory->k + (int64_t)memory->keys[key] * size;
        double dot = 0;
        for (int64_t i = 0; i < size; i++)
            dot += q[i] * k[i];
        memory->weights[key] = dot / sqrt((double)size);
        largest = fmax(largest, memory->weights[key]);
    }
    for (int64_t i = 0; i < count; i++)
        sum += memory->weights[i] = exp(memory->weights[i] - largest);
    for (int64_t i = 0; i < count; i++)
        memory->weights[i] /= sum;
}

static void attend(const aac_op_desc *desc, const aac_op_args *args, int64_t sequence, int64_t head,
                   double *scratch)
{
    const head_memory memory = lay_out(desc, scratch);
    int64_t size = desc->attention.head_size, heads = desc->attention.heads, first, rows;
    find_rows(desc, args, sequence, &first, &rows);
    read_parts(desc, args, first, rows, head, &memory);
    for (int64_t row = 0; row < rows; row++) {
        int64_t count = list_keys(desc, args, row, rows, memory.keys);
        weigh(&memory, row, count, size);
        for (int64_t i = 0; i < size; i++) {
            double sum = 0;
            for (int64_t key = 0; key < count; key++)
                sum += memory.weights[key] * memory.v[(int64_t)memory.keys[key] * size + i];
            aac_reference_set(args->y, desc->attention.type,
                              ((first + row) * heads + head) * size + i, sum);
        }
    }
}

typedef void (*head_run)(const aac_op_desc *desc, const aac_op_args *args, int64_t sequence,
                         int64_t head, double *scratch);

static void run_heads(const aac_op_desc *desc, const aac_op_args *args, double *scratch,
                      head_run run)
{
    int64_t sequences = is_tree(desc) ? 1 : args->sequences;
#pragma omp parallel for collapse(2)
    for (int64_t sequence = 0; sequence < sequences; sequence++)
        for (int64_t head = 0; head < desc->attention.heads; head++)
            run(desc, args, sequence, head,
                scratch + aac_threads_index() * (int64_t)aac_reference_scratch(desc));
}

aaclip_status aac_reference_attention(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    run_heads(&plan->desc, args, scratch, attend);
    return AACLIP_OK;
}

/* ds = p (dp - sum(p dp)) with dp = dy . v; dq = ds k in the place of dy, dk += ds q, dv += p dy.
 */
static void backward_row(const head_memory *memory, int64_t row, int64_t count, int64_t size)
{
    const double *q = memory->q + row * size;
    double *dy = memory->dy + row * size, *dq = dy;
    double scale = 1 / sqrt((double)size), expected = 0;
    weigh(memory, row, count, size);
    for (int64_t key = 0; key < count; key++) {
        const int64_t at = (int64_t)memory->keys[key] * size;
        double product = 0;
        for (int64_t i = 0; i < size; i++) {
            product += dy[i] * memory->v[at + i];
            memory->dv[at + i] += memory->weights[key] * dy[i];
        }
        memory->dweights[key] = product;
        expected += memory->weights[key] * product;
    }
    for (int64_t i = 0; i < size; i++)
        dq[i] = 0;
    for (int64_t key = 0; key < count; key++) {
        const int64_t at = (int64_t)memory->keys[key] * size;
        double ds = scale * memory->weights[key] * (memory->dweights[key] - expected);
        for (int64_t i = 0; i < size; i++) {
            dq[i] += ds * memory->k[at + i];
            memory->dk[at + i] += ds * q[i];
        }
    }
}

static void backward_head(const aac_op_desc *desc, const aac_op_args *args, int64_t sequence,
                          int64_t head, double *scratch)
{
    const head_memory memory = lay_out(desc, scratch);
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size, first, rows;
    find_rows(desc, args, sequence, &first, &rows);
    read_parts(desc, args, first, rows, head, &memory);
    read_head(desc, args->dy, first, rows, head, 0, 1, memory.dy);
    for (int64_t i = 0; i < rows * size; i++)
        memory.dk[i] = memory.dv[i] = 0;
    for (int64_t row = 0; row < rows; row++) {
        int64_t count = list_keys(desc, args, row, rows, memory.keys);
        backward_row(&memory, row, count, size);
    }
    for (int64_t i = 0; i < rows * size; i++) {
        int64_t at = (first + i / size) * 3 * width + head * size + i % size;
        aac_reference_set(args->y, desc->attention.type, at, memory.dy[i]);
        aac_reference_set(args->y, desc->attention.type, at + width, memory.dk[i]);
        aac_reference_set(args->y, desc->attention.type, at + 2 * width, memory.dv[i]);
    }
}

aaclip_status aac_reference_attention_backward(const aac_plan *plan, const aac_op_args *args,
                                               void *scratch)
{
    run_heads(&plan->desc, args, scratch, backward_head);
    return AACLIP_OK;
}
