/* Training checkpoints, written and read; PyTorch reads them in
 * tests/reference/test_torch_written.py. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <aaclip/aaclip.h>

#include "../text/failing_allocator.h"
#include "../text/scratch_folder.h"
#include "core/memory.h"
#include "core/platform.h"
#include "files/tensor_file.h"
#include "model/adapters.h"
#include "model/model.h"
#include "training_sample.h"

static const struct {
    aac_adapter_side side;
    const char *kind;
} cases[] = {
    {AAC_SIDE_TEXT, "document"},   {AAC_SIDE_TEXT, "published"},       {AAC_SIDE_IMAGE, "document"},
    {AAC_SIDE_IMAGE, "published"}, {AAC_SIDE_IMAGE, "published-relu"},
};

#define CASE_COUNT (sizeof cases / sizeof *cases)

static char *in_folder(void **state, const char *name)
{
    return aac_format("%s/%s", (const char *)*state, name);
}

static void make_case(aac_parameter_set *set, aac_training_state *state, size_t index)
{
    assert_int_equal(training_sample_make(set, state, cases[index].side, cases[index].kind),
                     AACLIP_OK);
}

static void forget(aac_parameter_set *set, aac_training_state *state)
{
    aac_parameters_clear(set);
    aac_training_state_clear(state);
}

/* An empty set of the same configuration, and a state of other numbers. */
static void make_blank(aac_parameter_set *set, aac_training_state *state, size_t index)
{
    *state =
        (aac_training_state){.seed = 1, .learning_rate = 2, .beta1 = 0.25, .milestone_count = 1};
    training_sample_config(&state->config, cases[index].kind);
    state->config.image_adapter_weight = 0.75f;
    assert_int_equal(aac_parameters_make(set, cases[index].side, &state->config, 8, 6), AACLIP_OK);
}

static void assert_same_set(const aac_parameter_set *found, const aac_parameter_set *expected)
{
    assert_int_equal(found->count, expected->count);
    for (size_t i = 0; i < found->count; i++) {
        const aac_parameter *a = &found->items[i], *b = &expected->items[i];
        size_t bytes = aac_parameter_elements(b) * sizeof(float);
        assert_string_equal(a->name, b->name);
        assert_memory_equal(a->value, b->value, bytes);
        assert_memory_equal(a->exp_avg, b->exp_avg, bytes);
        assert_memory_equal(a->exp_avg_sq, b->exp_avg_sq, bytes);
    }
}

static void assert_same_state(const aac_training_state *found, const aac_training_state *expected)
{
    aac_training_state a = *found, b = *expected;
    assert_string_equal(a.options, b.options);
    a.options = b.options = NULL;
    assert_true(a.epoch == b.epoch && a.position == b.position && a.step == b.step);
    assert_true(a.seed == b.seed);
    assert_true(a.learning_rate == b.learning_rate);
    assert_true(a.base_learning_rate == b.base_learning_rate);
    assert_true(a.beta1 == b.beta1 && a.beta2 == b.beta2 && a.epsilon == b.epsilon);
    assert_true(a.gamma == b.gamma);
    assert_int_equal(a.milestone_count, b.milestone_count);
    assert_memory_equal(a.milestones, b.milestones, a.milestone_count * sizeof *a.milestones);
    assert_true(a.model_vision_fingerprint == b.model_vision_fingerprint);
    assert_true(a.text_adapter_fingerprint == b.text_adapter_fingerprint);
    assert_true(a.config.layer_adapter == b.config.layer_adapter);
    assert_true(a.config.image_adapter_weight == b.config.image_adapter_weight);
    assert_true(a.config.projection_slope == b.config.projection_slope);
}

