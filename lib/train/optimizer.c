#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"

aaclip_status aac_optimizer_make(aac_optimizer *optimizer, aac_parameter_set *parameters,
                                 const aac_dispatch *dispatch)
{
    *optimizer = (aac_optimizer){.parameters = parameters};
    for (size_t i = 0; i < parameters->count; i++)
        optimizer->count += aac_parameter_elements(&parameters->items[i]);
    optimizer->gradients = aac_calloc(optimizer->count, sizeof(float));
    optimizer->steps = aac_calloc(parameters->count, sizeof *optimizer->steps);
    aaclip_status status =
        optimizer->gradients && optimizer->steps ? AACLIP_OK : aac_error_memory();
    for (size_t i = 0; !status && i < parameters->count; i++) {
        const aac_op_desc desc = {.op = AAC_OP_ADAM,
                                  .adam = {(int64_t)aac_parameter_elements(&parameters->items[i])}};
        status = aac_dispatch_plan(dispatch, &optimizer->steps[i], &desc);
    }
    if (status)
        aac_optimizer_clear(optimizer);
    return status;
}

void aac_optimizer_clear(aac_optimizer *optimizer)
{
    for (size_t i = 0; optimizer->steps && i < optimizer->parameters->count; i++)
        aac_plan_free(&optimizer->steps[i]);
    aac_free(optimizer->steps);
    aac_free(optimizer->gradients);
    *optimizer = (aac_optimizer){0};
}

void aac_optimizer_zero(const aac_optimizer *optimizer)
{
    memset(optimizer->gradients, 0, optimizer->count * sizeof *optimizer->gradients);
}

bool aac_optimizer_finite(const aac_optimizer *optimizer)
{
    for (size_t i = 0; i < optimizer->count; i++)
        if (!isfinite(optimizer->gradients[i]))
            return false;
    return true;
}

double aac_learning_rate(const aac_training_state *state)
{
    double rate = state->base_learning_rate;
    for (uint32_t i = 0; i < state->milestone_count; i++)
        if (state->milestones[i] <= state->step)
            rate *= state->gamma;
    return rate;
}

aaclip_status aac_optimizer_step(const aac_optimizer *optimizer, aac_training_state *state)
{
    const float *gradient = optimizer->gradients;
    state->learning_rate = aac_learning_rate(state);
    state->step++;
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < optimizer->parameters->count; i++) {
        const aac_parameter *parameter = &optimizer->parameters->items[i];
        const aac_adam_step adam = {.rate = state->learning_rate,
                                    .beta1 = state->beta1,
                                    .beta2 = state->beta2,
                                    .epsilon = state->epsilon,
                                    .step = (int64_t)state->step,
                                    .first_moment = parameter->exp_avg,
                                    .second_moment = parameter->exp_avg_sq};
        const aac_op_args args = {.y = parameter->value, .dy = gradient, .adam = &adam};
        status = aac_run(optimizer->steps[i], &args, NULL);
        gradient += aac_parameter_elements(parameter);
    }
    return status;
}

void aac_initialise_parameters(aac_parameter_set *parameters, uint64_t seed)
{
    for (size_t i = 0; i < parameters->count; i++) {
        aac_parameter *parameter = &parameters->items[i];
        double bound = sqrt(6 / (double)(parameter->rows + parameter->columns));
        aac_random random;
        aac_random_seed(&random, seed,
                        aac_random_stream(AAC_RANDOM_INITIALISE, parameters->side, i));
        for (size_t j = 0; j < aac_parameter_elements(parameter); j++)
            parameter->value[j] = (float)aac_random_between(&random, -bound, bound);
    }
}
