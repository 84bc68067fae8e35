/*
 * Every backward operation of `reference` against central differences of its forward operation,
 * implemented again here in double precision.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "core/memory.h"

#define MOST_VALUES 512

/* Rounding of the results to float32, and the curvature that the differences see. */
#define BOUND 2e-6

/* One case: the variables, and what is held constant. All values are exact in float32. */
typedef struct gradient_case {
    const char *name;
    aac_op_desc desc;
    int64_t first, second; /* variables: those that y receives, those that da receives */
    double variables[MOST_VALUES], held[MOST_VALUES], dy[MOST_VALUES];
    uint8_t mask[MOST_VALUES];
    int32_t offsets[3];
    int32_t index[8]; /* parents of a tree, or sources */
    /* sum of dy * result; for losses their sum */
    double (*objective)(const struct gradient_case *test, const double *variables);
} gradient_case;

static uint32_t random_state = 7;

static double random_value(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (double)((float)(random_state >> 8) / (float)(1 << 23) - 1.0f);
}

static double dot(const double *a, const double *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static double activate_objective(const gradient_case *test, const double *x)
{
    double sum = 0;
    for (int64_t i = 0; i < test->first; i++) {
        double y = x[i];
        if (test->desc.activate.activation == AAC_ACTIVATION_QUICK_GELU)
            y = x[i] / (1 + exp(-1.702 * x[i]));
        else if (test->desc.activate.activation == AAC_ACTIVATION_GELU)
            y = x[i] * erfc(-x[i] / sqrt(2)) / 2;
        else if (test->desc.activate.activation == AAC_ACTIVATION_LEAKY_RELU)
            y = x[i] > 0 ? x[i] : x[i] * (double)test->desc.activate.slope;
        sum += test->dy[i] * y;
    }
    return sum;
}

/* y = x W^T by the matrix W (outputs, inputs), which is what moves; x is held. */
static double linear_objective(const gradient_case *test, const double *matrix)
{
    int64_t inputs = test->desc.linear_gradient.inputs;
    int64_t outputs = test->desc.linear_gradient.outputs;
    double sum = 0;
    for (int64_t row = 0; row < test->desc.linear_gradient.rows; row++)
        for (int64_t i = 0; i < outputs; i++)
            sum += test->dy[row * outputs + i] *
                   dot(test->held + row * inputs, matrix + i * inputs, inputs);
    return sum;
}

static double layer_norm_objective(const gradient_case *test, const double *x)
{
    int64_t columns = test->desc.layer_norm.columns;
    double sum = 0;
    for (int64_t row = 0; row < test->desc.layer_norm.rows; row++) {
        const double *at = x + row * columns;
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < columns; i++)
            mean += at[i] / (double)columns;
        for (int64_t i = 0; i < columns; i++)
            variance += (at[i] - mean) * (at[i] - mean) / (double)columns;
        for (int64_t i = 0; i < columns; i++)
            sum += test->dy[row * columns + i] * test->held[i] * (at[i] - mean) /
                   sqrt(variance + (double)test->desc.layer_norm.epsilon);
    }
    return sum;
}

static double attention_objective(const gradient_case *test, const double *x)
{
    int64_t heads = test->desc.attention.heads, size = test->desc.attention.head_size;
    int64_t width = heads * size;
    bool causal = test->desc.attention.kind == AAC_ATTENTION_CAUSAL;
    double sum = 0;
    for (int sequence = 0; sequence < 2; sequence++)
        for (int64_t head = 0; head < heads; head++)
            for (int64_t i = test->offsets[sequence]; i < test->offsets[sequence + 1]; i++) {
                const double *q = x + i * 3 * width + head * size;
                double total = 0, mixed = 0;
                int64_t end = causal ? i + 1 : test->offsets[sequence + 1];
                for (int64_t j = test->offsets[sequence]; j < end; j++) {
                    const double *k = x + (j * 3 + 1) * width + head * size;
                    double weight = exp(dot(q, k, size) / sqrt((double)size));
                    total += weight;
                    mixed += weight * dot(k + width, test->dy + i * width + head * size, size);
                }
                sum += mixed / total;
            }
    return sum;
}