static void parameters_are_named_in_the_order_of_pytorch(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t rows, columns;
    } text[] = {{"0.fc1.weight", 4, 8},
                {"0.fc2.weight", 8, 4},
                {"1.fc1.weight", 4, 8},
                {"1.fc2.weight", 8, 4},
                {"2.fc.weight", 6, 8}};
    static const char *const image[] = {
        "layer_adapters.0.fc.0.weight", "layer_adapters.1.fc.0.weight", "seg_proj.0.fc.0.weight",
        "seg_proj.1.fc.0.weight",       "seg_proj.2.fc.0.weight",       "det_proj.fc.0.weight"};
    aac_parameter_set set;
    aaclip_config config;
    training_sample_config(&config, "document");
    assert_int_equal(aac_parameters_make(&set, AAC_SIDE_TEXT, &config, 8, 6), AACLIP_OK);
    assert_int_equal(set.count, 5);
    for (size_t i = 0; i < set.count; i++) {
        assert_string_equal(set.items[i].name, text[i].name);
        assert_int_equal(set.items[i].rows, text[i].rows);
        assert_int_equal(set.items[i].columns, text[i].columns);
        assert_true(set.items[i].value[0] == 0 && set.items[i].exp_avg_sq[31] == 0);
    }
    aac_parameters_clear(&set);
    training_sample_config(&config, "published-relu");
    assert_int_equal(aac_parameters_make(&set, AAC_SIDE_IMAGE, &config, 8, 6), AACLIP_OK);
    assert_int_equal(set.count, 6);
    for (size_t i = 0; i < set.count; i++)
        assert_string_equal(set.items[i].name, image[i]);
    aac_parameters_clear(&set);
    config.text_projection_activation = false;
    assert_int_equal(aac_parameters_make(&set, AAC_SIDE_TEXT, &config, 8, 6), AACLIP_OK);
    assert_string_equal(set.items[2].name, "2.fc.weight");
    aac_parameters_clear(&set);
}

typedef aaclip_status (*write_function)(const char *path, const aac_parameter_set *set,
                                        const aac_training_state *state);

static const write_function forms[] = {aac_training_write_torch, aac_training_write_safetensors};

static void everything_comes_back_from_both_forms(void **state)
{
    char *path = in_folder(state, "adapter");
    for (size_t i = 0; i < 2 * CASE_COUNT; i++) {
        aac_parameter_set written, read;
        aac_training_state before, after;
        aac_training_found found;
        make_case(&written, &before, i / 2);
        make_blank(&read, &after, i / 2);
        after.options = aac_strdup("replaced");
        assert_int_equal(forms[i % 2](path, &written, &before), AACLIP_OK);
        assert_int_equal(aac_training_read(&read, &after, &found, path), AACLIP_OK);
        assert_true(found.optimizer && found.progress);
        assert_same_set(&read, &written);
        assert_same_state(&after, &before);
        forget(&written, &before);
        forget(&read, &after);
    }
    aac_free(path);
}

/* As `fc.weight` where this library writes `fc.0.weight`, and the other way round. */
static void projections_go_by_either_name(void **state)
{
    char *path = in_folder(state, "adapter");
    for (size_t i = 0; i < 2 * CASE_COUNT; i++) {
        aac_parameter_set set, found;
        aac_training_state written, read;
        aac_training_found what;
        unsigned renamed = 0;
        make_case(&set, &written, i / 2);
        make_blank(&found, &read, i / 2);
        for (size_t k = 0; k < set.count; k++)
            if (set.items[k].other_name[0]) {
                assert_string_not_equal(set.items[k].name, set.items[k].other_name);
                memcpy(set.items[k].name, set.items[k].other_name, sizeof set.items[k].name);
                renamed++;
            }
        assert_int_equal(renamed, cases[i / 2].side == AAC_SIDE_TEXT ? 1 : 4);
        assert_int_equal(forms[i % 2](path, &set, &written), AACLIP_OK);
        assert_int_equal(aac_training_read(&found, &read, &what, path), AACLIP_OK);
        assert_same_set(&found, &set);
        forget(&set, &written);
        forget(&found, &read);
    }
    aac_free(path);
}

