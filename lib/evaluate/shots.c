/* Few-shot sampling: the same number of normal and abnormal samples from every class. */
#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "evaluate/dataset_types.h"

/* Marks `shots` random samples of one class and label, shuffling their indices. */
static void draw(const aaclip_dataset *dataset, size_t class_index, int label, size_t shots,
                 uint64_t seed, size_t *indices, unsigned char *drawn)
{
    const aac_dataset_class *category = &dataset->classes[class_index];
    const size_t count = category->sizes[label + 1];
    if (count && count < shots)
        aac_log(AACLIP_LOG_WARNING, "class \"%s\": %zu samples with label %d, wanted %zu",
                category->name, count, label, shots);
    aac_random random;
    aac_random_seed(&random, seed,
                    aac_random_stream(AAC_RANDOM_SHOTS, class_index, (uint64_t)(label + 1)));
    aac_random_shuffle(&random, indices, count);
    for (size_t i = 0; i < count && i < shots; i++)
        drawn[indices[i]] = 1;
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
    sort_by_class(dataset, indices, ends);
    for (size_t i = 0; i < 3 * dataset->class_count; i++)
        draw(dataset, i / 3, (int)(i % 3) - 1, shots, seed, indices + (i ? ends[i - 1] : 0), drawn);
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
