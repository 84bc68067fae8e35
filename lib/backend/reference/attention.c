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

/* Softmax over the rows [first, end) for query `row`, into `weights`. */
static void weigh(const aac_op_desc *desc, const aac_op_args *args, int64_t row, int64_t head,
                  int64_t first, int64_t end, double *weights)
{
    int64_t size = desc->attention.head_size;
    double largest = -INFINITY, sum = 0;
    for (int64_t key = first; key < end; key++) {
        double dot = 0;
        for (int64_t i = 0; i < size; i++)
            dot += value_of(desc, args, row, PART_Q, head, i) *
                   value_of(desc, args, key, PART_K, head, i);
        weights[key - first] = dot / sqrt((double)size);
        largest = fmax(largest, weights[key - first]);
    }
    for (int64_t i = 0; i < end - first; i++)
        sum += weights[i] = exp(weights[i] - largest);
    for (int64_t i = 0; i < end - first; i++)
        weights[i] /= sum;
}

static void attend(const aac_op_desc *desc, const aac_op_args *args, int64_t sequence, int64_t head,
                   double *weights)
{
    int64_t size = desc->attention.head_size, heads = desc->attention.heads;
    int64_t first = args->offsets[sequence], last = args->offsets[sequence + 1];
    for (int64_t row = first; row < last; row++) {
        int64_t end = desc->attention.kind == AAC_ATTENTION_CAUSAL ? row + 1 : last;
        weigh(desc, args, row, head, first, end, weights);
        for (int64_t i = 0; i < size; i++) {
            double sum = 0;
            for (int64_t key = first; key < end; key++)
                sum += weights[key - first] * value_of(desc, args, key, PART_V, head, i);
            aac_reference_set(args->y, desc->attention.type, (row * heads + head) * size + i, sum);
        }
    }
}

aaclip_status aac_reference_attention(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    const aac_op_desc *desc = &plan->desc;
#pragma omp parallel for collapse(2)
    for (int64_t sequence = 0; sequence < args->sequences; sequence++)
        for (int64_t head = 0; head < desc->attention.heads; head++)
            attend(desc, args, sequence, head,
                   (double *)scratch + aac_threads_index() * (int64_t)aac_reference_scratch(desc));
    return AACLIP_OK;
}

/* Sums of one (sequence, head): gradients of k and v, rows of weights and of their gradients. */
typedef struct backward_sums {
    double *dk, *dv, *weights, *dweights; // (longest, head_size) twice, (longest) twice
} backward_sums;

/* ds = p (dp - sum(p dp)) with dp = dy . v; dq = ds k, dk += ds q, dv += p dy. */
static void backward_row(const aac_op_desc *desc, const aac_op_args *args, int64_t row,
                         int64_t head, int64_t first, int64_t end, const backward_sums *sums)
{
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    double scale = 1 / sqrt((double)size), expected = 0;
    weigh(desc, args, row, head, first, end, sums->weights);
    for (int64_t key = first; key < end; key++) {
        double product = 0;
        for (int64_t i = 0; i < size; i++) {
            double dy =
                aac_reference_get(args->dy, desc->attention.type, row * width + head * size + i);
            product += dy * value_of(desc, args, key, PART_V, head, i);
            sums->dv[(key - first) * size + i] += sums->weights[key - first] * dy;
        }
        sums->dweights[key - first] = product;
        expected += sums->weights[key - first] * product;
    }
    for (int64_t i = 0; i < size; i++) {
        double dq = 0, q = value_of(desc, args, row, PART_Q, head, i);
        for (int64_t key = first; key < end; key++) {
            double ds =
                scale * sums->weights[key - first] * (sums->dweights[key - first] - expected);
            dq += ds * value_of(desc, args, key, PART_K, head, i);
            sums->dk[(key - first) * size + i] += ds * q;
        }
        aac_reference_set(args->y, desc->attention.type, row * 3 * width + head * size + i, dq);
    }
}

static void backward_head(const aac_op_desc *desc, const aac_op_args *args, int64_t sequence,
                          int64_t head, double *scratch)
{
    int64_t size = desc->attention.head_size, width = desc->attention.heads * size;
    int64_t first = args->offsets[sequence], last = args->offsets[sequence + 1];
    int64_t longest = desc->attention.longest;
    const backward_sums sums = {scratch, scratch + longest * size, scratch + 2 * longest * size,
                                scratch + 2 * longest * size + longest};
    for (int64_t i = 0; i < 2 * longest * size; i++)
        scratch[i] = 0;
    for (int64_t row = first; row < last; row++)
        backward_row(desc, args, row, head, first,
                     desc->attention.kind == AAC_ATTENTION_CAUSAL ? row + 1 : last, &sums);
    for (int64_t i = 0; i < (last - first) * size; i++) {
        int64_t at = (first + i / size) * 3 * width + head * size + i % size;
        aac_reference_set(args->y, desc->attention.type, at + width, sums.dk[i]);
        aac_reference_set(args->y, desc->attention.type, at + 2 * width, sums.dv[i]);
    }
}

aaclip_status aac_reference_attention_backward(const aac_plan *plan, const aac_op_args *args,
                                               void *scratch)
{
    const aac_op_desc *desc = &plan->desc;
#pragma omp parallel for collapse(2)
    for (int64_t sequence = 0; sequence < args->sequences; sequence++)
        for (int64_t head = 0; head < desc->attention.heads; head++)
            backward_head(desc, args, sequence, head,
                          (double *)scratch +
                              aac_threads_index() * (int64_t)aac_reference_scratch(desc));
    return AACLIP_OK;
}