static void extreme_numbers_come_back(void **state)
{
    char *path = in_folder(state, "extreme");
    for (size_t i = 0; i < 2; i++) {
        aac_parameter_set written, read;
        aac_training_state before, after;
        aac_training_found found;
        make_case(&written, &before, 0);
        make_blank(&read, &after, 0);
        before.seed = UINT64_MAX;
        before.epoch = 0;
        before.position = UINT64_C(1) << 53;
        before.step = (UINT64_C(1) << 24) + 1; /* float32 does not hold it */
        before.learning_rate = 5e-324;
        before.base_learning_rate = 1.7976931348623157e308;
        before.beta1 = 0;
        before.beta2 = nextafter(1, 0);
        before.milestones[1] = UINT64_C(1) << 53;
        written.items[0].value[0] = -3.4028234663852886e38f;
        written.items[0].exp_avg[0] = -0.0f;
        written.items[0].exp_avg_sq[0] = 1e-45f;
        assert_int_equal(forms[i](path, &written, &before), AACLIP_OK);
        assert_int_equal(aac_training_read(&read, &after, &found, path), AACLIP_OK);
        assert_same_set(&read, &written);
        assert_same_state(&after, &before);
        forget(&written, &before);
        forget(&read, &after);
    }
    aac_free(path);
}

/* Before the first step there are no moments, and the caller's are cleared. */
static void a_first_step_is_still_to_come(void **state)
{
    char *path = in_folder(state, "first");
    for (size_t i = 0; i < 2; i++) {
        aac_parameter_set written, read;
        aac_training_state before, after;
        aac_training_found found;
        make_case(&written, &before, 1);
        make_case(&read, &after, 1);
        before.step = 0;
        before.milestone_count = 0;
        assert_int_equal(forms[i](path, &written, &before), AACLIP_OK);
        assert_int_equal(aac_training_read(&read, &after, &found, path), AACLIP_OK);
        assert_true(found.optimizer && found.progress);
        assert_int_equal(after.step, 0);
        assert_int_equal(after.milestone_count, 0);
        assert_memory_equal(read.items[0].value, written.items[0].value, 64 * sizeof(float));
        for (size_t j = 0; j < 64; j++)
            assert_true(read.items[0].exp_avg[j] == 0 && read.items[0].exp_avg_sq[j] == 0);
        forget(&written, &before);
        forget(&read, &after);
    }
    aac_free(path);
}

static void spoil_rate(aac_parameter_set *set, aac_training_state *state)
{
    (void)set;
    state->learning_rate = NAN;
}

static void spoil_beta(aac_parameter_set *set, aac_training_state *state)
{
    (void)set;
    state->beta2 = 1;
}

static void spoil_step(aac_parameter_set *set, aac_training_state *state)
{
    (void)set;
    state->step = UINT64_MAX;
}

static void spoil_milestones(aac_parameter_set *set, aac_training_state *state)
{
    (void)set;
    state->milestones[1] = state->milestones[0];
}

static void spoil_milestone_count(aac_parameter_set *set, aac_training_state *state)
{
    (void)set;
    state->milestone_count = AACLIP_MAX_MILESTONES + 1;
}

static void spoil_weight(aac_parameter_set *set, aac_training_state *state)
{
    (void)state;
    set->items[1].value[3] = INFINITY;
}

static void spoil_mean(aac_parameter_set *set, aac_training_state *state)
{
    (void)state;
    set->items[1].exp_avg[3] = NAN;
}

static void spoil_squares(aac_parameter_set *set, aac_training_state *state)
{
    (void)state;
    set->items[1].exp_avg_sq[3] = -1e-30f;
}

