#include "training_sample.h"

#include <string.h>

#include "core/config.h"
#include "core/error.h"
#include "core/memory.h"

void training_sample_config(aaclip_config *config, const char *kind)
{
    bool document = strcmp(kind, "document") == 0;
    aac_config_fill(config, document ? AACLIP_PROFILE_DOCUMENT : AACLIP_PROFILE_PUBLISHED);
    if (!document)
        config->image_projection_activation = strcmp(kind, "published-relu") == 0;
    config->text_adapter_layers = config->image_adapter_layers = 2;
    config->level_count = 3;
    for (uint32_t i = 0; i < config->level_count; i++)
        config->levels[i] = i + 1;
}

/* The same fractions of powers of two as in test_torch_written.py. */
static void fill(aac_parameter *item, size_t p)
{
    for (size_t i = 0; i < aac_parameter_elements(item); i++) {
        item->value[i] = ((float)((7 * i + 13 * p) % 31) - 15) / 16;
        item->exp_avg[i] = ((float)((5 * i + 3 * p) % 17) - 8) / 64;
        item->exp_avg_sq[i] = (float)((3 * i + p) % 11) / 256;
    }
}

aaclip_status training_sample_make(aac_parameter_set *set, aac_training_state *state,
                                   aac_adapter_side side, const char *kind)
{
    *state = (aac_training_state){
        .epoch = 3,
        .position = 5,
        .step = 7,
        .seed = 0xfedcba9876543210,
        .learning_rate = 0.00025,
        .base_learning_rate = 0.0005,
        .beta1 = 0.5,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .gamma = 0.5,
        .milestone_count = 2,
        .milestones = {4, 9},
        .model_vision_fingerprint = 0x0123456789abcdef,
        .text_adapter_fingerprint = 0x00000000deadbeef,
        .options = aac_strdup("{\"batch\": 2, \"class\": \"K\xc3\xa4se\"}"),
    };
    *set = (aac_parameter_set){0};
    if (!state->options)
        return aac_error_memory();
    training_sample_config(&state->config, kind);
    aaclip_status status = aac_parameters_make(set, side, &state->config, 8, 6);
    for (size_t p = 0; p < set->count; p++)
        fill(&set->items[p], p);
    return status;
}
