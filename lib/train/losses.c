#include "train/losses.h"

#include <string.h>

#include "core/memory.h"

#define SIMILARITY_SCALE 100.0f

/* Similarities are computed without TF32: they are not products of a layer. */
static aac_dispatch without_tensor_float(const aac_dispatch *dispatch)
{
    aac_dispatch exact = *dispatch;
    exact.tensor_float = false;
    return exact;
}

static aaclip_status plan_class(aac_map_loss *loss, const aac_dispatch *dispatch)
{
    const aac_dispatch exact = without_tensor_float(dispatch);
    const int64_t rows = loss->rows;
    aac_op_desc similarity = {.op = AAC_OP_SIMILARITY,
                              .similarity = {1, loss->embedding, SIMILARITY_SCALE}};
    const aac_op_desc spread = {.op = AAC_OP_LINEAR_GRADIENT,
                                .linear_gradient = {1, 2, rows, AAC_F32}};
    const aac_op_desc total = {.op = AAC_OP_LINEAR_GRADIENT,
                               .linear_gradient = {rows, 2, 1, AAC_F32}};
    aaclip_status status = aac_dispatch_plan(dispatch, &loss->class_similarity, &similarity);
    similarity.op = AAC_OP_SIMILARITY_BACKWARD;
    if (!status)
        status = aac_dispatch_plan(dispatch, &loss->class_back, &similarity);
    if (!status)
        status = aac_dispatch_plan(&exact, &loss->spread, &spread);
    return status ? status : aac_dispatch_plan(&exact, &loss->total, &total);
}

static aaclip_status make_plans(aac_map_loss *loss, const aac_dispatch *dispatch, int64_t levels,
                                int64_t grid, int64_t size, bool balanced)
{
    aac_op_desc similarity = {.op = AAC_OP_SIMILARITY,
                              .similarity = {loss->rows, loss->embedding, SIMILARITY_SCALE}};
    const aac_op_desc map = {.op = AAC_OP_SEGMENTATION_LOSS,
                             .segmentation_loss = {levels, grid, size, balanced}};
    aaclip_status status = aac_dispatch_plan(dispatch, &loss->similarity, &similarity);
    similarity.op = AAC_OP_SIMILARITY_BACKWARD;
    if (!status)
        status = aac_dispatch_plan(dispatch, &loss->back, &similarity);
    if (!status)
        status = aac_dispatch_plan(dispatch, &loss->loss, &map);
    return status ? status : plan_class(loss, dispatch);
}

static aaclip_status make_ones(float **out, const aac_dispatch *dispatch, size_t count)
{
    void *memory;
    float *ones = aac_alloc_array(count, sizeof *ones);
    for (size_t i = 0; ones && i < count; i++)
        ones[i] = 1;
    aaclip_status status = aac_device_adopt(dispatch, &memory, ones, count * sizeof *ones);
    *out = memory;
    return status;
}

static aaclip_status allocate(aac_map_loss *loss, const aac_dispatch *dispatch)
{
    const aac_plan *const plans[] = {loss->similarity, loss->loss,  loss->back,
                                     loss->spread,     loss->total, loss->class_similarity,
                                     loss->class_back};
    size_t rows = (size_t)loss->rows;
    aaclip_status status = aac_mirror_new(dispatch, &loss->sums, 4 * sizeof(double));
    if (!status)
        status = make_ones(&loss->ones, dispatch, rows);
    if (status)
        return status;
    loss->scores = aac_device_alloc_array(dispatch, 2 * rows, sizeof(float));
    loss->gradient = aac_device_alloc_array(dispatch, 2 * rows, sizeof(float));
    loss->class_scores = aac_device_alloc_array(dispatch, 2, sizeof(float));
    loss->scratch =
        aac_device_alloc(dispatch, aac_largest_scratch(plans, sizeof plans / sizeof *plans));
    bool done = loss->scores && loss->gradient && loss->class_scores && loss->scratch;
    return done ? AACLIP_OK : aac_device_error(dispatch);
}

