/* The training losses: focal and two dice losses of a map, with their gradient on the grid; cross
 * entropy of an image's class. */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"

/* The four grid cells that a pixel is interpolated from, and their weights. */
typedef struct pixel_mix {
    int64_t cell[4];
    double share[4];
} pixel_mix;

static pixel_mix mix_of(int64_t row, int64_t column, int64_t grid, int64_t size)
{
    double step = size > 1 ? (double)(grid - 1) / (double)(size - 1) : 0;
    double v = (double)row * step, u = (double)column * step;
    int64_t top = (int64_t)v, left = (int64_t)u;
    int64_t bottom = top + 1 < grid ? top + 1 : top, right = left + 1 < grid ? left + 1 : left;
    double down = v - (double)top, across = u - (double)left;
    return (pixel_mix){
        {top * grid + left, top * grid + right, bottom * grid + left, bottom * grid + right},
        {(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across}};
}

/* Probability of "abnormal": softmax of the two channels at a pixel. */
static double probability(const float *x, const pixel_mix *mix)
{
    double apart = 0;
    for (int i = 0; i < 4; i++)
        apart += mix->share[i] * ((double)x[2 * mix->cell[i] + 1] - (double)x[2 * mix->cell[i]]);
    return 1 / (1 + exp(-apart));
}

/* The sums over all pixels from which the losses are computed. */
typedef struct loss_sums {
    double focal, p[2], t[2], both[2];
} loss_sums;

typedef struct focal_term {
    double loss, slope; /* slope: of the probability of "abnormal" */
} focal_term;

static focal_term focal(double p, bool abnormal, double alpha)
{
    double target = abnormal ? 1 - 1e-5 : 1e-5;
    double pt = target * p + (1 - target) * (1 - p) + 1e-5;
    double by_pt = 2 * (1 - pt) * log(pt) - (1 - pt) * (1 - pt) / pt;
    return (focal_term){-alpha * (1 - pt) * (1 - pt) * log(pt), alpha * by_pt * (2 * target - 1)};
}

static void weigh_kinds(const aac_op_desc *desc, const uint8_t *mask, double alpha[2])
{
    int64_t pixels = desc->segmentation_loss.size * desc->segmentation_loss.size, abnormal = 0;
    for (int64_t i = 0; i < pixels; i++)
        abnormal += mask[i];
    alpha[0] = alpha[1] = 1;
    if (!desc->segmentation_loss.balanced || abnormal == 0 || abnormal == pixels)
        return;
    alpha[0] = 2 * (double)abnormal / (double)pixels;
    alpha[1] = 2 - alpha[0];
}

static loss_sums sum_pixels(const aac_op_desc *desc, const float *x, const uint8_t *mask,
                            const double *alpha)
{
    int64_t size = desc->segmentation_loss.size;
    loss_sums sums = {0};
    for (int64_t at = 0; at < size * size; at++) {
        pixel_mix mix = mix_of(at / size, at % size, desc->segmentation_loss.grid, size);
        double p = probability(x, &mix), t = mask[at];
        sums.focal += focal(p, mask[at], alpha[mask[at]]).loss;
        sums.p[0] += 1 - p;
        sums.p[1] += p;
        sums.t[0] += 1 - t;
        sums.t[1] += t;
        sums.both[0] += (1 - p) * (1 - t);
        sums.both[1] += p * t;
    }
    return sums;
}

static void run_map(const aac_op_desc *desc, const aac_op_args *args, const double *alpha,
                    const float *x, float *y, double *gradient)
{
    int64_t size = desc->segmentation_loss.size, grid = desc->segmentation_loss.grid;
    double pixels = (double)(size * size);
    const loss_sums sums = sum_pixels(desc, x, args->mask, alpha);
    double above[2], below[2];
    for (int i = 0; i < 2; i++) {
        above[i] = 2 * sums.both[i] + 1;
        below[i] = sums.p[i] + sums.t[i] + 1;
        args->losses[1 + i] += 1 - above[i] / below[i];
    }
    args->losses[0] += sums.focal / pixels;
    memset(gradient, 0, (size_t)(2 * grid * grid) * sizeof *gradient);
    for (int64_t at = 0; at < size * size; at++) {
        pixel_mix mix = mix_of(at / size, at % size, grid, size);
        double p = probability(x, &mix), t = args->mask[at];
        double by_p = focal(p, args->mask[at], alpha[args->mask[at]]).slope / pixels;
        by_p += (2 * (1 - t) * below[0] - above[0]) / (below[0] * below[0]); /* p[0] = 1 - p */
        by_p -= (2 * t * below[1] - above[1]) / (below[1] * below[1]);
        double by_score = by_p * p * (1 - p);
        for (int i = 0; i < 4; i++) {
            gradient[2 * mix.cell[i]] -= mix.share[i] * by_score;
            gradient[2 * mix.cell[i] + 1] += mix.share[i] * by_score;
        }
    }
    for (int64_t i = 0; i < 2 * grid * grid; i++)
        y[i] = (float)((double)args->factor * gradient[i]);
}

aaclip_status aac_reference_segmentation_loss(const aac_plan *plan, const aac_op_args *args,
                                              void *scratch)
{
    const aac_op_desc *desc = &plan->desc;
    int64_t values = 2 * desc->segmentation_loss.grid * desc->segmentation_loss.grid;
    double alpha[2];
    weigh_kinds(desc, args->mask, alpha);
    for (int64_t i = 0; i < desc->segmentation_loss.maps; i++)
        run_map(desc, args, alpha, (const float *)args->x + i * values,
                (float *)args->y + i * values, scratch);
    return AACLIP_OK;
}

aaclip_status aac_reference_classification_loss(const aac_plan *plan, const aac_op_args *args,
                                                void *scratch)
{
    (void)scratch;
    int64_t columns = plan->desc.classification_loss.columns;
    for (int64_t row = 0; row < plan->desc.classification_loss.rows; row++) {
        const float *x = (const float *)args->x + row * columns,
                    *pair = args->a + 2 * row * columns;
        float *y = args->y ? (float *)args->y + row * columns : NULL;
        const int32_t label = args->index[row];
        if (label < 0) {
            if (y)
                memset(y, 0, (size_t)columns * sizeof *y);
            continue;
        }
        double apart =
            aac_reference_dot(x, pair, columns) - aac_reference_dot(x, pair + columns, columns);
        double wrong_minus_right = label ? apart : -apart;
        double wrong = 1 / (1 + exp(-wrong_minus_right)); /* probability of the other label */
        double towards = (double)args->factor * (label ? wrong : -wrong);
        for (int64_t i = 0; y && i < columns; i++)
            y[i] = (float)(towards * ((double)pair[i] - (double)pair[columns + i]));
        args->losses[0] += log1p(exp(-fabs(wrong_minus_right))) + fmax(wrong_minus_right, 0);
    }
    return AACLIP_OK;
}