static double tree_objective(const gradient_case *test, const double *x)
{
    int64_t heads = test->desc.attention.heads, size = test->desc.attention.head_size;
    int64_t width = heads * size;
    double sum = 0;
    for (int64_t head = 0; head < heads; head++)
        for (int64_t i = 0; i < test->desc.attention.rows; i++) {
            const double *q = x + i * 3 * width + head * size;
            double total = 0, mixed = 0;
            for (int64_t j = i; j >= 0; j = test->index[j]) {
                const double *k = x + (j * 3 + 1) * width + head * size;
                double weight = exp(dot(q, k, size) / sqrt((double)size));
                total += weight;
                mixed += weight * dot(k + width, test->dy + i * width + head * size, size);
            }
            sum += mixed / total;
        }
    return sum;
}

static double gather_objective(const gradient_case *test, const double *x)
{
    int64_t columns = test->desc.gather.columns;
    double sum = 0;
    for (int64_t row = 0; row < test->desc.gather.rows; row++)
        sum += dot(x + test->index[row] * columns, test->dy + row * columns, columns);
    return sum;
}

/* The variables are x, then a. */
static double blend_objective(const gradient_case *test, const double *variables)
{
    int64_t columns = test->desc.blend.columns;
    double weight = (double)test->desc.blend.weight, sum = 0;
    for (int64_t at = 0; at < test->first; at += columns) {
        const double *x = variables + at, *a = variables + test->first + at, *dy = test->dy + at;
        double ratio = sqrt(dot(x, x, columns) / dot(a, a, columns));
        sum += weight * ratio * dot(a, dy, columns) + (1 - weight) * dot(x, dy, columns);
    }
    return sum;
}

static double normalize_objective(const gradient_case *test, const double *x)
{
    int64_t columns = test->desc.normalize.columns, rows = test->desc.normalize.rows;
    bool mean = test->desc.normalize.mean;
    double sum = 0;
    for (int64_t row = 0; row < rows; row++) {
        const double *at = x + row * columns;
        double along = dot(at, test->dy + (mean ? 0 : row * columns), columns);
        sum += along / sqrt(dot(at, at, columns)) / (mean ? (double)rows : 1);
    }
    return sum;
}

/* The variables are the rows, then the pair. */
static double similarity_objective(const gradient_case *test, const double *variables)
{
    int64_t columns = test->desc.similarity.columns;
    const double *pair = variables + test->first;
    double sum = 0;
    for (int64_t row = 0; row < test->desc.similarity.rows; row++)
        for (int64_t side = 0; side < 2; side++)
            sum += test->dy[2 * row + side] * (double)test->desc.similarity.scale *
                   dot(variables + row * columns, pair + side * columns, columns);
    return sum;
}

static double interpolate(const double *x, int64_t grid, int64_t size, int64_t pixel, int channel)
{
    double step = (double)(grid - 1) / (double)(size - 1), value = 0;
    double v = (double)(pixel / size) * step, u = (double)(pixel % size) * step;
    for (int64_t i = 0; i < grid * grid; i++) {
        double down = 1 - fabs(v - (double)(i / grid)), across = 1 - fabs(u - (double)(i % grid));
        value += fmax(down, 0) * fmax(across, 0) * x[2 * i + channel];
    }
    return value;
}

static double dice(double both, double p, double t)
{
    return 1 - (2 * both + 1) / (p + t + 1);
}

static double map_loss(const gradient_case *test, const double *x)
{
    int64_t size = test->desc.segmentation_loss.size, grid = test->desc.segmentation_loss.grid;
    double pixels = (double)(size * size), share = 0, focal = 0;
    double p[2] = {0}, t[2] = {0}, both[2] = {0};
    for (int64_t i = 0; i < size * size; i++)
        share += test->mask[i] / pixels;
    for (int64_t i = 0; i < size * size; i++) {
        double normal = exp(interpolate(x, grid, size, i, 0));
        double abnormal = exp(interpolate(x, grid, size, i, 1)), target = test->mask[i];
        double q[] = {normal / (normal + abnormal), abnormal / (normal + abnormal)};
        double kind[] = {1 - target, target}, pt = 1e-5;
        for (int channel = 0; channel < 2; channel++) {
            pt += fmin(fmax(kind[channel], 1e-5), 1 - 1e-5) * q[channel];
            p[channel] += q[channel];
            t[channel] += kind[channel];
            both[channel] += q[channel] * kind[channel];
        }
        double alpha =
            test->desc.segmentation_loss.balanced ? 2 * (target > 0 ? 1 - share : share) : 1;
        focal -= alpha * (1 - pt) * (1 - pt) * log(pt) / pixels;
    }
    return focal + dice(both[0], p[0], t[0]) + dice(both[1], p[1], t[1]);
}

