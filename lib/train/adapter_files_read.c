#include <float.h>
#include <math.h>
#include <string.h>

#include "core/config.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/utf8.h"
#include "files/tensor_file.h"
#include "model/save.h"
#include "train/adapter_files_parts.h"

/* A number of a torch archive, or its text in the metadata of a safetensors file. */
static bool find_number(const aac_tensor_file *file, const char *name, double *value)
{
    if (aac_tensor_file_number(file, name, value))
        return true;
    const char *text = aac_tensor_file_string(file, name);
    return text && aac_json_number_read(text, value);
}

static aaclip_status read_number(const aac_tensor_file *file, const char *name, double *value)
{
    if (find_number(file, name, value))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_FORMAT, "%s: %s: expected a number, found none",
                     aac_tensor_file_path(file), name);
}

static aaclip_status to_count(const aac_tensor_file *file, const char *name, double value,
                              uint64_t *count)
{
    if (!(value >= 0 && value <= (double)AAC_TRAINING_LARGEST_COUNT && value == floor(value)))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: %s: expected a count, found %g",
                         aac_tensor_file_path(file), name, value);
    *count = (uint64_t)value;
    return AACLIP_OK;
}

static aaclip_status read_count(const aac_tensor_file *file, const char *name, uint64_t *count)
{
    double value = 0;
    aaclip_status status = read_number(file, name, &value);
    return status ? status : to_count(file, name, value, count);
}

static aaclip_status read_matrix(const aac_tensor_file *file, const char *name,
                                 const aac_parameter *parameter, float smallest, float *values)
{
    const int64_t expected[] = {parameter->rows, parameter->columns};
    const char *path = aac_tensor_file_path(file);
    char wanted[AAC_SHAPE_TEXT], shape[AAC_SHAPE_TEXT];
    const aac_tensor *tensor = aac_tensor_file_find(file, name);
    aac_shape_text(wanted, expected, 2);
    if (!tensor)
        return aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected %s, found none", path, name,
                         wanted);
    if (tensor->rank != 2 || tensor->shape[0] != expected[0] || tensor->shape[1] != expected[1])
        return aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected %s, found %s", path, name, wanted,
                         aac_shape_text(shape, tensor->shape, tensor->rank));
    if (!aac_dtype_is_floating(tensor->dtype))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: %s: expected floating point, found %s", path,
                         name, aac_dtype_name(tensor->dtype));
    aac_tensor_to_f32(tensor, values);
    return aac_training_check_values(values, aac_parameter_elements(parameter), smallest, path,
                                     name, AACLIP_ERROR_FORMAT);
}

static bool is_listed(const aac_parameter_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->items[i].name, name) == 0)
            return true;
    return false;
}

/* A projection takes the name it has in the file, also for saving it again. */
static void take_name(aac_parameter *item, const aac_tensor_file *file, const char *adapter)
{
    char name[AAC_TRAINING_NAME], own[sizeof item->name];
    if (!item->other_name[0] ||
        aac_tensor_file_find(file, aac_training_name(name, "%s.%s", adapter, item->name)) ||
        !aac_tensor_file_find(file, aac_training_name(name, "%s.%s", adapter, item->other_name)))
        return;
    memcpy(own, item->name, sizeof own);
    memcpy(item->name, item->other_name, sizeof own);
    memcpy(item->other_name, own, sizeof own);
}

/* Every weight of the set, and no other: layers beyond the configured ones must not be dropped
 * silently. */
static aaclip_status read_weights(aac_parameter_set *set, const aac_tensor_file *file)
{
    const aac_side_names *side = aac_training_side(set->side);
    char name[AAC_TRAINING_NAME];
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; i < set->count; i++)
        take_name(&set->items[i], file, side->adapter);
    for (size_t i = 0; !status && i < set->count; i++)
        status =
            read_matrix(file, aac_training_name(name, "%s.%s", side->adapter, set->items[i].name),
                        &set->items[i], -FLT_MAX, set->items[i].value);
    size_t length = strlen(aac_training_name(name, "%s.", side->adapter));
    for (size_t i = 0; !status && i < aac_tensor_file_count(file); i++) {
        const char *found = aac_tensor_file_at(file, i)->name;
        if (strncmp(found, name, length) == 0 && !is_listed(set, found + length))
            status = aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: unexpected tensor",
                               aac_tensor_file_path(file), found);
    }
    return status;
}

/* Settings of PyTorch's Adam that change the step and that the library does not support. */
static aaclip_status check_plain_adam(const aac_tensor_file *file, const char *optimizer)
{
    static const char *const keys[] = {"weight_decay", "amsgrad", "maximize"};
    char name[AAC_TRAINING_NAME];
    double value = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        aac_training_name(name, "%s.param_groups.0.%s", optimizer, keys[i]);
        if (find_number(file, name, &value) && value != 0)
            return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: %s: expected 0, found %g",
                             aac_tensor_file_path(file), name, value);
    }
    if (find_number(file, aac_training_name(name, "%s.param_groups.1.lr", optimizer), &value))
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: %s: expected one group, found more",
                         aac_tensor_file_path(file), name);
    return AACLIP_OK;
}

