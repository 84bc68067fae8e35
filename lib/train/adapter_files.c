/* Checking and writing; reading is in adapter_files_read.c. */
#include <float.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/config.h"
#include "core/error.h"
#include "core/hex_key.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "files/torch_writer.h"
#include "model/save.h"
#include "train/adapter_files_parts.h"

const aac_side_names *aac_training_side(aac_adapter_side side)
{
    static const aac_side_names sides[] = {
        [AAC_SIDE_TEXT] = {"text_adapter", "text_optimizer"},
        [AAC_SIDE_IMAGE] = {"image_adapter", "image_optimizer"},
    };
    return &sides[side];
}

void aac_training_state_clear(aac_training_state *state)
{
    aac_free(state->options);
    state->options = NULL;
}

const char *aac_training_name(char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, AAC_TRAINING_NAME, format, arguments);
    va_end(arguments);
    return name;
}

aaclip_status aac_training_check_state(const aac_training_state *state, const char *path,
                                       aaclip_status mistake)
{
    const double below_1 = 1 - DBL_EPSILON / 2;
    const struct {
        const char *what;
        double value, largest;
    } numbers[] = {
        {"epoch", (double)state->epoch, (double)AAC_TRAINING_LARGEST_COUNT},
        {"position", (double)state->position, (double)AAC_TRAINING_LARGEST_COUNT},
        {"step", (double)state->step, (double)AAC_TRAINING_LARGEST_COUNT},
        {"learning rate", state->learning_rate, DBL_MAX},
        {"initial learning rate", state->base_learning_rate, DBL_MAX},
        {"first beta", state->beta1, below_1},
        {"second beta", state->beta2, below_1},
        {"epsilon", state->epsilon, DBL_MAX},
        {"gamma", state->gamma, DBL_MAX},
        {"number of milestones", state->milestone_count, AACLIP_MAX_MILESTONES},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!(numbers[i].value >= 0 && numbers[i].value <= numbers[i].largest))
            return aac_error(mistake, "%s: %s: expected 0 to %g, found %g", path, numbers[i].what,
                             numbers[i].largest, numbers[i].value);
    for (uint32_t i = 0; i < state->milestone_count; i++)
        if (state->milestones[i] > AAC_TRAINING_LARGEST_COUNT ||
            (i && state->milestones[i] <= state->milestones[i - 1]))
            return aac_error(mistake, "%s: milestone %u: expected ascending numbers, found %llu",
                             path, i, (unsigned long long)state->milestones[i]);
    return AACLIP_OK;
}

aaclip_status aac_training_check_values(const float *values, size_t count, float smallest,
                                        const char *path, const char *name, aaclip_status mistake)
{
    for (size_t i = 0; i < count; i++)
        if (!(values[i] >= smallest && values[i] <= FLT_MAX))
            return aac_error(mistake, "%s: %s: expected %s, found %g", path, name,
                             smallest < 0 ? "finite numbers" : "finite, non-negative numbers",
                             (double)values[i]);
    return AACLIP_OK;
}

static aaclip_status check_writable(const aac_parameter_set *set, const aac_training_state *state,
                                    const char *path)
{
    const aaclip_status mistake = AACLIP_ERROR_INVALID_ARGUMENT;
    aaclip_status status = aac_training_check_state(state, path, mistake);
    for (size_t i = 0; !status && i < set->count; i++) {
        const aac_parameter *item = &set->items[i];
        size_t count = aac_parameter_elements(item);
        status = aac_training_check_values(item->value, count, -FLT_MAX, path, item->name, mistake);
        if (!status)
            status = aac_training_check_values(item->exp_avg, count, -FLT_MAX, path, item->name,
                                               mistake);
        if (!status)
            status =
                aac_training_check_values(item->exp_avg_sq, count, 0, path, item->name, mistake);
    }
    return status;
}

static aac_tensor view(const aac_parameter *parameter, const float *values)
{
    return (aac_tensor){.dtype = AAC_F32,
                        .rank = 2,
                        .shape = {parameter->rows, parameter->columns},
                        .stride = {parameter->columns, 1},
                        .data = values};
}

static void put_tensor(aac_torch_writer *writer, const char *key, const aac_parameter *parameter,
                       const float *values)
{
    const aac_tensor tensor = view(parameter, values);
    aac_torch_text(writer, key);
    aac_torch_tensor(writer, &tensor);
}

static void put_number(aac_torch_writer *writer, const char *key, double value)
{
    aac_torch_text(writer, key);
    aac_torch_number(writer, value);
}

static void put_count(aac_torch_writer *writer, const char *key, uint64_t value)
{
    aac_torch_text(writer, key);
    aac_torch_integer(writer, (int64_t)value);
}

static void put_flag(aac_torch_writer *writer, const char *key, bool value)
{
    aac_torch_text(writer, key);
    aac_torch_boolean(writer, value);
}

static void put_none(aac_torch_writer *writer, const char *key)
{
    aac_torch_text(writer, key);
    aac_torch_none(writer);
}