static double loss_objective(const gradient_case *test, const double *x)
{
    int64_t grid = test->desc.segmentation_loss.grid;
    double sum = 0;
    for (int64_t i = 0; i < test->desc.segmentation_loss.maps; i++)
        sum += map_loss(test, x + i * 2 * grid * grid);
    return sum;
}

/* The pairs stand behind the rows. */
static double class_objective(const gradient_case *test, const double *x)
{
    int64_t rows = test->desc.classification_loss.rows;
    int64_t columns = test->desc.classification_loss.columns;
    const double *pair = x + test->first;
    double sum = 0;
    for (int64_t i = 0; i < rows; i++, x += columns, pair += 2 * columns) {
        double logits[] = {dot(x, pair, columns), dot(x, pair + columns, columns)};
        if (test->index[i] >= 0)
            sum += log(exp(logits[0]) + exp(logits[1])) - logits[test->index[i]];
    }
    return sum;
}

/* The forward result of attention, which its backward reads. */
static float *attention_out(const gradient_case *test, const float *x)
{
    aac_op_desc desc = test->desc;
    aac_plan *plan = NULL;
    desc.op = AAC_OP_ATTENTION;
    if (aac_backend_reference.plan(&plan, &desc, 1))
        abort();
    float *out = aac_calloc(MOST_VALUES, sizeof *out);
    void *scratch = aac_alloc(plan->scratch);
    const aac_op_args args = {
        .x = x, .y = out, .offsets = test->offsets, .sequences = 2, .parents = test->index};
    if (!out || !scratch || aac_run(plan, &args, scratch))
        abort();
    aac_free(scratch);
    aac_plan_free(&plan);
    return out;
}

/* gradient (first + second) as `reference` has it. */
static void run_reference(const gradient_case *test, float *gradient)
{
    float variables[MOST_VALUES], held[MOST_VALUES], dy[MOST_VALUES];
    for (int i = 0; i < MOST_VALUES; i++) {
        variables[i] = (float)test->variables[i];
        held[i] = (float)test->held[i];
        dy[i] = (float)test->dy[i];
    }
    memset(gradient, 0, MOST_VALUES * sizeof *gradient);
    double losses[3] = {0};
    bool attention = test->desc.op == AAC_OP_ATTENTION_BACKWARD;
    bool linear = test->desc.op == AAC_OP_LINEAR_GRADIENT;
    float *out = attention ? attention_out(test, variables) : NULL;
    const aac_op_args args = {.x = linear ? held : variables,
                              .y = gradient,
                              .gain = held,
                              .a = variables + test->first,
                              .offsets = test->offsets,
                              .sequences = 2,
                              .parents = test->index,
                              .index = test->index,
                              .dy = dy,
                              .out = out,
                              .da = gradient + test->first,
                              .mask = test->mask,
                              .losses = losses,
                              .factor = 1.0f};
    aac_plan *plan = NULL;
    if (aac_backend_reference.plan(&plan, &test->desc, 1))
        abort();
    void *scratch = aac_alloc(plan->scratch);
    if (!scratch || aac_run(plan, &args, scratch))
        abort();
    aac_free(scratch);
    aac_free(out);
    aac_plan_free(&plan);
}

static double central_difference(const gradient_case *test, int64_t variable)
{
    const double step = 1e-5;
    double moved[MOST_VALUES];
    memcpy(moved, test->variables, sizeof moved);
    moved[variable] = test->variables[variable] + step;
    double above = test->objective(test, moved);
    moved[variable] = test->variables[variable] - step;
    return (above - test->objective(test, moved)) / (2 * step);
}

static int check(gradient_case *test)
{
    float found[MOST_VALUES];
    double worst = 0, largest = 0;
    for (int i = 0; i < MOST_VALUES; i++) {
        test->variables[i] = random_value();
        test->held[i] = random_value();
        test->dy[i] = random_value();
        test->mask[i] = random_value() > 0.4;
    }
    run_reference(test, found);
    for (int64_t i = 0; i < test->first + test->second; i++) {
        double expected = central_difference(test, i);
        largest = fmax(largest, fabs(expected));
        worst = fmax(worst, fabs((double)found[i] - expected));
    }
    bool right = worst <= BOUND * largest && largest > 0;
    printf("%-24s %3lld variables: %.1e%s\n", test->name, (long long)(test->first + test->second),
           worst / largest, right ? "" : "  FAILED");
    return !right;
}

