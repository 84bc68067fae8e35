/* Few-shot sampling: the same number of normal and abnormal samples from every class. */
#include <stdbool.h>
#include <stdio.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "evaluate/dataset_types.h"

/* Marks `shots` random samples of one class and label, shuffling their indices. false if there are
 * some, but too few. */
static bool draw(const aaclip_dataset *dataset, size_t class_index, int label, size_t shots,
                 uint64_t seed, size_t *indices, unsigned char *drawn)
{
    const aac_dataset_class *category = &dataset->classes[class_index];
    const size_t count = category->sizes[label + 1];
    aac_random random;
    aac_random_seed(&random, seed,
                    aac_random_stream(AAC_RANDOM_SHOTS, class_index, (uint64_t)(label + 1)));
    aac_random_shuffle(&random, indices, count);
    for (size_t i = 0; i < count && i < shots; i++)
        drawn[indices[i]] = 1;
    return !count || count >= shots;
}

/* One line for all: a data set may have any number of classes. */
static void warn_of_few(const aaclip_dataset *dataset, size_t group, size_t groups, size_t shots)
{
    const aac_dataset_class *category = &dataset->classes[group / 3];
    char others[64] = "";
    if (groups > 1)
        snprintf(others, sizeof others, "; too few also of %zu others", groups - 1);
    aac_log(AACLIP_LOG_WARNING, "class \"%s\": %zu samples with label %d, wanted %zu%s",
            category->name, category->sizes[group % 3], (int)(group % 3) - 1, shots, others);
}

/*
 * Sorts all samples by class and label (stable). `ends` has room for three numbers per class and
 * receives the ends of the groups.
 */
static void sort_by_class(const aaclip_dataset *dataset, size_t *indices, size_t *ends)
{
    size_t begin = 0;
    for (size_t i = 0; i < 3 * dataset->class_count; i++) {
        ends[i] = begin;
        begin += dataset->classes[i / 3].sizes[i % 3];
    }
    for (size_t i = 0; i < dataset->count; i++) {
        const aaclip_sample *sample = &dataset->samples[i];
        indices[ends[3 * sample->class_index + (size_t)(sample->label + 1)]++] = i;
    }
}

static void draw_all(const aaclip_dataset *dataset, size_t shots, uint64_t seed, size_t *indices,
                     size_t *ends, unsigned char *drawn)
{
    size_t first = 0, groups = 0; /* with too few samples */
    sort_by_class(dataset, indices, ends);
    for (size_t i = 0; i < 3 * dataset->class_count; i++)
        if (!draw(dataset, i / 3, (int)(i % 3) - 1, shots, seed, indices + (i ? ends[i - 1] : 0),
                  drawn))
            first = groups++ ? first : i;
    if (groups)
        warn_of_few(dataset, first, groups, shots);
}

static aaclip_status collect(aaclip_dataset *subset, const aaclip_dataset *dataset, size_t shots,
                             uint64_t seed)
{
    size_t *indices = aac_alloc_array(dataset->count, sizeof *indices);
    size_t *ends = aac_alloc_array(dataset->class_count, 3 * sizeof *ends);
    unsigned char *drawn = aac_calloc(dataset->count, 1);
    aaclip_status status = indices && ends && drawn ? AACLIP_OK : aac_error_memory();
    if (!status)
        draw_all(dataset, shots, seed, indices, ends, drawn);
    for (size_t i = 0; !status && i < dataset->count; i++)
        if (drawn[i])
            status = aac_dataset_append(subset, &dataset->samples[i]);
    aac_free(indices);
    aac_free(ends);
    aac_free(drawn);
    return status;
}

aaclip_status aaclip_dataset_sample(aaclip_dataset **sampled, const aaclip_dataset *dataset,
                                    size_t shots, uint64_t seed)
{
    if (!sampled)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_dataset_sample: no output");
    *sampled = NULL;
    if (!dataset || !shots)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_dataset_sample: no data set or no shots");
    aaclip_dataset *subset = aac_dataset_new();
    if (!subset)
        return aac_error_memory();
    subset->source = aac_dataset_retain(dataset);
    subset->root = dataset->root;
    subset->window = dataset->window;
    aaclip_status status = collect(subset, dataset, shots, seed);
    if (status)
        aaclip_dataset_close(&subset);
    *sampled = subset;
    return status;
}
