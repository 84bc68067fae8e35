/* Operations on each row by itself. */
#include <math.h>

#include "backend/reference/reference.h"

aaclip_status aac_reference_layer_norm(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_op_desc *desc = &plan->desc;
    int64_t columns = desc->layer_norm.columns;
#pragma omp parallel for
    for (int64_t row = 0; row < desc->layer_norm.rows; row++) {
        const float *x = (const float *)args->x + row * columns;
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < columns; i++)
            sum += (double)x[i];
        double mean = sum / (double)columns;
        for (int64_t i = 0; i < columns; i++)
            squares += ((double)x[i] - mean) * ((double)x[i] - mean);
        double deviation = sqrt(squares / (double)columns + (double)desc->layer_norm.epsilon);
        for (int64_t i = 0; i < columns; i++)
            aac_reference_set(args->y, desc->layer_norm.y, row * columns + i,
                              ((double)x[i] - mean) / deviation * (double)args->gain[i] +
                                  (double)args->bias[i]);
    }
    return AACLIP_OK;
}

static double norm_of(const float *x, int64_t columns)
{
    double squares = 0;
    for (int64_t i = 0; i < columns; i++)
        squares += (double)x[i] * (double)x[i];
    return sqrt(squares);
}

aaclip_status aac_reference_blend(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    int64_t columns = plan->desc.blend.columns;
    double weight = (double)plan->desc.blend.weight;
#pragma omp parallel for
    for (int64_t row = 0; row < plan->desc.blend.rows; row++) {
        const float *a = args->a + row * columns;
        const float *x = (const float *)args->x + row * columns;
        float *y = (float *)args->y + row * columns;
        double norm = norm_of(a, columns);
        double factor = norm > 0 ? weight * norm_of(x, columns) / norm : 0;
        for (int64_t i = 0; i < columns; i++)
            y[i] = (float)(factor * (double)a[i] + (1 - weight) * (double)x[i]);
    }
    return AACLIP_OK;
}

static void mean_of_normalized(const aac_op_desc *desc, const float *x, float *y)
{
    int64_t rows = desc->normalize.rows, columns = desc->normalize.columns;
    for (int64_t i = 0; i < columns; i++) {
        double sum = 0;
        for (int64_t row = 0; row < rows; row++)
            sum += (double)x[row * columns + i] / fmax(norm_of(x + row * columns, columns), 1e-12);
        y[i] = (float)(sum / (double)rows);
    }
}

aaclip_status aac_reference_normalize(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    int64_t columns = plan->desc.normalize.columns;
    if (plan->desc.normalize.mean) {
        mean_of_normalized(&plan->desc, args->x, args->y);
        return AACLIP_OK;
    }
#pragma omp parallel for
    for (int64_t row = 0; row < plan->desc.normalize.rows; row++) {
        const float *x = (const float *)args->x + row * columns;
        double norm = fmax(norm_of(x, columns), 1e-12);
        for (int64_t i = 0; i < columns; i++)
            ((float *)args->y)[row * columns + i] = (float)((double)x[i] / norm);
    }
    return AACLIP_OK;
}

aaclip_status aac_reference_convert(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_op_desc *desc = &plan->desc;
    for (int64_t i = 0; i < desc->convert.rows * desc->convert.columns; i++)
        aac_reference_set(args->y, desc->convert.y, i,
                          aac_reference_get(args->x, desc->convert.x, i));
    return AACLIP_OK;
}

aaclip_status aac_reference_gather(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    int64_t columns = plan->desc.gather.columns;
    aac_dtype type = plan->desc.gather.type;
    for (int64_t row = 0; row < plan->desc.gather.rows; row++)
        for (int64_t i = 0; i < columns; i++)
            aac_reference_set(args->y, type, row * columns + i,
                              aac_reference_get(args->x, type, args->index[row] * columns + i));
    return AACLIP_OK;
}

aaclip_status aac_reference_gather_backward(const aac_plan *plan, const aac_op_args *args,
                                            void *scratch)
{
    (void)scratch;
    int64_t columns = plan->desc.gather.columns;
    const float *dy = args->dy;
    for (int64_t source = 0; source < plan->desc.gather.sources; source++)
        for (int64_t i = 0; i < columns; i++) {
            double sum = 0;
            for (int64_t row = 0; row < plan->desc.gather.rows; row++)
                sum += args->index[row] == source ? (double)dy[row * columns + i] : 0;
            ((float *)args->y)[source * columns + i] = (float)sum;
        }
    return AACLIP_OK;
}
