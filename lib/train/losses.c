#include "train/losses.h"

#include <math.h>

#include "core/error.h"
#include "core/memory.h"

#define SIMILARITY_SCALE 100.0f

aaclip_status aac_map_loss_make(aac_map_loss *loss, const aac_dispatch *dispatch, int64_t grid,
                                int64_t size, int64_t embedding, bool balanced)
{
    *loss = (aac_map_loss){.patches = grid * grid, .embedding = embedding};
    aac_op_desc similarity = {.op = AAC_OP_SIMILARITY,
                              .similarity = {grid * grid, embedding, SIMILARITY_SCALE}};
    const aac_op_desc map = {.op = AAC_OP_SEGMENTATION_LOSS,
                             .segmentation_loss = {grid, size, balanced}};
    aaclip_status status = aac_dispatch_plan(dispatch, &loss->similarity, &similarity);
    similarity.op = AAC_OP_SIMILARITY_BACKWARD;
    if (!status)
        status = aac_dispatch_plan(dispatch, &loss->back, &similarity);
    if (!status)
        status = aac_dispatch_plan(dispatch, &loss->loss, &map);
    if (!status) {
        const aac_plan *const plans[] = {loss->similarity, loss->loss, loss->back};
        loss->scores = aac_alloc_array(2 * (size_t)loss->patches, sizeof(float));
        loss->gradient = aac_alloc_array(2 * (size_t)loss->patches, sizeof(float));
        loss->scratch = aac_alloc(aac_largest_scratch(plans, 3));
        if (!loss->scores || !loss->gradient || !loss->scratch)
            status = aac_error_memory();
    }
    if (status)
        aac_map_loss_clear(loss);
    return status;
}

void aac_map_loss_clear(aac_map_loss *loss)
{
    aac_plan_free(&loss->similarity);
    aac_plan_free(&loss->loss);
    aac_plan_free(&loss->back);
    aac_free(loss->scores);
    aac_free(loss->gradient);
    aac_free(loss->scratch);
    *loss = (aac_map_loss){0};
}

static double dot(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* What is added to every patch adds the same to every patch's similarity. */
static void add_class(const aac_map_loss *loss, const aac_map_sample *sample)
{
    for (int64_t side = 0; side < 2; side++) {
        float more =
            SIMILARITY_SCALE * (float)dot(sample->class_feature,
                                          sample->pair + side * loss->embedding, loss->embedding);
        for (int64_t i = 0; i < loss->patches; i++)
            loss->scores[2 * i + side] += more;
    }
}

static void add_class_gradient(const aac_map_loss *loss, const aac_map_sample *sample)
{
    for (int64_t side = 0; side < 2; side++) {
        double sum = 0;
        for (int64_t i = 0; i < loss->patches; i++)
            sum += (double)loss->gradient[2 * i + side];
        float factor = SIMILARITY_SCALE * (float)sum;
        float *gradient = sample->pair_gradient + side * loss->embedding;
        for (int64_t i = 0; i < loss->embedding; i++)
            gradient[i] += factor * sample->class_feature[i];
    }
}

aaclip_status aac_map_loss_run(const aac_map_loss *loss, const aac_map_sample *sample,
                               double sums[3])
{
    const aac_op_args similarity = {.x = sample->features, .y = loss->scores, .a = sample->pair};
    aaclip_status status = aac_run(loss->similarity, &similarity, loss->scratch);
    if (status)
        return status;
    if (sample->class_feature)
        add_class(loss, sample);
    const aac_op_args map = {.x = loss->scores,
                             .y = loss->gradient,
                             .mask = sample->mask,
                             .losses = sums,
                             .factor = sample->factor};
    status = aac_run(loss->loss, &map, loss->scratch);
    if (status || (!sample->feature_gradient && !sample->pair_gradient))
        return status;
    if (sample->class_feature && sample->pair_gradient)
        add_class_gradient(loss, sample);
    const aac_op_args back = {.x = sample->features,
                              .a = sample->pair,
                              .dy = loss->gradient,
                              .y = sample->feature_gradient,
                              .da = sample->pair_gradient};
    return aac_run(loss->back, &back, loss->scratch);
}

double aac_classification_loss(const float *detection, const float *pair, int label,
                               int64_t embedding, double factor, float *gradient)
{
    double normal = dot(detection, pair, embedding);
    double abnormal = dot(detection, pair + embedding, embedding);
    double wrong_minus_right = label ? normal - abnormal : abnormal - normal;
    double wrong = 1 / (1 + exp(-wrong_minus_right)); /* probability of the other label */
    double towards = factor * (label ? wrong : -wrong);
    for (int64_t i = 0; gradient && i < embedding; i++)
        gradient[i] = (float)(towards * ((double)pair[i] - (double)pair[embedding + i]));
    return log1p(exp(-fabs(wrong_minus_right))) + fmax(wrong_minus_right, 0);
}

double aac_pair_product(const float *pair, int64_t embedding)
{
    return dot(pair, pair + embedding, embedding);
}