static void what_cannot_be_resumed_is_not_written(void **state)
{
    static const struct {
        void (*spoil)(aac_parameter_set *set, aac_training_state *state);
        const char *text;
    } mistakes[] = {
        {spoil_rate, "kept: learning rate: expected 0 to "},
        {spoil_beta, "kept: second beta: expected 0 to 1, found 1"},
        {spoil_step, "kept: step: "},
        {spoil_milestones, "kept: milestone 1: expected ascending numbers, found 4"},
        {spoil_milestone_count, "kept: number of milestones: expected 0 to 8, found 9"},
        {spoil_weight, "kept: 0.fc2.weight: expected finite numbers, found inf"},
        {spoil_mean, "kept: 0.fc2.weight: expected finite numbers, found "},
        {spoil_squares, "kept: 0.fc2.weight: expected finite, non-negative numbers, found -1e-30"},
    };
    char *path = scratch_text(*state, "kept", "the checkpoint before");
    for (size_t i = 0; i < 2 * sizeof mistakes / sizeof *mistakes; i++) {
        aac_parameter_set set;
        aac_training_state training;
        make_case(&set, &training, 0);
        mistakes[i / 2].spoil(&set, &training);
        assert_int_equal(forms[i % 2](path, &set, &training), AACLIP_ERROR_INVALID_ARGUMENT);
        if (!strstr(aaclip_last_error(), mistakes[i / 2].text))
            fail_msg("\"%s\" in: %s", mistakes[i / 2].text, aaclip_last_error());
        forget(&set, &training);
    }
    aac_mapping mapping;
    assert_int_equal(aac_map_file(&mapping, path), AACLIP_OK);
    assert_int_equal(mapping.size, strlen("the checkpoint before"));
    aac_unmap_file(&mapping);
    aac_free(path);
}

/* A written file whose entries a test changes before it is read again. */
typedef struct spoiled {
    aac_tensor_source tensors[64];
    aac_metadata metadata[64];
    size_t tensor_count, metadata_count;
} spoiled;

static const char *const known_keys[] = {
    "epoch",
    "text_optimizer.param_groups.0.lr",
    "text_optimizer.param_groups.0.betas.0",
    "text_optimizer.param_groups.0.betas.1",
    "text_optimizer.param_groups.0.eps",
    "text_optimizer.param_groups.0.initial_lr",
    "aaclip.config",
    "aaclip.seed",
    "aaclip.step",
    "aaclip.position",
    "aaclip.scheduler.gamma",
    "aaclip.scheduler.milestones.0",
    "aaclip.scheduler.milestones.1",
};

/* Entries of the sample of case 0, as the reader finds them in `file`. */
static void list_entries(spoiled *list, const aac_tensor_file *file)
{
    *list = (spoiled){0};
    for (size_t i = 0; i < aac_tensor_file_count(file); i++) {
        const aac_tensor *tensor = aac_tensor_file_at(file, i);
        list->tensors[list->tensor_count++] = (aac_tensor_source){*tensor, tensor->dtype};
    }
    for (size_t i = 0; i < sizeof known_keys / sizeof *known_keys; i++) {
        const char *value = aac_tensor_file_string(file, known_keys[i]);
        assert_non_null(value);
        list->metadata[list->metadata_count++] = (aac_metadata){known_keys[i], value};
    }
}

static aac_tensor *tensor_of(spoiled *list, const char *name)
{
    for (size_t i = 0; i < list->tensor_count; i++)
        if (strcmp(list->tensors[i].tensor.name, name) == 0)
            return &list->tensors[i].tensor;
    fail_msg("%s: no such tensor", name);
    return NULL;
}

/* What to do to an entry: `value` NULL removes it; a new key is added. */
static void set_text(spoiled *list, const char *key, const char *value)
{
    size_t at = 0;
    while (at < list->metadata_count && strcmp(list->metadata[at].key, key) != 0)
        at++;
    if (!value) {
        assert_true(at < list->metadata_count);
        list->metadata[at] = list->metadata[--list->metadata_count];
        return;
    }
    list->metadata_count += at == list->metadata_count;
    list->metadata[at] = (aac_metadata){key, value};
}

static void remove_tensor(spoiled *list, const char *name)
{
    aac_tensor_source *source = (aac_tensor_source *)tensor_of(list, name);
    *source = list->tensors[--list->tensor_count];
}