/* A torch archive lists its parameters, always as 0, 1, 2 ... */
static aaclip_status check_parameter_list(const aac_tensor_file *file, const char *optimizer,
                                          size_t count)
{
    char name[AAC_TRAINING_NAME];
    double value = 0;
    if (!find_number(file, aac_training_name(name, "%s.param_groups.0.params.0", optimizer),
                     &value))
        return AACLIP_OK;
    for (size_t i = 0; i < count; i++) {
        aac_training_name(name, "%s.param_groups.0.params.%zu", optimizer, i);
        if (!find_number(file, name, &value) || value != (double)i)
            return aac_error(AACLIP_ERROR_MISMATCH,
                             "%s: %s: expected %zu, but it is missing or different",
                             aac_tensor_file_path(file), name, i);
    }
    aac_training_name(name, "%s.param_groups.0.params.%zu", optimizer, count);
    if (find_number(file, name, &value))
        return aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected %zu parameters, found more",
                         aac_tensor_file_path(file), name, count);
    return AACLIP_OK;
}

static aaclip_status read_group(aac_training_state *state, const aac_tensor_file *file,
                                const char *optimizer)
{
    const struct {
        const char *key;
        double *value;
    } numbers[] = {
        {"lr", &state->learning_rate},
        {"betas.0", &state->beta1},
        {"betas.1", &state->beta2},
        {"eps", &state->epsilon},
    };
    char name[AAC_TRAINING_NAME];
    aaclip_status status = check_plain_adam(file, optimizer);
    for (size_t i = 0; !status && i < sizeof numbers / sizeof *numbers; i++)
        status = read_number(
            file, aac_training_name(name, "%s.param_groups.0.%s", optimizer, numbers[i].key),
            numbers[i].value);
    aac_training_name(name, "%s.param_groups.0.initial_lr", optimizer);
    if (!find_number(file, name, &state->base_learning_rate)) /* set only by a scheduler */
        state->base_learning_rate = state->learning_rate;
    return status;
}

/* A number before PyTorch 1.12, a tensor since. */
static aaclip_status read_step(const aac_tensor_file *file, const char *name, uint64_t *step)
{
    const aac_tensor *tensor = aac_tensor_file_find(file, name);
    if (!tensor)
        return read_count(file, name, step);
    float value;
    if (aac_tensor_elements(tensor) != 1)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: %s: expected one number, found %lld",
                         aac_tensor_file_path(file), name, (long long)aac_tensor_elements(tensor));
    aac_tensor_to_f32(tensor, &value);
    return to_count(file, name, (double)value, step);
}

static aaclip_status read_moments_of(const aac_parameter *item, size_t index,
                                     const aac_tensor_file *file, const char *optimizer,
                                     uint64_t *step)
{
    char name[AAC_TRAINING_NAME];
    uint64_t own_step = 0;
    aaclip_status status =
        read_matrix(file, aac_training_name(name, "%s.state.%zu.exp_avg", optimizer, index), item,
                    -FLT_MAX, item->exp_avg);
    if (!status)
        status =
            read_matrix(file, aac_training_name(name, "%s.state.%zu.exp_avg_sq", optimizer, index),
                        item, 0, item->exp_avg_sq);
    if (!status)
        status = read_step(file, aac_training_name(name, "%s.state.%zu.step", optimizer, index),
                           &own_step);
    if (!status && index && own_step != *step)
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "%s: %s: expected %llu as in the previous parameter, found %llu",
                         aac_tensor_file_path(file), name, (unsigned long long)*step,
                         (unsigned long long)own_step);
    *step = own_step;
    return status;
}

static aaclip_status read_moments(aac_parameter_set *set, uint64_t *step,
                                  const aac_tensor_file *file, const char *optimizer)
{
    char name[AAC_TRAINING_NAME];
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < set->count; i++)
        status = read_moments_of(&set->items[i], i, file, optimizer, step);
    aac_training_name(name, "%s.state.%zu.exp_avg", optimizer, set->count);
    if (!status && aac_tensor_file_find(file, name))
        status = aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected %zu parameters, found more",
                           aac_tensor_file_path(file), name, set->count);
    return status;
}

static void clear_moments(aac_parameter_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        size_t bytes = aac_parameter_elements(&set->items[i]) * sizeof(float);
        memset(set->items[i].exp_avg, 0, bytes);
        memset(set->items[i].exp_avg_sq, 0, bytes);
    }
}

