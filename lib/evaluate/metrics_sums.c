#include <math.h>

#include "evaluate/metrics_types.h"

static const double limits[AAC_AUPRO_LIMITS] = {[AAC_AUPRO_30] = 0.3, [AAC_AUPRO_05] = 0.05};

/* Kahan-Neumaier summation. */
static void add(aac_long_sum *total, double term)
{
    const double sum = total->sum + term;
    total->lost +=
        fabs(total->sum) >= fabs(term) ? (total->sum - sum) + term : (term - sum) + total->sum;
    total->sum = sum;
}

static double value_of(const aac_long_sum *total)
{
    return total->sum + total->lost;
}

static double f1(const aac_totals *totals, uint64_t found, uint64_t false_alarms)
{
    return 2 * (double)found / (double)(totals->abnormal + found + false_alarms);
}

/* The width below the limit of the segment that a tie's `normal` pixels span. */
static double width_below_limit(const aac_totals *totals, int limit, uint64_t before,
                                uint64_t normal)
{
    const double rest = limits[limit] * (double)totals->normal - (double)before;
    return fmax(0, fmin(rest, (double)normal));
}

static void add_overlap(aac_sums *sums, const aac_tie *tie)
{
    const double before = value_of(&sums->overlap);
    add(&sums->overlap, tie->overlap);
    if (!tie->normal)
        return;
    const double rise = (value_of(&sums->overlap) - before) / (double)tie->normal;
    for (int i = 0; i < AAC_AUPRO_LIMITS; i++) {
        const double width = width_below_limit(&sums->totals, i, sums->normal, tie->normal);
        if (width > 0)
            add(&sums->pro_area[i], width * (before + rise * width / 2));
    }
}

void aac_sums_visit(void *user, const aac_tie *tie)
{
    aac_sums *sums = user;
    add_overlap(sums, tie);
    if (tie->normal)
        add(&sums->roc_area,
            (double)tie->normal * ((double)sums->abnormal + (double)tie->abnormal / 2));
    sums->normal += tie->normal;
    sums->abnormal += tie->abnormal;
    if (!tie->abnormal)
        return;
    add(&sums->precision,
        (double)tie->abnormal * (double)sums->abnormal / (double)(sums->abnormal + sums->normal));
    const double now = f1(&sums->totals, sums->abnormal, sums->normal);
    if (now > sums->f1_max) {
        sums->f1_max = now;
        sums->f1_threshold = tie->score;
    }
}

void aac_bounds_visit(void *user, const aac_tie *tie)
{
    aac_bounds *bounds = user;
    const double normal = (double)tie->normal, abnormal = (double)tie->abnormal;
    const double found = (double)bounds->abnormal, missed = (double)bounds->normal;
    for (int i = 0; i < AAC_AUPRO_LIMITS; i++) {
        /* PRO lies in the box that the tie spans; a full diagonal halves it, a cut one need not. */
        const double width = width_below_limit(&bounds->totals, i, bounds->normal, tie->normal);
        add(&bounds->pro_area[i], width * tie->overlap / (width < normal ? 1 : 2));
    }
    add(&bounds->roc_area, normal * abnormal / 2);
    if (tie->abnormal) {
        add(&bounds->precision_least, abnormal * (found + 1) / (found + 1 + missed + normal));
        add(&bounds->precision_most, abnormal * (found + abnormal) / (found + abnormal + missed));
        bounds->f1_most = fmax(
            bounds->f1_most, f1(&bounds->totals, bounds->abnormal + tie->abnormal, bounds->normal));
    }
    bounds->normal += tie->normal;
    bounds->abnormal += tie->abnormal;
}

void aac_sums_write_images(const aac_sums *sums, double *auroc, double *ap, double *f1_max,
                           double *f1_threshold)
{
    const double normal = (double)sums->totals.normal, abnormal = (double)sums->totals.abnormal;
    const bool available = sums->totals.normal && sums->totals.abnormal;
    *auroc = available ? value_of(&sums->roc_area) / normal / abnormal : NAN;
    *ap = available ? value_of(&sums->precision) / abnormal : NAN;
    *f1_max = available ? sums->f1_max : NAN;
    *f1_threshold = available ? sums->f1_threshold : NAN;
}

static double aupro(const aac_long_sum *area, const aac_totals *totals, int limit)
{
    if (!totals->normal || !totals->regions)
        return NAN;
    return value_of(area) / (limits[limit] * (double)totals->normal) / (double)totals->regions;
}

static void write_errors(aaclip_metric_values *values, const aac_bounds *bounds)
{
    const double normal = (double)bounds->totals.normal, abnormal = (double)bounds->totals.abnormal;
    values->pixel_auroc_error = value_of(&bounds->roc_area) / normal / abnormal;
    values->pixel_ap_error = fmax(value_of(&bounds->precision_most) / abnormal - values->pixel_ap,
                                  values->pixel_ap - value_of(&bounds->precision_least) / abnormal);
    values->pixel_f1_max_error = bounds->f1_most - values->pixel_f1_max;
    values->aupro_30_error = aupro(&bounds->pro_area[AAC_AUPRO_30], &bounds->totals, AAC_AUPRO_30);
    values->aupro_05_error = aupro(&bounds->pro_area[AAC_AUPRO_05], &bounds->totals, AAC_AUPRO_05);
}

void aac_sums_write_pixels(aaclip_metric_values *values, const aac_sums *sums,
                           const aac_bounds *bounds)
{
    const aac_totals *totals = &sums->totals;
    aac_sums_write_images(sums, &values->pixel_auroc, &values->pixel_ap, &values->pixel_f1_max,
                          &values->pixel_f1_threshold);
    values->aupro_30 = aupro(&sums->pro_area[AAC_AUPRO_30], totals, AAC_AUPRO_30);
    values->aupro_05 = aupro(&sums->pro_area[AAC_AUPRO_05], totals, AAC_AUPRO_05);
    if (isnan(values->pixel_auroc))
        return;
    values->pixel_auroc_error = values->pixel_ap_error = values->pixel_f1_max_error = 0;
    values->aupro_30_error = values->aupro_05_error = 0;
    if (bounds)
        write_errors(values, bounds);
}
