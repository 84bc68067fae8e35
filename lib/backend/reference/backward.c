/* Gradients of the operations on rows, and of the linear layer's matrix. */
#include <math.h>

#include "backend/reference/reference.h"

static double square(double x)
{
    return x * x;
}

static double derivative(double x, const aac_op_desc *desc)
{
    const double root_of_two_pi = 2.5066282746310005024;
    double sigmoid = 1 / (1 + exp(-1.702 * x));
    switch (desc->activate.activation) {
    case AAC_ACTIVATION_QUICK_GELU:
        return sigmoid + 1.702 * x * sigmoid * (1 - sigmoid);
    case AAC_ACTIVATION_GELU:
        return (1 + erf(x / sqrt(2.0))) / 2 + x * exp(-x * x / 2) / root_of_two_pi;
    case AAC_ACTIVATION_LEAKY_RELU:
        return x > 0 ? 1 : (double)desc->activate.slope; /* at 0 as in PyTorch */
    case AAC_ACTIVATION_NONE:
        break;
    }
    return 1;
}

aaclip_status aac_reference_activate(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_op_desc *desc = &plan->desc;
    aac_dtype type = desc->activate.type;
#pragma omp parallel for
    for (int64_t i = 0; i < desc->activate.rows * desc->activate.columns; i++)
        aac_reference_set(args->y, type, i,
                          aac_reference_activation(aac_reference_get(args->x, type, i),
                                                   desc->activate.activation,
                                                   (double)desc->activate.slope));
    return AACLIP_OK;
}

aaclip_status aac_reference_activate_backward(const aac_plan *plan, const aac_op_args *args,
                                              void *scratch)
{
    (void)scratch;
    const aac_op_desc *desc = &plan->desc;
    aac_dtype type = desc->activate.type;
#pragma omp parallel for
    for (int64_t i = 0; i < desc->activate.rows * desc->activate.columns; i++)
        aac_reference_set(args->y, type, i,
                          aac_reference_get(args->dy, type, i) *
                              derivative(aac_reference_get(args->x, type, i), desc));
    return AACLIP_OK;
}

aaclip_status aac_reference_linear_gradient(const aac_plan *plan, const aac_op_args *args,
                                            void *scratch)
{
    (void)scratch;
    const aac_op_desc *desc = &plan->desc;
    int64_t inputs = desc->linear_gradient.inputs, outputs = desc->linear_gradient.outputs;
    aac_dtype type = desc->linear_gradient.type;
#pragma omp parallel for
    for (int64_t output = 0; output < outputs; output++)
        for (int64_t input = 0; input < inputs; input++) {
            double sum = 0;
            for (int64_t row = 0; row < desc->linear_gradient.rows; row++)
                sum += aac_reference_get(args->dy, type, row * outputs + output) *
                       aac_reference_get(args->x, type, row * inputs + input);
            float *y = (float *)args->y + output * inputs + input;
            *y = (float)((double)*y + sum);
        }
    return AACLIP_OK;
}

/* With n = (x - mean) / deviation and g = gain * dy: (g - mean(g) - n * mean(g * n)) / deviation.
 */
static void layer_norm_row(const aac_op_desc *desc, const float *x, const float *gain,
                           const float *dy, float *y)
{
    int64_t columns = desc->layer_norm.columns;
    double count = (double)columns, mean = 0, squares = 0, sum = 0, product = 0;
    for (int64_t i = 0; i < columns; i++)
        mean += (double)x[i] / count;
    for (int64_t i = 0; i < columns; i++)
        squares += square((double)x[i] - mean);
    double deviation = sqrt(squares / count + (double)desc->layer_norm.epsilon);
    for (int64_t i = 0; i < columns; i++) {
        double g = (double)gain[i] * (double)dy[i];
        sum += g;
        product += g * ((double)x[i] - mean) / deviation;
    }
    for (int64_t i = 0; i < columns; i++) {
        double g = (double)gain[i] * (double)dy[i], n = ((double)x[i] - mean) / deviation;
        y[i] = (float)((double)y[i] + (g - sum / count - n * product / count) / deviation);
    }
}

aaclip_status aac_reference_layer_norm_backward(const aac_plan *plan, const aac_op_args *args,
                                                void *scratch)
{
    (void)scratch;
    int64_t columns = plan->desc.layer_norm.columns;
#pragma omp parallel for
    for (int64_t row = 0; row < plan->desc.layer_norm.rows; row++)
        layer_norm_row(&plan->desc, (const float *)args->x + row * columns, args->gain,
                       (const float *)args->dy + row * columns, (float *)args->y + row * columns);
    return AACLIP_OK;
}

