/*
 * The training losses of maps, with their gradients on the grid. Two passes over the pixels: sums,
 * then gradients. Threads take whole rows, and sums are added in the order of the rows, so that the
 * result does not depend on the number of threads.
 */
#include "backend/simd/simd.h"

#include <math.h>
#include <string.h>

/* Where a pixel row or column falls between two lines of the grid. */
typedef struct line_mix {
    int64_t first, second;
    float share; /* weight of the second */
} line_mix;

static line_mix mix_of(int64_t index, int64_t grid, int64_t size)
{
    double at = size > 1 ? (double)index * (double)(grid - 1) / (double)(size - 1) : 0.0;
    int64_t first = (int64_t)at;
    return (line_mix){first, first + 1 < grid ? first + 1 : first, (float)(at - (double)first)};
}

/* The sums over one row of pixels that the losses need. */
typedef struct row_sums {
    double focal, p, p_abnormal, abnormal; /* p: probability of "abnormal" */
} row_sums;

/* d loss / d p of a pixel: the dice losses' slope for its kind, and the focal term's. */
typedef struct loss_slopes {
    double alpha[2];
    double dice[2]; /* of a normal, of an abnormal pixel */
    double pixels;
} loss_slopes;

/* What a pixel is with which probability; the smaller one is not the larger one's difference from
 * 1, which would have lost its digits. */
typedef struct odds {
    double abnormal, normal;
} odds;

static odds odds_at(const float *apart, const line_mix *down, const line_mix *across, int64_t grid)
{
    const float *upper = apart + down->first * grid, *lower = apart + down->second * grid;
    float top =
        upper[across->first] + across->share * (upper[across->second] - upper[across->first]);
    float bottom =
        lower[across->first] + across->share * (lower[across->second] - lower[across->first]);
    float x = top + down->share * (bottom - top), e = expf(-fabsf(x));
    double less = (double)(e / (1.0f + e));
    return x < 0 ? (odds){less, 1 - less} : (odds){1 - less, less};
}

static double confidence(const odds *p, bool abnormal)
{
    double target = abnormal ? 1 - 1e-5 : 1e-5;
    return target * p->abnormal + (1 - target) * p->normal + 1e-5;
}

static row_sums sum_row(const float *apart, const uint8_t *mask, int64_t row, int64_t grid,
                        int64_t size, const double *alpha)
{
    row_sums sums = {0};
    line_mix down = mix_of(row, grid, size);
    for (int64_t column = 0; column < size; column++) {
        line_mix across = mix_of(column, grid, size);
        bool abnormal = mask[row * size + column];
        const odds p = odds_at(apart, &down, &across, grid);
        double pt = confidence(&p, abnormal);
        sums.focal -= alpha[abnormal] * (1 - pt) * (1 - pt) * log(pt);
        sums.p += p.abnormal;
        sums.p_abnormal += abnormal ? p.abnormal : 0;
        sums.abnormal += abnormal;
    }
    return sums;
}

