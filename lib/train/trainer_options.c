#include <string.h>

#include <jansson.h>

#include "core/config.h"
#include "core/error.h"
#include "core/hex_key.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/platform.h"
#include "evaluate/dataset.h"
#include "model/fingerprint.h"
#include "model/model.h"
#include "train/adapter_files_parts.h"
#include "train/trainer_parts.h"

static void fill(aaclip_trainer_options *options, aaclip_stage stage, aaclip_profile profile)
{
    bool text = stage == AACLIP_STAGE_TEXT;
    *options = (aaclip_trainer_options){
        .size = sizeof *options,
        .stage = stage,
        .profile = profile,
        .batch_size = text ? 16 : 2,
        .accumulate = 1,
        .learning_rate = text ? 1e-5 : 5e-4,
        .beta1 = 0.5,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .milestones = {16000, 32000},
        .milestone_count = text ? 0 : 2,
        .gamma = 0.5,
        .scales = profile == AACLIP_PROFILE_PUBLISHED ? AACLIP_SCALES_LAST : AACLIP_SCALES_SUM,
        .orthogonal_weight = 0.1,
    };
}

aaclip_status aaclip_trainer_options_init_sized(aaclip_trainer_options *options, size_t struct_size,
                                                aaclip_stage stage, aaclip_profile profile)
{
    aaclip_trainer_options own;
    if (stage != AACLIP_STAGE_TEXT && stage != AACLIP_STAGE_IMAGE)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_trainer_options: unknown stage %d",
                         (int)stage);
    if ((unsigned)profile > AACLIP_PROFILE_PUBLISHED)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_trainer_options: unknown profile %d", (int)profile);
    fill(&own, stage, profile);
    return aac_options_write(options, struct_size, &own, sizeof own, "aaclip_trainer_options");
}

static aaclip_status invalid(const char *field, double value, const char *expected)
{
    return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                     "aaclip_trainer_options.%s: expected %s, found %g", field, expected, value);
}

static aaclip_status check_numbers(const aaclip_trainer_options *options)
{
    const struct {
        const char *field;
        double value, lowest, highest;
        const char *expected;
    } numbers[] = {
        {"batch_size", options->batch_size, 1, 65536, "1 to 65536"},
        {"accumulate", options->accumulate, 1, 65536, "1 to 65536"},
        {"learning_rate", options->learning_rate, 1e-300, 1e6, "a positive number, at most 1e6"},
        {"beta1", options->beta1, 0, 1 - 1e-12, "0 or more and less than 1"},
        {"beta2", options->beta2, 0, 1 - 1e-12, "0 or more and less than 1"},
        {"epsilon", options->epsilon, 1e-300, 1, "a positive number, at most 1"},
        {"gamma", options->gamma, 0, 1, "0 to 1"},
        {"milestone_count", options->milestone_count, 0, AACLIP_MAX_MILESTONES, "at most 8"},
        {"orthogonal_weight", options->orthogonal_weight, 0, 1e6, "0 to 1e6"},
        {"scales", (double)options->scales, 0, AACLIP_SCALES_LAST, "sum or last"},
        {"loader_threads", options->loader_threads, 0, 256, "0 to 256"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!(numbers[i].value >= numbers[i].lowest && numbers[i].value <= numbers[i].highest))
            return invalid(numbers[i].field, numbers[i].value, numbers[i].expected);
    for (uint32_t i = 1; i < options->milestone_count; i++)
        if (options->milestones[i] <= options->milestones[i - 1])
            return invalid("milestones", (double)options->milestones[i], "ascending steps");
    uint32_t last = options->milestone_count ? options->milestone_count - 1 : 0;
    if (options->milestone_count && options->milestones[last] > AAC_TRAINING_LARGEST_COUNT)
        return invalid("milestones", (double)options->milestones[last], "at most 2^53");
    return AACLIP_OK;
}

static aaclip_status copy_texts(aaclip_trainer *trainer)
{
    aaclip_trainer_options *options = &trainer->options;
    const char **fields[] = {&options->log, &options->vocabulary, &options->prompts,
                             &options->phrases};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (*fields[i] && !(*fields[i] = trainer->texts[i] = aac_strdup(*fields[i])))
            return aac_error_memory();
    return AACLIP_OK;
}

/* The configuration of `initial`, else the caller's, else the profile's. */
static aaclip_status choose_config(aaclip_trainer *trainer)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(trainer->model);
    const aaclip_trainer_options *options = &trainer->options;
    aaclip_config profile;
    aaclip_config_init(&profile, options->profile);
    const aaclip_config *given = options->config ? options->config : &profile;
    aaclip_status status = AACLIP_OK;
    if (options->initial) {
        trainer->config.size = sizeof trainer->config;
        status = aaclip_adapters_get_config(options->initial, &trainer->config);
    } else {
        status = aac_config_read(&trainer->config, given);
    }
    if (!status)
        status = aac_config_resolve(&trainer->config, checkpoint->vision.layers,
                                    checkpoint->text.layers);
    return status;
}