static aaclip_status read_optimizer(aac_parameter_set *set, aac_training_state *state,
                                    const aac_tensor_file *file, bool *found)
{
    const char *optimizer = aac_training_side(set->side)->optimizer;
    char states[AAC_TRAINING_NAME], rate[AAC_TRAINING_NAME];
    double value;
    bool stepped = aac_tensor_file_has(file, aac_training_name(states, "%s.state.", optimizer));
    *found = stepped ||
             find_number(file, aac_training_name(rate, "%s.param_groups.0.lr", optimizer), &value);
    state->step = 0;
    if (!stepped)
        clear_moments(set);
    aaclip_status status = AACLIP_OK;
    if (*found)
        status = read_group(state, file, optimizer);
    if (!status)
        status = check_parameter_list(file, optimizer, set->count);
    if (!status && stepped)
        status = read_moments(set, &state->step, file, optimizer);
    return status;
}

/* The library's own count, exact even where the optimizer's float32 is not. */
static aaclip_status read_exact_step(uint64_t *step, const aac_tensor_file *file)
{
    uint64_t exact = 0;
    aaclip_status status = read_count(file, "aaclip.step", &exact);
    if (!status && (float)exact != (float)*step)
        return aac_error(
            AACLIP_ERROR_MISMATCH, "%s: aaclip.step: expected the optimizer's %llu, found %llu",
            aac_tensor_file_path(file), (unsigned long long)*step, (unsigned long long)exact);
    *step = exact;
    return status;
}

static aaclip_status read_schedule(aac_training_state *state, const aac_tensor_file *file)
{
    char name[AAC_TRAINING_NAME];
    double value;
    aaclip_status status = read_number(file, "aaclip.scheduler.gamma", &state->gamma);
    state->milestone_count = 0;
    while (!status && find_number(file,
                                  aac_training_name(name, "aaclip.scheduler.milestones.%u",
                                                    state->milestone_count),
                                  &value)) {
        if (state->milestone_count == AACLIP_MAX_MILESTONES)
            return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: %s: expected at most %d milestones",
                             aac_tensor_file_path(file), name, AACLIP_MAX_MILESTONES);
        status = to_count(file, name, value, &state->milestones[state->milestone_count++]);
    }
    return status;
}

/* The library's own entries; other files have none of them, or only the configuration. */
static aaclip_status read_progress(aac_training_state *state, const aac_tensor_file *file,
                                   bool *found)
{
    const char *path = aac_tensor_file_path(file);
    const char *config = aac_tensor_file_string(file, "aaclip.config");
    const char *options = aac_tensor_file_string(file, "aaclip.options");
    aaclip_status status = config ? aac_config_from_json(&state->config, config, path) : AACLIP_OK;
    if (status)
        return status;
    status = aac_load_optional_key(file, "aaclip.model_vision_fingerprint",
                                   &state->model_vision_fingerprint);
    if (!status)
        status = aac_load_optional_key(file, "aaclip.text_adapter_fingerprint",
                                       &state->text_adapter_fingerprint);
    if (status)
        return status;
    *found = aac_tensor_file_string(file, "aaclip.seed") != NULL;
    if (!*found)
        return AACLIP_OK;
    if (!aac_load_key(file, "aaclip.seed", &state->seed))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: aaclip.seed: expected 16 hexadecimal digits",
                         path);
    if (options && !aac_utf8_is_valid(options)) /* could not be written back */
        return aac_error(AACLIP_ERROR_FORMAT, "%s: aaclip.options: expected UTF-8", path);
    if (options && !(state->options = aac_strdup(options)))
        return aac_error_memory();
    status = read_exact_step(&state->step, file);
    if (!status)
        status = read_count(file, "aaclip.position", &state->position);
    return status ? status : read_schedule(state, file);
}

static aaclip_status read_file(aac_parameter_set *set, aac_training_state *state,
                               aac_training_found *found, const aac_tensor_file *file)
{
    double epoch;
    aaclip_status status = read_weights(set, file);
    if (!status)
        status = read_optimizer(set, state, file, &found->optimizer);
    if (!status && find_number(file, "epoch", &epoch))
        status = to_count(file, "epoch", epoch, &state->epoch);
    if (!status)
        status = read_progress(state, file, &found->progress);
    return status
               ? status
               : aac_training_check_state(state, aac_tensor_file_path(file), AACLIP_ERROR_FORMAT);
}

aaclip_status aac_training_read(aac_parameter_set *set, aac_training_state *state,
                                aac_training_found *found, const char *path)
{
    aac_tensor_file *file;
    aac_training_state read = *state;
    read.options = NULL;
    *found = (aac_training_found){0};
    aaclip_status status = aac_tensor_file_open(&file, path);
    if (status)
        return status;
    status = read_file(set, &read, found, file);
    aac_tensor_file_close(&file);
    if (status) {
        aac_training_state_clear(&read);
        return status;
    }
    if (!read.options)
        read.options = state->options;
    else
        aac_free(state->options);
    *state = read;
    return AACLIP_OK;
}
