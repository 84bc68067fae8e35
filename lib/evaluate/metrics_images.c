#include <float.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "evaluate/metrics_types.h"

typedef struct labelled_score {
    float score;
    int label;
} labelled_score;

typedef struct value_range {
    float least, largest;
} value_range;

static void widen(value_range *range, float least, float largest)
{
    if (least < range->least)
        range->least = least;
    if (largest > range->largest)
        range->largest = largest;
}

/* In float, and with a range that ends at 1 left unchanged, as in the published evaluation. */
static float stretch(const value_range *range, float value)
{
    if (range->largest == 1)
        return value;
    const float width = range->largest - range->least;
    return width > 0 ? (value - range->least) / width : 0;
}

static float dataset_score(const aac_scored_image *image, const value_range *maps,
                           const value_range *scores, aaclip_domain domain)
{
    const float map = stretch(maps, image->largest);
    if (domain == AACLIP_DOMAIN_MEDICAL)
        return map;
    return 0.5f * map + 0.5f * stretch(scores, image->score);
}

aac_totals aac_images_count(const aac_metrics_class *category, aac_image_score kind)
{
    aac_totals totals = {0};
    for (size_t i = 0; i < category->count; i++) {
        if (kind == AAC_SCORE_DATASET && !category->images[i].has_map)
            return (aac_totals){0};
        totals.normal += category->images[i].label == 0;
        totals.abnormal += category->images[i].label == 1;
    }
    return totals;
}

static size_t collect(labelled_score *labelled, const aac_metrics_class *category,
                      aac_image_score kind, aaclip_domain domain)
{
    value_range maps = {FLT_MAX, -FLT_MAX}, scores = maps;
    for (size_t i = 0; i < category->count; i++) {
        const aac_scored_image *image = &category->images[i];
        widen(&maps, image->least, image->largest);
        widen(&scores, image->score, image->score);
    }
    size_t count = 0;
    for (size_t i = 0; i < category->count; i++) {
        const aac_scored_image *image = &category->images[i];
        if (image->label < 0)
            continue;
        const float score =
            kind == AAC_SCORE_GIVEN ? image->score : dataset_score(image, &maps, &scores, domain);
        labelled[count++] = (labelled_score){score, image->label};
    }
    return count;
}

static int compare_falling(const void *a, const void *b)
{
    const float x = ((const labelled_score *)a)->score, y = ((const labelled_score *)b)->score;
    return (x < y) - (x > y);
}

aaclip_status aac_images_walk(const aac_metrics_class *category, aac_image_score kind,
                              aaclip_domain domain, aac_tie_visitor visit, void *user)
{
    labelled_score *labelled = aac_alloc_array(category->count, sizeof *labelled);
    if (!labelled)
        return aac_error_memory();
    const size_t count = collect(labelled, category, kind, domain);
    qsort(labelled, count, sizeof *labelled, compare_falling);
    for (size_t i = 0; i < count;) {
        aac_tie tie = {.score = (double)labelled[i].score};
        for (const float score = labelled[i].score; i < count && labelled[i].score == score; i++)
            *(labelled[i].label ? &tie.abnormal : &tie.normal) += 1;
        visit(user, &tie);
    }
    aac_free(labelled);
    return AACLIP_OK;
}