static void put_text(aac_torch_writer *writer, const char *key, const char *text)
{
    aac_torch_text(writer, key);
    aac_torch_text(writer, text);
}

static void put_key(aac_torch_writer *writer, const char *key, uint64_t value)
{
    char digits[AAC_HEX_KEY_SIZE];
    put_text(writer, key, aac_hex_key(digits, value));
}

static void put_weights(aac_torch_writer *writer, const aac_parameter_set *set)
{
    aac_torch_begin(writer, AAC_TORCH_ORDERED_DICT);
    for (size_t i = 0; i < set->count; i++)
        put_tensor(writer, set->items[i].name, &set->items[i], set->items[i].value);
    aac_torch_end(writer);
}

/* Adam's state; none before the first step, as in PyTorch. */
static void put_moments(aac_torch_writer *writer, const aac_parameter_set *set, uint64_t step)
{
    const float steps = (float)step;
    const aac_tensor scalar = {.dtype = AAC_F32, .data = &steps};
    aac_torch_begin(writer, AAC_TORCH_DICT);
    for (size_t i = 0; step && i < set->count; i++) {
        const aac_parameter *item = &set->items[i];
        aac_torch_integer(writer, (int64_t)i);
        aac_torch_begin(writer, AAC_TORCH_DICT);
        aac_torch_text(writer, "step");
        aac_torch_tensor(writer, &scalar);
        put_tensor(writer, "exp_avg", item, item->exp_avg);
        put_tensor(writer, "exp_avg_sq", item, item->exp_avg_sq);
        aac_torch_end(writer);
    }
    aac_torch_end(writer);
}

/* The one group of parameters, with every key that PyTorch's Adam gives it. */
static void put_group(aac_torch_writer *writer, size_t count, const aac_training_state *state)
{
    aac_torch_begin(writer, AAC_TORCH_DICT);
    put_number(writer, "lr", state->learning_rate);
    aac_torch_text(writer, "betas");
    aac_torch_begin(writer, AAC_TORCH_TUPLE);
    aac_torch_number(writer, state->beta1);
    aac_torch_number(writer, state->beta2);
    aac_torch_end(writer);
    put_number(writer, "eps", state->epsilon);
    put_count(writer, "weight_decay", 0);
    put_flag(writer, "amsgrad", false);
    put_flag(writer, "maximize", false);
    put_none(writer, "foreach");
    put_flag(writer, "capturable", false);
    put_flag(writer, "differentiable", false);
    put_none(writer, "fused");
    put_flag(writer, "decoupled_weight_decay", false);
    put_number(writer, "initial_lr", state->base_learning_rate);
    aac_torch_text(writer, "params");
    aac_torch_begin(writer, AAC_TORCH_LIST);
    for (size_t i = 0; i < count; i++)
        aac_torch_integer(writer, (int64_t)i);
    aac_torch_end(writer);
    aac_torch_end(writer);
}

static void put_optimizer(aac_torch_writer *writer, const aac_parameter_set *set,
                          const aac_training_state *state)
{
    aac_torch_begin(writer, AAC_TORCH_DICT);
    aac_torch_text(writer, "state");
    put_moments(writer, set, state->step);
    aac_torch_text(writer, "param_groups");
    aac_torch_begin(writer, AAC_TORCH_LIST);
    put_group(writer, set->count, state);
    aac_torch_end(writer);
    aac_torch_end(writer);
}

static void put_schedule(aac_torch_writer *writer, const aac_training_state *state)
{
    aac_torch_begin(writer, AAC_TORCH_DICT);
    put_number(writer, "gamma", state->gamma);
    aac_torch_text(writer, "milestones");
    aac_torch_begin(writer, AAC_TORCH_LIST);
    for (uint32_t i = 0; i < state->milestone_count; i++)
        aac_torch_integer(writer, (int64_t)state->milestones[i]);
    aac_torch_end(writer);
    aac_torch_end(writer);
}

/* State that PyTorch has no place for. 64-bit keys are text, as in safetensors metadata. */
static void put_progress(aac_torch_writer *writer, const aac_training_state *state)
{
    char *config = aac_config_to_json(&state->config);
    aac_torch_begin(writer, AAC_TORCH_DICT);
    put_text(writer, "config", config);
    if (state->options)
        put_text(writer, "options", state->options);
    if (state->model_vision_fingerprint)
        put_key(writer, "model_vision_fingerprint", state->model_vision_fingerprint);
    if (state->text_adapter_fingerprint)
        put_key(writer, "text_adapter_fingerprint", state->text_adapter_fingerprint);
    put_key(writer, "seed", state->seed);
    put_count(writer, "step", state->step);
    put_count(writer, "position", state->position);
    aac_torch_text(writer, "scheduler");
    put_schedule(writer, state);
    aac_torch_end(writer);
    aac_free(config);
}