aaclip_status aac_trainer_read_options(aaclip_trainer *trainer,
                                       const aaclip_trainer_options *caller)
{
    aaclip_trainer_options *options = &trainer->options;
    fill(options, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_DOCUMENT);
    aaclip_status status =
        aac_options_read(options, sizeof *options, caller, "aaclip_trainer_options");
    if (status)
        return status;
    if (options->stage != AACLIP_STAGE_TEXT && options->stage != AACLIP_STAGE_IMAGE)
        return invalid("stage", (double)options->stage, "1 or 2");
    if ((unsigned)options->profile > AACLIP_PROFILE_PUBLISHED)
        return invalid("profile", (double)options->profile, "a profile");
    /* again: fields unknown to an older caller depend on stage and profile */
    fill(options, options->stage, options->profile);
    aac_options_read(options, sizeof *options, caller, "aaclip_trainer_options");
    uint32_t layers = (uint32_t)aac_model_checkpoint(trainer->model)->vision.layers;
    if (options->surgery_blocks > layers)
        return invalid("surgery_blocks", options->surgery_blocks,
                       "at most the image tower's blocks");
    status = check_numbers(options);
    if (!status)
        status = copy_texts(trainer);
    if (!status)
        status = choose_config(trainer);
    options->config = NULL; /* the caller's; the relevant parts were copied */
    return status;
}

/* Which samples, in which order, and how they are read; not their paths, which may differ between
 * machines. */
static uint64_t fingerprint_samples(const aaclip_dataset *dataset)
{
    aac_fingerprint fingerprint = aac_fingerprint_start();
    const aac_window *window = aac_dataset_window(dataset);
    if (window)
        aac_fingerprint_bytes(&fingerprint, window, sizeof *window);
    for (size_t i = 0; i < aaclip_dataset_count(dataset); i++) {
        const aaclip_sample *sample = aaclip_dataset_get(dataset, i);
        const char *name = aac_path_name(sample->image_path);
        aac_fingerprint_bytes(&fingerprint, name, strlen(name) + 1);
        aac_fingerprint_bytes(&fingerprint, sample->class_name, strlen(sample->class_name) + 1);
        aac_fingerprint_bytes(&fingerprint, &sample->label, sizeof sample->label);
    }
    return fingerprint.value;
}

char *aac_trainer_settings(const aaclip_trainer *trainer)
{
    const aaclip_trainer_options *o = &trainer->options;
    bool text = o->stage == AACLIP_STAGE_TEXT;
    char samples[AAC_HEX_KEY_SIZE], prompts[AAC_HEX_KEY_SIZE], tower[AAC_HEX_KEY_SIZE];
    aac_hex_key(samples, fingerprint_samples(trainer->dataset));
    aac_hex_key(prompts, trainer->stage->prompts);
    aac_hex_key(tower, aac_model_text_fingerprint(trainer->model));
    json_t *root = json_pack(
        "{s:i, s:i, s:I, s:i, s:f, s:i, s:b, s:b, s:b, s:s, s:s, s:s, s:s}", "stage", (int)o->stage,
        "image_size", (int)trainer->image_size, "step_images",
        (json_int_t)o->batch_size * o->accumulate, "scales", text ? (int)o->scales : 0,
        "orthogonal_weight", text ? o->orthogonal_weight : 0.0, "surgery_blocks",
        text ? (int)o->surgery_blocks : 0, "balanced_focal", o->balanced_focal, "augmentation",
        !o->no_augmentation, "shuffle", !o->no_shuffle, "samples", samples, "prompts", prompts,
        "phrases", text && o->phrases ? o->phrases : "", "text_tower", tower);
    char *settings = aac_json_text(root, JSON_COMPACT);
    json_decref(root);
    return settings;
}
