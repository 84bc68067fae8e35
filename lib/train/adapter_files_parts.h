/* Internals of adapter_files: what writing and reading share. */
#ifndef AAC_TRAIN_ADAPTER_FILES_PARTS_H
#define AAC_TRAIN_ADAPTER_FILES_PARTS_H

#include "train/adapter_files.h"

/* The keys of a side's weights and of their optimizer. */
typedef struct aac_side_names {
    const char *adapter, *optimizer;
} aac_side_names;

const aac_side_names *aac_training_side(aac_adapter_side side);

#define AAC_TRAINING_NAME          160
#define AAC_TRAINING_LARGEST_COUNT (UINT64_C(1) << 53) /* above this, doubles skip integers */

/* Fills `name`, of AAC_TRAINING_NAME bytes, and returns it. */
const char *aac_training_name(char *name, const char *format, ...) AACLIP_PRINTF(2, 3);

/* `mistake` is the status for a bad value: the caller's error or the file's. */
aaclip_status aac_training_check_state(const aac_training_state *state, const char *path,
                                       aaclip_status mistake);
/* Whether all are finite and none is below `smallest`. */
aaclip_status aac_training_check_values(const float *values, size_t count, float smallest,
                                        const char *path, const char *name, aaclip_status mistake);

#endif
