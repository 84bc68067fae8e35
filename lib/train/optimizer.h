/* Adam over a parameter set, with a learning rate that falls at milestones. */
#ifndef AAC_TRAIN_OPTIMIZER_H
#define AAC_TRAIN_OPTIMIZER_H

#include "backend/device.h"
#include "train/adapter_files.h"

/*
 * The caller's parameters are in host memory. If the device cannot access it, steps are taken on
 * copies in device memory, which are fetched on request.
 */
typedef struct aac_optimizer {
    const aac_dispatch *dispatch;
    aac_parameter_set *parameters;
    float *gradients; /* of all parameters, one after the other, in device memory */
    size_t count;     /* floats */
    aac_plan **steps; /* one per parameter; for copies, one for all */
    float *copies;    // (3, count): values and moments in device memory; NULL: the host's are used
    bool sent;        /* the copies are up to date with the parameters */
    aac_plan *check;
    aac_mirror finite; // (1): result of `check`
} aac_optimizer;

aaclip_status aac_optimizer_make(aac_optimizer *optimizer, aac_parameter_set *parameters,
                                 const aac_dispatch *dispatch);
void aac_optimizer_clear(aac_optimizer *optimizer);
aaclip_status aac_optimizer_zero(const aac_optimizer *optimizer);

/* Whether every gradient is a finite number. */
aaclip_status aac_optimizer_finite(const aac_optimizer *optimizer, bool *finite);

/* Call after the host has changed the parameters. */
void aac_optimizer_changed(aac_optimizer *optimizer);
/* Copies the values and moments of the last step to the parameters. */
aaclip_status aac_optimizer_fetch(const aac_optimizer *optimizer);
/* The values of all parameters, contiguous in device memory; NULL: the host's are current. */
const float *aac_optimizer_values(const aac_optimizer *optimizer);

/* The learning rate of the step after `state->step` steps: MultiStepLR. */
double aac_learning_rate(const aac_training_state *state);

/* One step; counts it in `state` and sets its learning rate to the step's. */
aaclip_status aac_optimizer_step(aac_optimizer *optimizer, aac_training_state *state);

/* Xavier uniform: +-sqrt(6 / (rows + columns)), one random stream per parameter. */
void aac_initialise_parameters(aac_parameter_set *parameters, uint64_t seed);

#endif