aaclip_status aac_map_loss_make(aac_map_loss *loss, const aac_dispatch *dispatch, int64_t levels,
                                int64_t grid, int64_t size, int64_t embedding, bool balanced)
{
    *loss = (aac_map_loss){.dispatch = dispatch,
                           .patches = grid * grid,
                           .rows = levels * grid * grid,
                           .embedding = embedding};
    aaclip_status status = make_plans(loss, dispatch, levels, grid, size, balanced);
    if (!status)
        status = allocate(loss, dispatch);
    if (status)
        aac_map_loss_clear(loss);
    return status;
}

void aac_map_loss_clear(aac_map_loss *loss)
{
    aac_plan **const plans[] = {&loss->similarity, &loss->loss,  &loss->back,
                                &loss->spread,     &loss->total, &loss->class_similarity,
                                &loss->class_back};
    void *const arrays[] = {loss->scores, loss->gradient, loss->ones, loss->class_scores,
                            loss->scratch};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        aac_plan_free(plans[i]);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        aac_device_free(loss->dispatch, arrays[i]);
    if (loss->dispatch)
        aac_mirror_free(loss->dispatch, &loss->sums);
    *loss = (aac_map_loss){0};
}

static double dot(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* scores += 100 * class . pair, for every patch */
static aaclip_status add_class(const aac_map_loss *loss, const aac_map_sample *sample)
{
    const aac_op_args similarity = {
        .x = sample->class_feature, .y = loss->class_scores, .a = sample->pair};
    const aac_op_args spread = {.x = loss->class_scores, .dy = loss->ones, .y = loss->scores};
    aaclip_status status = aac_run(loss->class_similarity, &similarity, loss->scratch);
    return status ? status : aac_run(loss->spread, &spread, loss->scratch);
}

/* pair_gradient += 100 * (sum of the patches' gradients) * class */
static aaclip_status add_class_gradient(const aac_map_loss *loss, const aac_map_sample *sample)
{
    const aac_op_args total = {.x = loss->gradient, .dy = loss->ones, .y = loss->class_scores};
    const aac_op_args back = {.x = sample->class_feature,
                              .a = sample->pair,
                              .dy = loss->class_scores,
                              .da = sample->pair_gradient};
    aaclip_status status =
        aac_device_clear(loss->dispatch, loss->class_scores, 2 * sizeof *loss->class_scores);
    if (!status)
        status = aac_run(loss->total, &total, loss->scratch);
    return status ? status : aac_run(loss->class_back, &back, loss->scratch);
}

aaclip_status aac_map_loss_begin(const aac_map_loss *loss)
{
    return aac_device_clear(loss->dispatch, loss->sums.device, loss->sums.bytes);
}

double *aac_map_loss_class_sum(const aac_map_loss *loss)
{
    return (double *)loss->sums.device + 3;
}

aaclip_status aac_map_loss_end(const aac_map_loss *loss, double sums[4])
{
    aaclip_status status = aac_mirror_fetch(loss->dispatch, &loss->sums);
    memcpy(sums, loss->sums.host, loss->sums.bytes);
    return status;
}

aaclip_status aac_map_loss_run(const aac_map_loss *loss, const aac_map_sample *sample)
{
    const aac_op_args similarity = {.x = sample->features, .y = loss->scores, .a = sample->pair};
    aaclip_status status = aac_run(loss->similarity, &similarity, loss->scratch);
    if (!status && sample->class_feature)
        status = add_class(loss, sample);
    const aac_op_args map = {.x = loss->scores,
                             .y = loss->gradient,
                             .mask = sample->mask,
                             .losses = loss->sums.device,
                             .factor = sample->factor};
    if (!status)
        status = aac_run(loss->loss, &map, loss->scratch);
    if (status || (!sample->feature_gradient && !sample->pair_gradient))
        return status;
    if (sample->class_feature && sample->pair_gradient)
        status = add_class_gradient(loss, sample);
    const aac_op_args back = {.x = sample->features,
                              .a = sample->pair,
                              .dy = loss->gradient,
                              .y = sample->feature_gradient,
                              .da = sample->pair_gradient};
    return status ? status : aac_run(loss->back, &back, loss->scratch);
}

double aac_pair_product(const float *pair, int64_t embedding)
{
    return dot(pair, pair + embedding, embedding);
}
