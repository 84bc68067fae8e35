#include "train/optimizer.h"

#include <math.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"

static aaclip_status allocate(aac_optimizer *optimizer)
{
    const aac_dispatch *dispatch = optimizer->dispatch;
    bool apart = !aac_device_is_host(dispatch);
    optimizer->gradients = aac_device_alloc_array(dispatch, optimizer->count, sizeof(float));
    if (apart)
        optimizer->copies = aac_device_alloc_array(dispatch, 3 * optimizer->count, sizeof(float));
    if (!optimizer->gradients || (apart && !optimizer->copies))
        return aac_device_error(dispatch);
    return AACLIP_OK;
}

/* Arrays that are stepped separately: the parameters, or all their copies as one. */
static size_t part_count(const aac_optimizer *optimizer)
{
    return optimizer->copies ? 1 : optimizer->parameters->count;
}

static size_t part_elements(const aac_optimizer *optimizer, size_t index)
{
    return optimizer->copies ? optimizer->count
                             : aac_parameter_elements(&optimizer->parameters->items[index]);
}

aaclip_status aac_optimizer_make(aac_optimizer *optimizer, aac_parameter_set *parameters,
                                 const aac_dispatch *dispatch)
{
    *optimizer = (aac_optimizer){.dispatch = dispatch, .parameters = parameters};
    for (size_t i = 0; i < parameters->count; i++)
        optimizer->count += aac_parameter_elements(&parameters->items[i]);
    optimizer->steps = aac_calloc(parameters->count, sizeof *optimizer->steps);
    aaclip_status status = optimizer->steps ? allocate(optimizer) : aac_error_memory();
    const aac_op_desc finite = {.op = AAC_OP_FINITE, .finite = {(int64_t)optimizer->count}};
    if (!status)
        status = aac_mirror_new(dispatch, &optimizer->finite, sizeof(float));
    if (!status)
        status = aac_dispatch_plan(dispatch, &optimizer->check, &finite);
    if (!status)
        status = aac_optimizer_zero(optimizer);
    for (size_t i = 0; !status && i < part_count(optimizer); i++) {
        const aac_op_desc desc = {.op = AAC_OP_ADAM,
                                  .adam = {(int64_t)part_elements(optimizer, i)}};
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
    aac_plan_free(&optimizer->check);
    aac_mirror_free(optimizer->dispatch, &optimizer->finite);
    aac_device_free(optimizer->dispatch, optimizer->gradients);
    aac_device_free(optimizer->dispatch, optimizer->copies);
    *optimizer = (aac_optimizer){0};
}

aaclip_status aac_optimizer_zero(const aac_optimizer *optimizer)
{
    return aac_device_clear(optimizer->dispatch, optimizer->gradients,
                            optimizer->count * sizeof *optimizer->gradients);
}

aaclip_status aac_optimizer_finite(const aac_optimizer *optimizer, bool *finite)
{
    const aac_op_args args = {.x = optimizer->gradients, .y = optimizer->finite.device};
    aaclip_status status = aac_run(optimizer->check, &args, NULL);
    if (!status)
        status = aac_mirror_fetch(optimizer->dispatch, &optimizer->finite);
    *finite = !status && *(const float *)optimizer->finite.host == 1;
    return status;
}

/* Values, first and second moments: the host's arrays or the copies. */
enum { VALUES, FIRST, SECOND, ARRAYS };

static float *host_array(const aac_parameter *parameter, int array)
{
    float *const arrays[] = {parameter->value, parameter->exp_avg, parameter->exp_avg_sq};
    return arrays[array];
}

static float *step_array(const aac_optimizer *optimizer, size_t index, size_t offset, int array)
{
    if (!optimizer->copies)
        return host_array(&optimizer->parameters->items[index], array);
    return optimizer->copies + (size_t)array * optimizer->count + offset;
}

/* Copies all arrays to the device or back. */
static aaclip_status copy_arrays(const aac_optimizer *optimizer, bool send)
{
    aaclip_status status = AACLIP_OK;
    size_t offset = 0;
    for (size_t i = 0; !status && i < optimizer->parameters->count; i++) {
        const aac_parameter *parameter = &optimizer->parameters->items[i];
        size_t elements = aac_parameter_elements(parameter);
        for (int array = 0; !status && array < ARRAYS; array++) {
            float *host = host_array(parameter, array);
            float *device = step_array(optimizer, i, offset, array);
            status = aac_device_copy(optimizer->dispatch, send ? device : host,
                                     send ? host : device, elements * sizeof *host);
        }
        offset += elements;
    }
    return status;
}

void aac_optimizer_changed(aac_optimizer *optimizer)
{
    optimizer->sent = false;
}

aaclip_status aac_optimizer_fetch(const aac_optimizer *optimizer)
{
    return optimizer->sent ? copy_arrays(optimizer, false) : AACLIP_OK;
}

const float *aac_optimizer_values(const aac_optimizer *optimizer)
{
    return optimizer->sent ? optimizer->copies : NULL;
}

double aac_learning_rate(const aac_training_state *state)
{
    double rate = state->base_learning_rate;
    for (uint32_t i = 0; i < state->milestone_count; i++)
        if (state->milestones[i] <= state->step)
            rate *= state->gamma;
    return rate;
}

aaclip_status aac_optimizer_step(aac_optimizer *optimizer, aac_training_state *state)
{
    size_t offset = 0;
    aaclip_status status = AACLIP_OK;
    if (!optimizer->sent)
        status = copy_arrays(optimizer, true);
    if (status)
        return status;
    optimizer->sent = true;
    const double rate = aac_learning_rate(state);
    for (size_t i = 0; !status && i < part_count(optimizer); i++) {
        const aac_adam_step adam = {.rate = rate,
                                    .beta1 = state->beta1,
                                    .beta2 = state->beta2,
                                    .epsilon = state->epsilon,
                                    .step = (int64_t)state->step + 1,
                                    .first_moment = step_array(optimizer, i, offset, FIRST),
                                    .second_moment = step_array(optimizer, i, offset, SECOND)};
        const aac_op_args args = {.y = step_array(optimizer, i, offset, VALUES),
                                  .dy = optimizer->gradients + offset,
                                  .adam = &adam};
        status = aac_run(optimizer->steps[i], &args, NULL);
        offset += part_elements(optimizer, i);
    }
    if (status)
        return status;
    state->step++;
    state->learning_rate = aac_learning_rate(state);
    return AACLIP_OK;
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
