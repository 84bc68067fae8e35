/* Few-shot sampling: the same number of normal and abnormal samples from every class. */
#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "evaluate/dataset_types.h"

/* Marks `shots` random samples of one class and label; `indices` has room for all samples. */
static void draw(const aaclip_dataset *dataset, size_t class_index, int label, size_t shots,
                 uint64_t seed, size_t *indices, unsigned char *drawn)
{
    size_t count = 0;
    for (size_t i = 0; i < dataset->count; i++)
        if (dataset->samples[i].class_index == class_index && dataset->samples[i].label == label)
            indices[count++] = i;
    if (count && count < shots)
        aac_log(AACLIP_LOG_WARNING, "class \"%s\": %zu samples with label %d, wanted %zu",
                dataset->classes[class_index].name, count, label, shots);
    aac_random random;
    aac_random_seed(&random, seed,
                    aac_random_stream(AAC_RANDOM_SHOTS, class_index, (uint64_t)(label + 1)));
    aac_random_shuffle(&random, indices, count);
    for (size_t i = 0; i < count && i < shots; i++)
        drawn[indices[i]] = 1;
}

static aaclip_status collect(aaclip_dataset *subset, const aaclip_dataset *dataset, size_t shots,
                             uint64_t seed)
{
    size_t *indices = aac_alloc_array(dataset->count, sizeof *indices);
    unsigned char *drawn = aac_calloc(dataset->count, 1);
    aaclip_status status = indices && drawn ? AACLIP_OK : aac_error_memory();
    for (size_t class_index = 0; !status && class_index < dataset->class_count; class_index++)
        for (int label = -1; label <= 1; label++)
            draw(dataset, class_index, label, shots, seed, indices, drawn);
    for (size_t i = 0; !status && i < dataset->count; i++)
        if (drawn[i])
            status = aac_dataset_append(subset, &dataset->samples[i]);
    aac_free(indices);
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
    aaclip_status status = collect(subset, dataset, shots, seed);
    if (status)
        aaclip_dataset_close(&subset);
    *sampled = subset;
    return status;
}
