/* What a data set is made of; for the files of this folder only. */
#ifndef AAC_EVALUATE_DATASET_TYPES_H
#define AAC_EVALUATE_DATASET_TYPES_H

#include <stdatomic.h>

#include "core/names.h"
#include "evaluate/dataset.h"
#include "files/arena.h"

typedef struct aac_dataset_class {
    const char *name;
    size_t sizes[3]; /* unknown, normal, abnormal: [label + 1] */
} aac_dataset_class;

struct aaclip_dataset {
    atomic_int references;
    aaclip_dataset *source; /* the data set whose texts a subset shares, or NULL */
    aac_arena texts;
    const char *root;
    aac_window window; /* both 0: none */
    aaclip_sample *samples;
    size_t count, capacity;
    atomic_uchar *told; /* per sample, for aac_dataset_first */
    size_t told_capacity;
    aac_dataset_class *classes;
    size_t class_count, class_capacity;
    aac_names class_names; /* indices of classes */
};

aaclip_dataset *aac_dataset_new(void); /* NULL when out of memory */

/* Appends a sample whose texts live as long as the data set. */
aaclip_status aac_dataset_append(aaclip_dataset *dataset, const aaclip_sample *sample);

#endif
