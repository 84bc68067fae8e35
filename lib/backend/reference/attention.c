/* Attention, one query row of one head at a time. */
#include <math.h>

#include "backend/reference/reference.h"
#include "core/threads.h"

/* Which of the three parts stands for q, k and v. */
enum part { PART_Q, PART_K, PART_V };

static double value_of(const aac_op_desc *desc, const aac_op_args *args, int64_t row,
                       enum part part, int64_t head, int64_t i)
{
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    if (desc->attention.kind == AAC_ATTENTION_VALUE) /* v is all there is */
        return aac_reference_get(args->x, desc->attention.type, row * width + head * size + i);
    return aac_reference_get(args->x, desc->attention.type,
                             (row * 3 + (int64_t)part) * width + head * size + i);
}

/* Doubles of scratch for one (sequence, head); dk and dv on the way back only. */
typedef struct head_memory {
    double *weights, *dweights, *keys; // (longest)
    double *dk, *dv;                   // (rows of the sequence, head_size)
} head_memory;

static bool is_tree(const aac_op_desc *desc)
{
    return desc->attention.kind == AAC_ATTENTION_TREE;
}

/* All rows of a tree are as one sequence, of which each row sees a part. */
static int64_t most_rows(const aac_op_desc *desc)
{
    return is_tree(desc) ? desc->attention.rows : desc->attention.longest;
}

static void find_rows(const aac_op_desc *desc, const aac_op_args *args, int64_t sequence,
                      int64_t *first, int64_t *last)
{
    *first = is_tree(desc) ? 0 : args->offsets[sequence];
    *last = is_tree(desc) ? desc->attention.rows : args->offsets[sequence + 1];
}

static head_memory lay_out(const aac_op_desc *desc, double *scratch)
{
    int64_t longest = desc->attention.longest;
    double *sums = scratch + 3 * longest;
    return (head_memory){scratch, scratch + longest, scratch + 2 * longest, sums,
                         sums + most_rows(desc) * desc->attention.head_size};
}

size_t aac_reference_attention_scratch(const aac_op_desc *desc)
{
    bool back = desc->op == AAC_OP_ATTENTION_BACKWARD;
    return (size_t)(3 * desc->attention.longest +
                    (back ? 2 * most_rows(desc) * desc->attention.head_size : 0));
}

/* The rows that `row` sees; their number. */
static int64_t list_keys(const aac_op_desc *desc, const aac_op_args *args, int64_t row,
                         int64_t first, int64_t last, double *keys)
{
    int64_t count = 0;
    if (is_tree(desc)) {
        for (int64_t key = row; key >= 0; key = args->parents[key])
            keys[count++] = (double)key;
        return count;
    }
    int64_t end = desc->attention.kind == AAC_ATTENTION_CAUSAL ? row + 1 : last;
    for (int64_t key = first; key < end; key++)
        keys[count++] = (double)key;
    return count;
}

/* Softmax over the keys of query `row`, into `weights`. */
static void weigh(const aac_op_desc *desc, const aac_op_args *args, int64_t row, int64_t head,
                  int64_t count, const head_memory *memory)
{
    int64_t size = desc->attention.head_size;
    double largest = -INFINITY, sum = 0;
    for (int64_t key = 0; key < count; key++) {
        double dot = 0;
        for (int64_t i = 0; i < size; i++)
            dot += value_of(desc, args, row, PART_Q, head, i) *
                   value_of(desc, args, (int64_t)memory->keys[key], PART_K, head, i);
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
    int64_t size = desc->attention.head_size, heads = desc->attention.heads, first, last;
    find_rows(desc, args, sequence, &first, &last);
    for (int64_t row = first; row < last; row++) {
        int64_t count = list_keys(desc, args, row, first, last, memory.keys);
        weigh(desc, args, row, head, count, &memory);
        for (int64_t i = 0; i < size; i++) {
            double sum = 0;
            for (int64_t key = 0; key < count; key++)
                sum += memory.weights[key] *
                       value_of(desc, args, (int64_t)memory.keys[key], PART_V, head, i);
            aac_reference_set(args->y, desc->attention.type, (row * heads + head) * size + i, sum);
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

/* ds = p (dp - sum(p dp)) with dp = dy . v; dq = ds k, dk += ds q, dv += p dy. */
static void backward_row(const aac_op_desc *desc, const aac_op_args *args, int64_t row,
                         int64_t head, int64_t first, int64_t count, const head_memory *memory)
{
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    double scale = 1 / sqrt((double)size), expected = 0;
    weigh(desc, args, row, head, count, memory);
    for (int64_t key = 0; key < count; key++) {
        int64_t key_row = (int64_t)memory->keys[key];
        double product = 0;
        for (int64_t i = 0; i < size; i++) {
            double dy =
                aac_reference_get(args->dy, desc->attention.type, row * width + head * size + i);
            product += dy * value_of(desc, args, key_row, PART_V, head, i);
            memory->dv[(key_row - first) * size + i] += memory->weights[key] * dy;
        }
        memory->dweights[key] = product;
        expected += memory->weights[key] * product;
    }
    for (int64_t i = 0; i < size; i++) {
        double dq = 0, q = value_of(desc, args, row, PART_Q, head, i);
        for (int64_t key = 0; key < count; key++) {
            int64_t key_row = (int64_t)memory->keys[key];
            double ds = scale * memory->weights[key] * (memory->dweights[key] - expected);
            dq += ds * value_of(desc, args, key_row, PART_K, head, i);
            memory->dk[(key_row - first) * size + i] += ds * q;
        }
        aac_reference_set(args->y, desc->attention.type, row * 3 * width + head * size + i, dq);
    }
}

static void backward_head(const aac_op_desc *desc, const aac_op_args *args, int64_t sequence,
                          int64_t head, double *scratch)
{
    const head_memory memory = lay_out(desc, scratch);
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size, first, last;
    find_rows(desc, args, sequence, &first, &last);
    for (int64_t i = 0; i < (last - first) * size; i++)
        memory.dk[i] = memory.dv[i] = 0;
    for (int64_t row = first; row < last; row++) {
        int64_t count = list_keys(desc, args, row, first, last, memory.keys);
        backward_row(desc, args, row, head, first, count, &memory);
    }
    for (int64_t i = 0; i < (last - first) * size; i++) {
        int64_t at = (first + i / size) * 3 * width + head * size + i % size;
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
