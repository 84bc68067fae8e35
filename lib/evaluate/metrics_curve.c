#include <math.h>

#include "evaluate/metrics_types.h"

static bool is_precision_recall(aaclip_curve curve)
{
    return curve == AACLIP_CURVE_PIXEL_PR || curve == AACLIP_CURVE_IMAGE_PR ||
           curve == AACLIP_CURVE_DATASET_PR;
}

static void write_point(aac_curve_writer *writer, const aaclip_curve_point *point)
{
    if (writer->count < writer->capacity)
        writer->points[writer->count++] = *point;
}

/* The sum along both axes; a monotone curve has length 2. */
static double distance(const aaclip_curve_point *a, const aaclip_curve_point *b)
{
    return fabs(a->x - b->x) + fabs(a->y - b->y);
}

/*
 * Drops points while the next one is within `step` of the last one written. Of any three
 * consecutive written points the outer two are then more than `step` apart, so that 4 / step + 3
 * points suffice; and a line that replaces dropped points stays within a box of at most step / 2 by
 * step / 2.
 */
static void visit_rising(aac_curve_writer *writer, const aaclip_curve_point *point)
{
    if (distance(point, &writer->points[writer->count - 1]) > writer->step) {
        if (writer->is_pending)
            write_point(writer, &writer->pending);
        writer->is_pending = false;
    }
    if (distance(point, &writer->points[writer->count - 1]) > writer->step) {
        write_point(writer, point);
        return;
    }
    writer->pending = *point;
    writer->is_pending = true;
}

static void write_mean_precision(aac_curve_writer *writer)
{
    const double from = writer->count ? writer->points[writer->count - 1].x : 0;
    writer->pending.y = writer->area / (writer->pending.x - from);
    write_point(writer, &writer->pending);
    writer->area = 0;
    writer->is_pending = false;
}

static void visit_precision(aac_curve_writer *writer, const aaclip_curve_point *point, double width)
{
    const double from = writer->count ? writer->points[writer->count - 1].x : 0;
    writer->area += width * point->y;
    writer->pending = *point;
    writer->is_pending = true;
    if (point->x - from >= writer->step)
        write_mean_precision(writer);
}

void aac_curve_begin(aac_curve_writer *writer, aaclip_curve curve, const aac_totals *totals,
                     aaclip_curve_point *points, size_t capacity)
{
    *writer = (aac_curve_writer){
        .totals = *totals, .curve = curve, .points = points, .capacity = capacity};
    if (is_precision_recall(curve)) {
        writer->step = 1 / (double)(capacity - 1);
    } else {
        writer->step = 4 / (double)(capacity - 3);
        write_point(writer, &(aaclip_curve_point){0, 0, INFINITY});
    }
}

void aac_curve_visit(void *user, const aac_tie *tie)
{
    aac_curve_writer *writer = user;
    const double normal = (double)writer->totals.normal, abnormal = (double)writer->totals.abnormal;
    writer->normal += tie->normal;
    writer->abnormal += tie->abnormal;
    writer->overlap += tie->overlap;
    aaclip_curve_point point = {(double)writer->normal / normal,
                                (double)writer->abnormal / abnormal, tie->score};
    if (is_precision_recall(writer->curve)) {
        point.x = point.y;
        point.y = (double)writer->abnormal / (double)(writer->abnormal + writer->normal);
        if (tie->abnormal)
            visit_precision(writer, &point, (double)tie->abnormal / abnormal);
        return;
    }
    if (writer->curve == AACLIP_CURVE_PIXEL_PRO)
        point.y = fmin(1, writer->overlap / (double)writer->totals.regions);
    visit_rising(writer, &point);
}

void aac_curve_end(aac_curve_writer *writer)
{
    if (!writer->is_pending)
        return;
    if (is_precision_recall(writer->curve))
        write_mean_precision(writer);
    else
        write_point(writer, &writer->pending);
}