aaclip_status aac_training_write_torch(const char *path, const aac_parameter_set *set,
                                       const aac_training_state *state)
{
    aac_torch_writer *writer;
    aaclip_status status = check_writable(set, state, path);
    if (!status)
        status = aac_torch_writer_open(&writer, path);
    if (status)
        return status;
    aac_torch_begin(writer, AAC_TORCH_DICT);
    put_count(writer, "epoch", state->epoch);
    aac_torch_text(writer, aac_training_side(set->side)->adapter);
    put_weights(writer, set);
    aac_torch_text(writer, aac_training_side(set->side)->optimizer);
    put_optimizer(writer, set, state);
    aac_torch_text(writer, "aaclip");
    put_progress(writer, state);
    aac_torch_end(writer);
    return aac_torch_writer_commit(&writer);
}

/* A list that remembers its first failure. */
struct listing {
    aac_save_list list;
    aaclip_status status;
};

/* Takes over `value`; NULL means that the caller ran out of memory making it. */
static void list_text(struct listing *listing, const char *key, char *value)
{
    if (!listing->status)
        listing->status = aac_save_text(&listing->list, key, value);
    aac_free(value);
}

/* With 17 digits, which restore the same double. */
static void list_number(struct listing *listing, const char *key, double value)
{
    json_t *number = json_real(value);
    list_text(listing, key, aac_json_text(number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17)));
    json_decref(number);
}

static void list_count(struct listing *listing, const char *key, uint64_t value)
{
    list_text(listing, key, aac_format("%llu", (unsigned long long)value));
}

static void list_key(struct listing *listing, const char *key, uint64_t value)
{
    if (!listing->status)
        listing->status = aac_save_key(&listing->list, key, value);
}

static void list_tensor(struct listing *listing, const char *name, const aac_tensor *tensor)
{
    if (!listing->status)
        listing->status = aac_save_tensor(&listing->list, name, tensor, AAC_F32);
}

static void list_parameter(struct listing *listing, const aac_side_names *side, size_t index,
                           const aac_parameter *item, const aac_tensor *step)
{
    char name[AAC_TRAINING_NAME];
    const aac_tensor value = view(item, item->value), exp_avg = view(item, item->exp_avg),
                     exp_avg_sq = view(item, item->exp_avg_sq);
    list_tensor(listing, aac_training_name(name, "%s.%s", side->adapter, item->name), &value);
    if (!step)
        return;
    list_tensor(listing, aac_training_name(name, "%s.state.%zu.step", side->optimizer, index),
                step);
    list_tensor(listing, aac_training_name(name, "%s.state.%zu.exp_avg", side->optimizer, index),
                &exp_avg);
    list_tensor(listing, aac_training_name(name, "%s.state.%zu.exp_avg_sq", side->optimizer, index),
                &exp_avg_sq);
}

/* The same values as in a torch archive, under the names that the torch reader gives them. */
static void list_state(struct listing *listing, const aac_side_names *side,
                       const aac_training_state *state)
{
    char name[AAC_TRAINING_NAME];
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"lr", state->learning_rate},
        {"betas.0", state->beta1},
        {"betas.1", state->beta2},
        {"eps", state->epsilon},
        {"initial_lr", state->base_learning_rate},
    };
    list_count(listing, "epoch", state->epoch);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        list_number(
            listing,
            aac_training_name(name, "%s.param_groups.0.%s", side->optimizer, numbers[i].key),
            numbers[i].value);
    list_text(listing, "aaclip.config", aac_config_to_json(&state->config));
    if (state->options)
        list_text(listing, "aaclip.options", aac_strdup(state->options));
    if (state->model_vision_fingerprint)
        list_key(listing, "aaclip.model_vision_fingerprint", state->model_vision_fingerprint);
    if (state->text_adapter_fingerprint)
        list_key(listing, "aaclip.text_adapter_fingerprint", state->text_adapter_fingerprint);
    list_key(listing, "aaclip.seed", state->seed);
    list_count(listing, "aaclip.step", state->step);
    list_count(listing, "aaclip.position", state->position);
    list_number(listing, "aaclip.scheduler.gamma", state->gamma);
    for (uint32_t i = 0; i < state->milestone_count; i++)
        list_count(listing, aac_training_name(name, "aaclip.scheduler.milestones.%u", i),
                   state->milestones[i]);
}

aaclip_status aac_training_write_safetensors(const char *path, const aac_parameter_set *set,
                                             const aac_training_state *state)
{
    const float steps = (float)state->step;
    const aac_tensor step = {.dtype = AAC_F32, .data = &steps};
    struct listing listing = {.status = check_writable(set, state, path)};
    for (size_t i = 0; !listing.status && i < set->count; i++)
        list_parameter(&listing, aac_training_side(set->side), i, &set->items[i],
                       state->step ? &step : NULL);
    if (!listing.status)
        list_state(&listing, aac_training_side(set->side), state);
    aaclip_status status = listing.status ? listing.status : aac_save_write(&listing.list, path);
    aac_save_clear(&listing.list);
    return status;
}