static void add_tensor(spoiled *list, const char *name)
{
    list->tensors[list->tensor_count] = list->tensors[0];
    list->tensors[list->tensor_count++].tensor.name = name;
}

static aaclip_status read_spoiled(const spoiled *list, const char *path, bool expect_progress)
{
    aac_parameter_set set;
    aac_training_state training, before;
    aac_training_found found;
    make_blank(&set, &training, 0);
    training.options = aac_strdup("the caller's");
    before = training;
    assert_int_equal(aac_safetensors_write(path, list->tensors, list->tensor_count, list->metadata,
                                           list->metadata_count),
                     AACLIP_OK);
    aaclip_status status = aac_training_read(&set, &training, &found, path);
    if (status)
        assert_memory_equal(&training, &before, sizeof before);
    else
        assert_int_equal(found.progress, expect_progress);
    forget(&set, &training);
    return status;
}

static void refuse(const spoiled *list, const char *path, aaclip_status expected, const char *text)
{
    aaclip_status status = read_spoiled(list, path, true);
    if (status != expected || !strstr(aaclip_last_error(), text))
        fail_msg("%d, \"%s\" expected, found %d: %s", expected, text, status, aaclip_last_error());
    assert_non_null(strstr(aaclip_last_error(), path));
}

/* Opens case 0 as written; `path` is where a changed copy may go. */
static aac_tensor_file *open_sample(void **state, char **path)
{
    aac_parameter_set set;
    aac_training_state training;
    aac_tensor_file *file;
    char *original = in_folder(state, "original.safetensors");
    *path = in_folder(state, "spoiled.safetensors");
    make_case(&set, &training, 0);
    assert_int_equal(aac_training_write_safetensors(original, &set, &training), AACLIP_OK);
    assert_int_equal(aac_tensor_file_open(&file, original), AACLIP_OK);
    forget(&set, &training);
    aac_free(original);
    return file;
}

static void wrong_texts_are_refused(void **state)
{
    static const struct {
        const char *key, *value;
        const char *text;
    } changes[] = {
        {"epoch", "-1", "epoch: expected a count, found -1"},
        {"epoch", "1.5", "epoch: expected a count, found 1.5"},
        {"epoch", "1e300", "epoch: expected a count"},
        {"text_optimizer.param_groups.0.lr", NULL, "lr: expected a number, found none"},
        {"text_optimizer.param_groups.0.lr", "fast", "lr: expected a number, found none"},
        {"text_optimizer.param_groups.0.lr", "-1", "learning rate: expected 0 to"},
        {"text_optimizer.param_groups.0.betas.1", NULL, "betas.1: expected a number, found none"},
        {"text_optimizer.param_groups.0.betas.1", "1", "second beta: expected 0 to"},
        {"text_optimizer.param_groups.0.eps", "-1e-9", "epsilon: expected 0 to"},
        {"aaclip.config", "{}", "metadata aaclip.config"},
        {"aaclip.seed", "7", "aaclip.seed: expected 16 hexadecimal digits"},
        {"aaclip.model_vision_fingerprint", "0x23456789abcdef",
         "aaclip.model_vision_fingerprint: expected 16 hexadecimal digits"},
        {"aaclip.step", NULL, "aaclip.step: expected a number, found none"},
        {"aaclip.position", NULL, "aaclip.position: expected a number, found none"},
        {"aaclip.position", "-4", "aaclip.position: expected a count, found -4"},
        {"aaclip.scheduler.gamma", NULL, "aaclip.scheduler.gamma: expected a number, found none"},
        {"aaclip.scheduler.milestones.1", "3", "milestone 1: expected ascending numbers, found 3"},
    };
    char *path;
    aac_tensor_file *file = open_sample(state, &path);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        spoiled list;
        list_entries(&list, file);
        set_text(&list, changes[i].key, changes[i].value);
        refuse(&list, path, AACLIP_ERROR_FORMAT, changes[i].text);
    }
    spoiled list;
    list_entries(&list, file);
    set_text(&list, "aaclip.step", "8");
    refuse(&list, path, AACLIP_ERROR_MISMATCH, "aaclip.step: expected the optimizer's 7");
    list_entries(&list, file);
    set_text(&list, "text_optimizer.param_groups.0.weight_decay", "0.125");
    refuse(&list, path, AACLIP_ERROR_UNSUPPORTED, "weight_decay: expected 0, found 0.125");
    char names[9][48];
    list_entries(&list, file);
    for (int i = 0; i < 9; i++) {
        static const char *const numbers[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9"};
        snprintf(names[i], sizeof names[i], "aaclip.scheduler.milestones.%d", i);
        set_text(&list, names[i], numbers[i]);
    }
    refuse(&list, path, AACLIP_ERROR_UNSUPPORTED, "milestones.8: expected at most 8 milestones");
    aac_tensor_file_close(&file);
    aac_free(path);
}

