/* Saving a trainer's state and resuming from one. */
#include <string.h>

#include <jansson.h>

#include "core/config.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/platform.h"
#include "model/adapters.h"
#include "train/trainer_parts.h"

/* Of the current text adapters; in stage 2 from the cache. */
static aaclip_status current_fingerprint(const aaclip_trainer *trainer, uint64_t *fingerprint)
{
    *fingerprint = trainer->state.text_adapter_fingerprint;
    if (trainer->options.stage == AACLIP_STAGE_IMAGE)
        return AACLIP_OK;
    aaclip_adapters *snapshot = NULL;
    aaclip_status status = aaclip_trainer_adapters(&snapshot, trainer);
    if (!status)
        *fingerprint = aac_adapters_text_fingerprint(snapshot);
    aaclip_adapters_close(&snapshot);
    return status;
}

aaclip_status aaclip_trainer_save(const aaclip_trainer *trainer, const char *path)
{
    if (!trainer || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_trainer_save: NULL argument");
    aac_training_state state = trainer->state;
    aaclip_status status = current_fingerprint(trainer, &state.text_adapter_fingerprint);
    if (!status)
        status = aac_optimizer_fetch(&trainer->optimizer);
    if (status)
        return status;
    state.options = aac_trainer_settings(trainer);
    if (!state.options)
        return aac_error_memory();
    bool torch = aac_path_has_ending(path, ".pth") || aac_path_has_ending(path, ".pt");
    status = torch ? aac_training_write_torch(path, &trainer->parameters, &state)
                   : aac_training_write_safetensors(path, &trainer->parameters, &state);
    aac_free(state.options);
    return status;
}

static aaclip_status differs(const char *path, const char *what, double saved, double now)
{
    return aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected %.17g, found %.17g", path, what, now,
                     saved);
}

static aaclip_status count_differs(const char *path, const char *what, uint64_t saved, uint64_t now)
{
    return aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected %llu, found %llu", path, what,
                     (unsigned long long)now, (unsigned long long)saved);
}

/* The schedule and the seed, on which the following steps depend. */
static aaclip_status check_schedule(const aac_training_state *saved, const aac_training_state *now,
                                    const char *path)
{
    const struct {
        const char *what;
        double saved, now;
    } numbers[] = {
        {"learning rate", saved->base_learning_rate, now->base_learning_rate},
        {"first beta", saved->beta1, now->beta1},
        {"second beta", saved->beta2, now->beta2},
        {"epsilon", saved->epsilon, now->epsilon},
        {"gamma", saved->gamma, now->gamma},
        {"number of milestones", saved->milestone_count, now->milestone_count},
    };
    if (saved->seed != now->seed)
        return count_differs(path, "seed", saved->seed, now->seed);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].saved < numbers[i].now || numbers[i].saved > numbers[i].now)
            return differs(path, numbers[i].what, numbers[i].saved, numbers[i].now);
    for (uint32_t i = 0; i < now->milestone_count; i++)
        if (saved->milestones[i] != now->milestones[i])
            return count_differs(path, "milestone", saved->milestones[i], now->milestones[i]);
    return AACLIP_OK;
}

static aaclip_status read_settings(json_t **settings, const char *text, const char *path)
{
    aaclip_status status = aac_json_embedded(settings, text, "settings");
    return status ? aac_error_prefix(status, "%s", path) : AACLIP_OK;
}

/* Every member of the JSON object `now`, which this function frees, must be the same in `saved`. */
static aaclip_status compare_members(char *now, const char *saved, const char *path)
{
    if (!now)
        return aac_error_memory();
    json_t *mine = json_loads(now, 0, NULL), *other = NULL;
    aac_free(now);
    const char *key;
    json_t *value;
    aaclip_status status = mine ? AACLIP_OK : aac_error_memory();
    if (!status && saved)
        status = read_settings(&other, saved, path);
    if (!status && !json_is_object(other))
        status = aac_error(AACLIP_ERROR_FORMAT, "%s: settings: expected a JSON object", path);
    json_object_foreach(mine, key, value)
    {
        const json_t *found = json_object_get(other, key);
        if (status || json_equal(value, found))
            continue;
        if (strcmp(key, "samples") == 0) {
            status = aac_error(AACLIP_ERROR_MISMATCH,
                               "%s: was trained on another list of images or with another window; "
                               "use a new folder",
                               path);
            continue;
        }
        char *expected_text = aac_json_text(value, JSON_ENCODE_ANY);
        char *found_text = aac_json_text(found, JSON_ENCODE_ANY);
        status = aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected %s, found %s", path, key,
                           expected_text ? expected_text : "?", found_text ? found_text : "none");
        aac_free(expected_text);
        aac_free(found_text);
    }
    json_decref(mine);
    json_decref(other);
    return status;
}

