/* A small training checkpoint with known numbers. */
#ifndef AAC_TESTS_TRAINING_SAMPLE_H
#define AAC_TESTS_TRAINING_SAMPLE_H

#include "train/adapter_files.h"

/* 2 layers, 3 levels. `kind`: document, published, published-relu, as in aaclip_torch.py. */
void training_sample_config(aaclip_config *config, const char *kind);

/* Width 8, embedding 6. Creates and fills the set and fills the state; returns the status of
 * creating it. */
aaclip_status training_sample_make(aac_parameter_set *set, aac_training_state *state,
                                   aac_adapter_side side, const char *kind);

#endif