/* Both norms contribute to the gradient; a zero norm passes none. */
static void blend_row(const aac_op_desc *desc, const float *x, const float *a, const float *dy,
                      float *y, float *da)
{
    int64_t columns = desc->blend.columns;
    double weight = (double)desc->blend.weight;
    double x_norm = sqrt(aac_reference_dot(x, x, columns)),
           a_norm = sqrt(aac_reference_dot(a, a, columns));
    double product = aac_reference_dot(a, dy, columns);
    for (int64_t i = 0; i < columns; i++) {
        double gradient = (double)dy[i], along_a = 0, along_x = 0;
        if (a_norm > 0) {
            along_a = x_norm / a_norm * (gradient - product / square(a_norm) * (double)a[i]);
            along_x = x_norm > 0 ? product / a_norm * (double)x[i] / x_norm : 0;
        }
        da[i] = (float)(weight * along_a);
        y[i] = (float)((1 - weight) * gradient + weight * along_x);
    }
}

aaclip_status aac_reference_blend_backward(const aac_plan *plan, const aac_op_args *args,
                                           void *scratch)
{
    (void)scratch;
    int64_t columns = plan->desc.blend.columns;
#pragma omp parallel for
    for (int64_t row = 0; row < plan->desc.blend.rows; row++)
        blend_row(&plan->desc, (const float *)args->x + row * columns, args->a + row * columns,
                  (const float *)args->dy + row * columns, (float *)args->y + row * columns,
                  args->da + row * columns);
    return AACLIP_OK;
}

/* With n = x / |x|: (dy - n * (n . dy)) / |x|. */
aaclip_status aac_reference_normalize_backward(const aac_plan *plan, const aac_op_args *args,
                                               void *scratch)
{
    (void)scratch;
    int64_t rows = plan->desc.normalize.rows, columns = plan->desc.normalize.columns;
    bool mean = plan->desc.normalize.mean;
    double share = mean ? 1 / (double)rows : 1;
#pragma omp parallel for
    for (int64_t row = 0; row < rows; row++) {
        const float *x = (const float *)args->x + row * columns;
        const float *dy = (const float *)args->dy + (mean ? 0 : row * columns);
        float *y = (float *)args->y + row * columns;
        double norm = sqrt(aac_reference_dot(x, x, columns)),
               along = aac_reference_dot(x, dy, columns);
        double factor = share / fmax(norm, 1e-12);
        double turn = norm > 1e-12 ? along / square(norm) : 0;
        for (int64_t i = 0; i < columns; i++)
            y[i] = (float)(factor * ((double)dy[i] - turn * (double)x[i]));
    }
    return AACLIP_OK;
}

aaclip_status aac_reference_similarity_backward(const aac_plan *plan, const aac_op_args *args,
                                                void *scratch)
{
    (void)scratch;
    int64_t rows = plan->desc.similarity.rows, columns = plan->desc.similarity.columns;
    double scale = (double)plan->desc.similarity.scale;
    const float *x = args->x, *dy = args->dy;
    float *y = args->y;
    for (int64_t row = 0; y && row < rows; row++)
        for (int64_t i = 0; i < columns; i++)
            y[row * columns + i] =
                (float)(scale * ((double)dy[2 * row] * (double)args->a[i] +
                                 (double)dy[2 * row + 1] * (double)args->a[columns + i]));
    for (int64_t at = 0; args->da && at < 2 * columns; at++) {
        double sum = 0;
        for (int64_t row = 0; row < rows; row++)
            sum += (double)dy[2 * row + at / columns] * (double)x[row * columns + at % columns];
        args->da[at] = (float)((double)args->da[at] + scale * sum);
    }
    return AACLIP_OK;
}

aaclip_status aac_reference_adam(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_adam_step *adam = args->adam;
    double first_share = 1 - pow(adam->beta1, (double)adam->step);
    double second_share = 1 - pow(adam->beta2, (double)adam->step);
    float *y = args->y;
    for (int64_t i = 0; i < plan->desc.adam.count; i++) {
        double gradient = (double)((const float *)args->dy)[i];
        double m = adam->beta1 * (double)adam->first_moment[i] + (1 - adam->beta1) * gradient;
        double v =
            adam->beta2 * (double)adam->second_moment[i] + (1 - adam->beta2) * square(gradient);
        adam->first_moment[i] = (float)m;
        adam->second_moment[i] = (float)v;
        y[i] = (float)((double)y[i] - adam->rate / first_share * m /
                                          (sqrt(v) / sqrt(second_share) + adam->epsilon));
    }
    return AACLIP_OK;
}

aaclip_status aac_reference_finite(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const float *x = args->x;
    bool finite = true;
    for (int64_t i = 0; finite && i < plan->desc.finite.count; i++)
        finite = isfinite(x[i]);
    *(float *)args->y = finite ? 1.0f : 0.0f;
    return AACLIP_OK;
}