/* What the steps depend on besides the schedule. */
static aaclip_status check_settings(const aaclip_trainer *trainer, const aac_training_state *saved,
                                    const char *path)
{
    aaclip_status status = compare_members(aac_trainer_settings(trainer), saved->options, path);
    if (status)
        return status;
    char *config = aac_config_to_json(&saved->config);
    status = config ? compare_members(aac_config_to_json(&trainer->config), config, path)
                    : aac_error_memory();
    aac_free(config);
    uint64_t found = saved->text_adapter_fingerprint;
    uint64_t expected = trainer->state.text_adapter_fingerprint;
    if (!status && trainer->options.stage == AACLIP_STAGE_IMAGE && found != expected)
        status = aac_error(AACLIP_ERROR_MISMATCH,
                           "%s: expected training state for text adapters %016llx, found %016llx",
                           path, (unsigned long long)expected, (unsigned long long)found);
    return status;
}

static aaclip_status check_saved(const aaclip_trainer *trainer, const aac_training_state *saved,
                                 const aac_training_found *found, const char *path)
{
    const aac_training_state *now = &trainer->state;
    uint64_t model = saved->model_vision_fingerprint;
    if (model && model != now->model_vision_fingerprint)
        return aac_error(
            AACLIP_ERROR_MISMATCH, "%s: expected training state for model %016llx, found %016llx",
            path, (unsigned long long)now->model_vision_fingerprint, (unsigned long long)model);
    if (!found->progress)
        return AACLIP_OK;
    aaclip_status status = check_schedule(saved, now, path);
    if (!status)
        status = check_settings(trainer, saved, path);
    if (!status && saved->position >= aaclip_dataset_count(trainer->dataset))
        status = aac_error(
            AACLIP_ERROR_FORMAT, "%s: position in the epoch: expected less than %zu, found %llu",
            path, aaclip_dataset_count(trainer->dataset), (unsigned long long)saved->position);
    return status;
}

/* Cannot fail: everything has been checked. */
static void adopt(aaclip_trainer *trainer, const aac_parameter_set *set,
                  const aac_training_state *saved)
{
    for (size_t i = 0; i < set->count; i++) {
        aac_parameter *own = &trainer->parameters.items[i];
        size_t bytes = aac_parameter_elements(own) * sizeof(float);
        memcpy(own->name, set->items[i].name, sizeof own->name);
        memcpy(own->value, set->items[i].value, bytes);
        memcpy(own->exp_avg, set->items[i].exp_avg, bytes);
        memcpy(own->exp_avg_sq, set->items[i].exp_avg_sq, bytes);
    }
    trainer->state.epoch = saved->epoch;
    trainer->state.position = saved->position;
    trainer->state.step = saved->step;
    trainer->state.learning_rate = aac_learning_rate(&trainer->state);
    aac_trainer_drop_loader(trainer);
    aac_optimizer_changed(&trainer->optimizer);
    trainer->stale = true;
}

static aaclip_status load(aaclip_trainer *trainer, aac_parameter_set *set, const char *path)
{
    aac_training_state saved = trainer->state;
    aac_training_found found = {0};
    saved.options = NULL;
    saved.epoch = saved.position = saved.step = 0;
    aaclip_status status = aac_training_read(set, &saved, &found, path);
    if (!status)
        status = check_saved(trainer, &saved, &found, path);
    if (!status)
        adopt(trainer, set, &saved);
    aac_training_state_clear(&saved);
    return status;
}

aaclip_status aaclip_trainer_load(aaclip_trainer *trainer, const char *path)
{
    if (!trainer || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_trainer_load: NULL argument");
    aac_parameter_set set;
    aaclip_status status = aac_trainer_make_parameters(trainer, &set);
    if (!status)
        status = load(trainer, &set, path);
    aac_parameters_clear(&set);
    return status;
}