static void wrong_tensors_are_refused(void **state)
{
    static const float two_steps[] = {7, 7}, other_step = 8, half_step = 6.5f;
    static float spoilt[32];
    char *path;
    spoiled list;
    aac_tensor_file *file = open_sample(state, &path);
    list_entries(&list, file);
    remove_tensor(&list, "text_adapter.1.fc2.weight");
    refuse(&list, path, AACLIP_ERROR_MISMATCH,
           "text_adapter.1.fc2.weight: expected 8x4, found none");
    list_entries(&list, file);
    tensor_of(&list, "text_adapter.1.fc2.weight")->shape[0] = 7;
    refuse(&list, path, AACLIP_ERROR_MISMATCH,
           "text_adapter.1.fc2.weight: expected 8x4, found 7x4");
    list_entries(&list, file);
    add_tensor(&list, "text_adapter.3.fc1.weight");
    refuse(&list, path, AACLIP_ERROR_MISMATCH, "text_adapter.3.fc1.weight: unexpected tensor");
    list_entries(&list, file);
    tensor_of(&list, "text_adapter.0.fc1.weight")->dtype = AAC_I32;
    ((aac_tensor_source *)tensor_of(&list, "text_adapter.0.fc1.weight"))->stored_as = AAC_I32;
    refuse(&list, path, AACLIP_ERROR_FORMAT,
           "text_adapter.0.fc1.weight: expected floating point, found int32");
    list_entries(&list, file);
    remove_tensor(&list, "text_optimizer.state.3.exp_avg");
    refuse(&list, path, AACLIP_ERROR_MISMATCH,
           "text_optimizer.state.3.exp_avg: expected 8x4, found none");
    list_entries(&list, file);
    remove_tensor(&list, "text_optimizer.state.2.step");
    refuse(&list, path, AACLIP_ERROR_FORMAT,
           "text_optimizer.state.2.step: expected a number, found none");
    list_entries(&list, file);
    tensor_of(&list, "text_optimizer.state.2.step")->data = &other_step;
    refuse(&list, path, AACLIP_ERROR_MISMATCH,
           "text_optimizer.state.2.step: expected 7 as in the previous parameter, found 8");
    list_entries(&list, file);
    tensor_of(&list, "text_optimizer.state.0.step")->data = &half_step;
    refuse(&list, path, AACLIP_ERROR_FORMAT, "state.0.step: expected a count, found 6.5");
    list_entries(&list, file);
    *tensor_of(&list, "text_optimizer.state.0.step") =
        (aac_tensor){"text_optimizer.state.0.step", AAC_F32, 1, {2}, {1}, two_steps, false};
    refuse(&list, path, AACLIP_ERROR_FORMAT, "state.0.step: expected one number, found 2");
    list_entries(&list, file);
    add_tensor(&list, "text_optimizer.state.5.exp_avg");
    refuse(&list, path, AACLIP_ERROR_MISMATCH,
           "state.5.exp_avg: expected 5 parameters, found more");
    spoilt[31] = -1;
    list_entries(&list, file);
    tensor_of(&list, "text_optimizer.state.1.exp_avg_sq")->data = spoilt;
    refuse(&list, path, AACLIP_ERROR_FORMAT,
           "state.1.exp_avg_sq: expected finite, non-negative numbers, found -1");
    spoilt[31] = NAN;
    list_entries(&list, file);
    tensor_of(&list, "text_adapter.1.fc1.weight")->data = spoilt;
    refuse(&list, path, AACLIP_ERROR_FORMAT, "text_adapter.1.fc1.weight: expected finite numbers");
    aac_tensor_file_close(&file);
    aac_free(path);
}