/* Gradient of the score difference at each pixel of a row, gathered onto the grid's columns. */
static void gradient_row(const float *apart, const uint8_t *mask, int64_t row, int64_t grid,
                         int64_t size, const loss_slopes *slopes, float *out)
{
    line_mix down = mix_of(row, grid, size);
    memset(out, 0, (size_t)grid * sizeof *out);
    for (int64_t column = 0; column < size; column++) {
        line_mix across = mix_of(column, grid, size);
        bool abnormal = mask[row * size + column];
        const odds p = odds_at(apart, &down, &across, grid);
        double pt = confidence(&p, abnormal);
        double focal = 2 * (1 - pt) * log(pt) - (1 - pt) * (1 - pt) / pt;
        double sign = abnormal ? 1 - 2e-5 : 2e-5 - 1;
        double by_p =
            slopes->alpha[abnormal] * focal * sign / slopes->pixels + slopes->dice[abnormal];
        float gradient = (float)(by_p * p.abnormal * p.normal);
        out[across.first] += (1.0f - across.share) * gradient;
        out[across.second] += across.share * gradient;
    }
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

/* Adds the losses and computes the dice part of each pixel's slope. */
static void add_losses(const row_sums *rows, int64_t size, loss_slopes *slopes, double *losses)
{
    row_sums all = {0};
    for (int64_t i = 0; i < size; i++) {
        all.focal += rows[i].focal;
        all.p += rows[i].p;
        all.p_abnormal += rows[i].p_abnormal;
        all.abnormal += rows[i].abnormal;
    }
    double pixels = slopes->pixels, normal = pixels - all.abnormal;
    double both = normal - (all.p - all.p_abnormal); /* sum of (1 - p) over normal pixels */
    double above[] = {2 * both + 1, 2 * all.p_abnormal + 1};
    double below[] = {pixels - all.p + normal + 1, all.p + all.abnormal + 1};
    losses[0] += all.focal / pixels;
    losses[1] += 1 - above[0] / below[0];
    losses[2] += 1 - above[1] / below[1];
    double common = above[1] / (below[1] * below[1]) - above[0] / (below[0] * below[0]);
    slopes->dice[0] = common + 2 / below[0];
    slopes->dice[1] = common - 2 / below[1];
}

typedef struct loss_memory {
    row_sums *rows;  // (size)
    float *apart;    // (grid, grid): score of abnormal - score of normal
    float *gathered; // (size, grid)
} loss_memory;

static loss_memory lay_out(const aac_op_desc *desc, void *scratch)
{
    int64_t size = desc->segmentation_loss.size, grid = desc->segmentation_loss.grid;
    loss_memory memory = {.rows = scratch};
    memory.apart = (float *)(memory.rows + size);
    memory.gathered = memory.apart + grid * grid;
    return memory;
}

int64_t aac_simd_segmentation_loss_floats(const aac_op_desc *desc)
{
    int64_t size = desc->segmentation_loss.size, grid = desc->segmentation_loss.grid;
    return size * (int64_t)(sizeof(row_sums) / sizeof(float)) + grid * grid + size * grid;
}

/* Gathers the rows' gradients onto the grid's rows; the channels get it with opposite signs. */
static void gather_rows(const aac_op_desc *desc, const float *gathered, float factor, float *y)
{
    int64_t size = desc->segmentation_loss.size, grid = desc->segmentation_loss.grid;
#pragma omp parallel for schedule(static)
    for (int64_t line = 0; line < grid; line++)
        for (int64_t column = 0; column < grid; column++) {
            double sum = 0;
            for (int64_t row = 0; row < size; row++) {
                line_mix down = mix_of(row, grid, size);
                double value = (double)gathered[row * grid + column];
                sum += down.first == line ? (1 - (double)down.share) * value : 0;
                sum += down.second == line ? (double)down.share * value : 0;
            }
            float gradient = (float)((double)factor * sum);
            y[2 * (line * grid + column)] = -gradient;
            y[2 * (line * grid + column) + 1] = gradient;
        }
}

static void run_map(const aac_op_desc *desc, const aac_op_args *args, loss_slopes slopes,
                    const float *x, float *y, const loss_memory *working)
{
    const loss_memory memory = *working;
    int64_t size = desc->segmentation_loss.size, grid = desc->segmentation_loss.grid;
    for (int64_t i = 0; i < grid * grid; i++)
        memory.apart[i] = x[2 * i + 1] - x[2 * i];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < size; row++)
        memory.rows[row] = sum_row(memory.apart, args->mask, row, grid, size, slopes.alpha);
    add_losses(memory.rows, size, &slopes, args->losses);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < size; row++)
        gradient_row(memory.apart, args->mask, row, grid, size, &slopes,
                     memory.gathered + row * grid);
    gather_rows(desc, memory.gathered, args->factor, y);
}

aaclip_status aac_simd_segmentation_loss(const aac_plan *base, const aac_op_args *args,
                                         void *scratch)
{
    const aac_op_desc *desc = &base->desc;
    int64_t size = desc->segmentation_loss.size, grid = desc->segmentation_loss.grid;
    const loss_memory memory = lay_out(desc, scratch);
    loss_slopes slopes = {.pixels = (double)(size * size)};
    weigh_kinds(desc, args->mask, slopes.alpha);
    for (int64_t i = 0; i < desc->segmentation_loss.maps; i++)
        run_map(desc, args, slopes, (const float *)args->x + i * 2 * grid * grid,
                (float *)args->y + i * 2 * grid * grid, &memory);
    return AACLIP_OK;
}
