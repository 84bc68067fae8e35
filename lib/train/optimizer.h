/* Adam over a parameter set, with a learning rate that falls at milestones. */
#ifndef AAC_TRAIN_OPTIMIZER_H
#define AAC_TRAIN_OPTIMIZER_H

#include "backend/backend.h"
#include "train/adapter_files.h"

typedef struct aac_optimizer {
    aac_parameter_set *parameters; /* the caller's */
    float *gradients;              /* of all parameters, one after the other */
    size_t count;                  /* floats */
    aac_plan **steps;              /* one a parameter */
} aac_optimizer;

aaclip_status aac_optimizer_make(aac_optimizer *optimizer, aac_parameter_set *parameters,
                                 const aac_dispatch *dispatch);
void aac_optimizer_clear(aac_optimizer *optimizer);
void aac_optimizer_zero(const aac_optimizer *optimizer);

/* Whether every gradient is a finite number. */
bool aac_optimizer_finite(const aac_optimizer *optimizer);

/* The learning rate of the step after `state->step` steps: MultiStepLR. */
double aac_learning_rate(const aac_training_state *state);

/* One step; counts it in `state`, whose learning rate becomes that of the step. */
aaclip_status aac_optimizer_step(const aac_optimizer *optimizer, aac_training_state *state);

/* Xavier uniform: +-sqrt(6 / (rows + columns)), a stream of the seed for each parameter. */
void aac_initialise_parameters(aac_parameter_set *parameters, uint64_t seed);

#endif