/* Without the seed a file is not the library's own, and the caller's progress stays. */
static void other_writers_leave_the_progress_to_the_caller(void **state)
{
    char *path;
    spoiled list;
    aac_tensor_file *file = open_sample(state, &path);
    list_entries(&list, file);
    set_text(&list, "aaclip.seed", NULL);
    assert_int_equal(read_spoiled(&list, path, false), AACLIP_OK);
    list_entries(&list, file);
    assert_int_equal(read_spoiled(&list, path, true), AACLIP_OK);
    aac_tensor_file_close(&file);
    aac_free(path);
}

/* Written by PyTorch: tests/reference/make_torch_archive_goldens.py. */
static void a_checkpoint_of_pytorch_is_read(void **state)
{
    (void)state;
    aac_parameter_set set;
    aac_training_state training = {.seed = 42};
    aac_training_found found;
    aaclip_config config;
    training_sample_config(&config, "published");
    config.text_adapter_layers = 1;
    assert_int_equal(aac_parameters_make(&set, AAC_SIDE_TEXT, &config, 3, 3), AACLIP_OK);
    assert_int_equal(
        aac_training_read(&set, &training, &found, GOLDEN_DIR "/files/torch/adapter.pt"),
        AACLIP_OK);
    assert_true(found.optimizer && !found.progress);
    assert_int_equal(training.epoch, 5);
    assert_int_equal(training.step, 1);
    assert_int_equal(training.seed, 42);
    assert_true(training.learning_rate == 1e-5 && training.base_learning_rate == 1e-5);
    assert_true(training.beta1 == 0.5 && training.beta2 == 0.999 && training.epsilon == 1e-8);
    for (size_t i = 0; i < 9; i++) { /* every gradient was 1 */
        assert_true(set.items[1].exp_avg[i] == 0.5f);
        assert_true(fabsf(set.items[1].exp_avg_sq[i] - 1e-3f) < 1e-9f);
    }
    aac_parameters_clear(&set);
}

static void assert_same_weights(const aac_tensor *tensor, const aac_parameter *item)
{
    assert_int_equal(aac_tensor_elements(tensor), aac_parameter_elements(item));
    float *values = aac_alloc_array(aac_parameter_elements(item), sizeof *values);
    aac_tensor_to_f32(tensor, values);
    assert_memory_equal(values, item->value, aac_parameter_elements(item) * sizeof *values);
    aac_free(values);
}