int main(void)
{
    gradient_case cases[] = {
        {"quick_gelu",
         {.op = AAC_OP_ACTIVATE_BACKWARD,
          .activate = {3, 7, AAC_ACTIVATION_QUICK_GELU, 0, AAC_F32}},
         .first = 21,
         .objective = activate_objective},
        {"gelu",
         {.op = AAC_OP_ACTIVATE_BACKWARD, .activate = {3, 7, AAC_ACTIVATION_GELU, 0, AAC_F32}},
         .first = 21,
         .objective = activate_objective},
        {"leaky_relu",
         {.op = AAC_OP_ACTIVATE_BACKWARD,
          .activate = {3, 7, AAC_ACTIVATION_LEAKY_RELU, 0.2f, AAC_F32}},
         .first = 21,
         .objective = activate_objective},
        {"linear_gradient",
         {.op = AAC_OP_LINEAR_GRADIENT, .linear_gradient = {5, 4, 6, AAC_F32}},
         .first = 24,
         .objective = linear_objective},
        {"layer_norm",
         {.op = AAC_OP_LAYER_NORM_BACKWARD, .layer_norm = {3, 9, AAC_F32, 1e-5f}},
         .first = 27,
         .objective = layer_norm_objective},
        {"attention, full",
         {.op = AAC_OP_ATTENTION_BACKWARD,
          .attention = {5, false, 2, 3, AAC_ATTENTION_FULL, AAC_F32, 7, 0}},
         .first = 7 * 18,
         .offsets = {0, 5, 7},
         .objective = attention_objective},
        {"attention, causal",
         {.op = AAC_OP_ATTENTION_BACKWARD,
          .attention = {5, false, 2, 3, AAC_ATTENTION_CAUSAL, AAC_F32, 7, 0}},
         .first = 7 * 18,
         .offsets = {0, 5, 7},
         .objective = attention_objective},
        {"attention, tree",
         {.op = AAC_OP_ATTENTION_BACKWARD,
          .attention = {4, false, 2, 3, AAC_ATTENTION_TREE, AAC_F32, 8, 0}},
         .first = 8 * 18,
         .index = {-1, 0, 1, 2, 1, -1, 5, 0},
         .objective = tree_objective},
        {"gather",
         {.op = AAC_OP_GATHER_BACKWARD, .gather = {5, 4, 3, AAC_F32}},
         .first = 12,
         .index = {2, 0, 2, 2, 1},
         .objective = gather_objective},
        {"blend",
         {.op = AAC_OP_BLEND_BACKWARD, .blend = {3, 8, 0.1f}},
         .first = 24,
         .second = 24,
         .objective = blend_objective},
        {"normalize",
         {.op = AAC_OP_NORMALIZE_BACKWARD, .normalize = {3, 8, false}},
         .first = 24,
         .objective = normalize_objective},
        {"normalize, mean",
         {.op = AAC_OP_NORMALIZE_BACKWARD, .normalize = {5, 8, true}},
         .first = 40,
         .objective = normalize_objective},
        {"similarity",
         {.op = AAC_OP_SIMILARITY_BACKWARD, .similarity = {6, 5, 100.0f}},
         .first = 30,
         .second = 10,
         .objective = similarity_objective},
        {"segmentation_loss",
         {.op = AAC_OP_SEGMENTATION_LOSS, .segmentation_loss = {2, 4, 13, false}},
         .first = 64,
         .objective = loss_objective},
        {"segmentation_loss, balanced",
         {.op = AAC_OP_SEGMENTATION_LOSS, .segmentation_loss = {2, 4, 13, true}},
         .first = 64,
         .objective = loss_objective},
        {"classification_loss",
         {.op = AAC_OP_CLASSIFICATION_LOSS, .classification_loss = {3, 5}},
         .first = 15,
         .index = {1, -1, 0},
         .objective = class_objective},
    };
    int failed = 0, count = (int)(sizeof cases / sizeof *cases);
    for (int i = 0; i < count; i++)
        failed += check(&cases[i]);
    printf("%d passed, %d failed\n", count - failed, failed);
    return failed != 0;
}