/* Reads published or document adapters, writes them in a form and opens that as adapters. */
static void check_opening(void **state, const aaclip_model *model, const char *original,
                          aac_adapter_side side, write_function write)
{
    const aac_checkpoint *checkpoint = aac_model_checkpoint(model);
    aac_parameter_set set;
    aac_training_state training = {.seed = 9};
    aac_training_found found;
    aaclip_adapters *adapters;
    char *path = in_folder(state, "opened");
    assert_int_equal(aaclip_adapters_open(&adapters, model, &original, 1, NULL), AACLIP_OK);
    training.config = *aac_adapters_config(adapters);
    aaclip_adapters_close(&adapters);
    int64_t width = side == AAC_SIDE_TEXT ? checkpoint->text.width : checkpoint->vision.width;
    assert_int_equal(
        aac_parameters_make(&set, side, &training.config, width, checkpoint->embedding), AACLIP_OK);
    assert_int_equal(aac_training_read(&set, &training, &found, original), AACLIP_OK);
    assert_false(found.optimizer || found.progress);
    training.step = 3;
    training.model_vision_fingerprint = aac_model_vision_fingerprint(model);
    training.config.image_adapter_weight = 0.25f;
    assert_int_equal(write(path, &set, &training), AACLIP_OK);
    const char *paths[] = {path};
    assert_int_equal(aaclip_adapters_open(&adapters, model, paths, 1, NULL), AACLIP_OK);
    assert_true(aac_adapters_config(adapters)->image_adapter_weight == 0.25f);
    const aac_adapter_tower *tower =
        side == AAC_SIDE_TEXT ? aac_adapters_text(adapters) : aac_adapters_image(adapters);
    assert_same_weights(&tower->layers[0].first_tensor, &set.items[0]);
    assert_same_weights(side == AAC_SIDE_TEXT ? &tower->projections[0].tensor
                                              : &tower->detection.tensor,
                        &set.items[set.count - 1]);
    aaclip_adapters_close(&adapters);
    training.model_vision_fingerprint ^= 1;
    assert_int_equal(write(path, &set, &training), AACLIP_OK);
    assert_int_equal(aaclip_adapters_open(&adapters, model, paths, 1, NULL), AACLIP_ERROR_MISMATCH);
    aac_parameters_clear(&set);
    aac_free(path);
}

static void both_forms_open_as_adapters(void **state)
{
    static const struct {
        const char *folder, *clip;
    } goldens[] = {{"openai-published", "clip.pt"},
                   {"state-dict-document", "clip.pt"},
                   {"huggingface-published-relu", "clip"}};
    for (size_t i = 0; i < 2 * sizeof goldens / sizeof *goldens; i++) {
        const char *folder = goldens[i / 2].folder;
        char *clip = aac_format(GOLDEN_DIR "/model/%s/%s", folder, goldens[i / 2].clip);
        char *text = aac_format(GOLDEN_DIR "/model/%s/text_adapter.pth", folder);
        char *image = aac_format(GOLDEN_DIR "/model/%s/image_adapter_20.pth", folder);
        aaclip_model *model;
        assert_int_equal(aaclip_model_open(&model, clip, NULL), AACLIP_OK);
        check_opening(state, model, text, AAC_SIDE_TEXT, forms[i % 2]);
        check_opening(state, model, image, AAC_SIDE_IMAGE, forms[i % 2]);
        aaclip_model_close(&model);
        aac_free(clip);
        aac_free(text);
        aac_free(image);
    }
}

static aaclip_status write_and_read(void *user)
{
    aac_parameter_set set;
    aac_training_state training;
    aac_training_found found;
    aaclip_status status = training_sample_make(&set, &training, AAC_SIDE_IMAGE, "document");
    for (size_t i = 0; !status && i < 2; i++) {
        status = forms[i](user, &set, &training);
        if (!status)
            status = aac_training_read(&set, &training, &found, user);
    }
    aac_parameters_clear(&set);
    aac_training_state_clear(&training);
    return status;
}

static void every_failed_allocation_is_reported(void **state)
{
    char *path = in_folder(state, "failing");
    assert_true(fail_each_allocation(write_and_read, path) > 100);
    aac_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_named_in_the_order_of_pytorch),
        cmocka_unit_test(everything_comes_back_from_both_forms),
        cmocka_unit_test(projections_go_by_either_name),
        cmocka_unit_test(extreme_numbers_come_back),
        cmocka_unit_test(a_first_step_is_still_to_come),
        cmocka_unit_test(what_cannot_be_resumed_is_not_written),
        cmocka_unit_test(wrong_texts_are_refused),
        cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(other_writers_leave_the_progress_to_the_caller),
        cmocka_unit_test(a_checkpoint_of_pytorch_is_read),
        cmocka_unit_test(both_forms_open_as_adapters),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("adapter files", tests, scratch_folder_make,
                                       scratch_folder_remove);
}
