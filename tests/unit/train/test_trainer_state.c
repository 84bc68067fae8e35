/* Saved states: resuming from them is exact, and those of other settings are refused. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/memory.h"
#include "core/platform.h"
#include "scratch_tree.h"
#include "trainer_fixture.h"

static const aaclip_stage stages[] = {AACLIP_STAGE_TEXT, AACLIP_STAGE_IMAGE};

static char *in_folder(void **state, const char *name)
{
    return aac_format("%s/%s", (const char *)*state, name);
}

/* Runs `steps` and records each step's loss. */
static void record(aaclip_trainer *trainer, unsigned steps, double *totals)
{
    for (unsigned i = 0; i < steps; i++) {
        aaclip_losses losses = {.size = sizeof losses};
        must(aaclip_trainer_step(trainer, &losses));
        totals[i] = losses.total;
    }
}

enum { RESUMED_STEPS = 6 };

static void resume_at(void **state, const training *setup, unsigned step, const char *name,
                      const aaclip_trainer *expected, const double *totals)
{
    char *path = in_folder(state, name);
    double found[RESUMED_STEPS];
    aaclip_trainer *saving = training_run(setup, step);
    must(aaclip_trainer_save(saving, path));
    aaclip_trainer_close(&saving);
    aaclip_trainer *resumed = training_run(setup, 1); /* it may stand anywhere */
    must(aaclip_trainer_load(resumed, path));
    assert_int_equal(progress_of(resumed).step, step);
    record(resumed, RESUMED_STEPS - step, found);
    assert_memory_equal(found, totals + step, (RESUMED_STEPS - step) * sizeof *found);
    assert_true(same_state(resumed, expected));
    aaclip_trainer_close(&resumed);
    aac_free(path);
}

/* Before the first step, within an epoch of 4 steps, at its end, and within the next. */
static void resume_is_exact(void **state)
{
    static const unsigned steps[] = {0, 1, 3, 4, 5};
    static const char *const names[] = {"state.pth", "state.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        training setup;
        double totals[RESUMED_STEPS];
        training_open_random(&setup, stages[i], NULL);
        setup.options.milestones[0] = 2;
        setup.options.milestone_count = 1;
        aaclip_trainer *whole = training_start(&setup);
        record(whole, RESUMED_STEPS, totals);
        for (size_t j = 0; j < sizeof steps / sizeof *steps; j++)
            for (size_t k = 0; k < 2; k++)
                resume_at(state, &setup, steps[j], names[k], whole, totals);
        aaclip_trainer_close(&whole);
        training_close(&setup);
    }
}

/* That of trainer.h: from the beginning, within an epoch, at the end of one and of the last. */
static void the_loop_of_the_header_ends_in_time(void **state)
{
    static const unsigned steps[] = {0, 1, 4, 5, 8};
    char *path = in_folder(state, "state.pth");
    training setup;
    training_open_random(&setup, AACLIP_STAGE_TEXT, NULL);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        aaclip_trainer *trainer = training_run(&setup, steps[i]);
        must(aaclip_trainer_save(trainer, path));
        aaclip_trainer_close(&trainer);
        trainer = training_start(&setup);
        must(aaclip_trainer_load(trainer, path));
        aaclip_training_progress progress = {.size = sizeof progress};
        aaclip_losses losses = {.size = sizeof losses};
        aaclip_status status = AACLIP_OK;
        while (!status && !aaclip_trainer_get_progress(trainer, &progress) &&
               progress.step < 2 * progress.epoch_steps)
            status = aaclip_trainer_epoch(trainer, &losses);
        must(status);
        assert_int_equal(progress.step, 8);
        assert_int_equal(progress.epoch, 2);
        aaclip_trainer_close(&trainer);
    }
    training_close(&setup);
    aac_free(path);
}

static void change_batch(training *setup)
{
    setup->options.batch_size = 4;
}

static void change_size(training *setup)
{
    setup->options.image_size = 84;
}

static void change_seed(training *setup) /* equal as doubles */
{
    setup->options.seed++;
}

static void change_rate(training *setup)
{
    setup->options.learning_rate *= 1 + 1e-15;
}

static void change_beta(training *setup)
{
    setup->options.beta1 = 0.9;
}

static void change_gamma(training *setup)
{
    setup->options.gamma = 0.25;
}

static void change_milestones(training *setup)
{
    setup->options.milestone_count = 1;
}

static void change_milestone(training *setup)
{
    setup->options.milestones[1]++;
}

static void change_order(training *setup)
{
    setup->options.no_shuffle = true;
}

static void change_augmentation(training *setup)
{
    setup->options.no_augmentation = true;
}

static void change_focal(training *setup)
{
    setup->options.balanced_focal = true;
}

static void change_scales(training *setup)
{
    setup->options.scales = AACLIP_SCALES_SUM;
}

static void change_weight(training *setup)
{
    setup->options.orthogonal_weight = 0.2;
}

static void change_surgery(training *setup)
{
    setup->options.surgery_blocks = 1;
}

static void change_phrases(training *setup)
{
    setup->options.phrases = NULL;
}

static void change_prompts(training *setup)
{
    setup->options.prompts = REFERENCE_DIR "/prompts-document.json";
}

static void change_samples(training *setup)
{
    aaclip_dataset *few;
    must(aaclip_dataset_sample(&few, setup->dataset, 1, 0));
    aaclip_dataset_close(&setup->dataset);
    setup->dataset = few;
}

static void change_blend(training *setup)
{
    static aaclip_config config;
    must(aaclip_config_init(&config, AACLIP_PROFILE_PUBLISHED));
    config.image_adapter_weight = 0.2f;
    setup->options.config = &config;
}

static void change_levels(training *setup)
{
    static aaclip_config config;
    must(aaclip_config_init(&config, AACLIP_PROFILE_PUBLISHED));
    config.level_count = 3;
    config.levels[0] = 1;
    config.levels[1] = 2;
    config.levels[2] = 4;
    setup->options.config = &config;
}

static void change_profile(training *setup)
{
    static aaclip_config config;
    must(aaclip_config_init(&config, AACLIP_PROFILE_DOCUMENT));
    config.activation = AACLIP_ACTIVATION_GELU; /* as the text vectors were made */
    config.normalize_class_vector = true;
    setup->options.config = &config;
}

/* Vectors of the plain text tower. */
static void change_text(training *setup)
{
    aaclip_text_cache_options options;
    aaclip_config config;
    aaclip_text_cache_options_init(&options);
    must(aaclip_config_init(&config, AACLIP_PROFILE_PUBLISHED));
    options.vocabulary = GOLDEN_DIR "/nano";
    options.config = &config;
    aaclip_text_cache_close(&setup->cache);
    must(aaclip_text_cache_new(&setup->cache, setup->model, NULL, &options));
    for (size_t i = 0; i < aaclip_dataset_class_count(setup->dataset); i++) {
        const char *name = aaclip_dataset_class_name(setup->dataset, i);
        must(aaclip_text_cache_build(setup->cache, &name, &name, 1));
    }
}

static void refuse_state(const training *setup, const char *path, const char *words)
{
    aaclip_trainer *trainer = training_run(setup, 1), *untouched = training_run(setup, 1);
    float *before = copy_of_state(trainer);
    must_fail(aaclip_trainer_load(trainer, path), AACLIP_ERROR_MISMATCH, path, words, NULL);
    assert_true(state_is(trainer, before));
    assert_true(same_state(trainer, untouched));
    run_steps(trainer, 1);
    run_steps(untouched, 1);
    assert_true(same_state(trainer, untouched));
    aac_free(before);
    aaclip_trainer_close(&trainer);
    aaclip_trainer_close(&untouched);
}

static void open_saved(training *setup, aaclip_stage stage)
{
    training_open_random(setup, stage, NULL);
    setup->options.seed = UINT64_C(1) << 53;
    setup->options.milestones[0] = 100;
    setup->options.milestones[1] = (UINT64_C(1) << 53) - 1;
    setup->options.milestone_count = 2;
}

static void other_settings_are_refused(void **state)
{
    static const struct {
        aaclip_stage stage;
        void (*change)(training *setup);
        const char *words;
    } changes[] = {
        {AACLIP_STAGE_IMAGE, change_batch, "step_images: expected 4, found 2"},
        {AACLIP_STAGE_IMAGE, change_size, "image_size: expected 84, found 56"},
        {AACLIP_STAGE_IMAGE, change_seed, "seed: expected 9007199254740993, found"},
        {AACLIP_STAGE_IMAGE, change_rate, "learning rate"},
        {AACLIP_STAGE_IMAGE, change_beta, "first beta: expected 0.9"},
        {AACLIP_STAGE_IMAGE, change_gamma, "gamma: expected 0.25, found 0.5"},
        {AACLIP_STAGE_IMAGE, change_milestones, "number of milestones: expected 1, found 2"},
        {AACLIP_STAGE_IMAGE, change_milestone, "milestone: expected 9007199254740992, found"},
        {AACLIP_STAGE_IMAGE, change_order, "shuffle: expected false, found true"},
        {AACLIP_STAGE_IMAGE, change_augmentation, "augmentation: expected false, found true"},
        {AACLIP_STAGE_IMAGE, change_focal, "balanced_focal: expected true, found false"},
        {AACLIP_STAGE_IMAGE, change_samples, "was trained on another list of images"},
        {AACLIP_STAGE_IMAGE, change_blend, "image_adapter_weight: expected 0.2"},
        {AACLIP_STAGE_IMAGE, change_levels, "image_adapter.seg_proj.3.fc.weight"},
        {AACLIP_STAGE_IMAGE, change_profile, "image_adapter.layer_adapters.0.fc1.weight"},
        {AACLIP_STAGE_IMAGE, change_text, "text adapters 0000000000000000"},
        {AACLIP_STAGE_TEXT, change_scales, "scales: expected 0, found 1"},
        {AACLIP_STAGE_TEXT, change_weight, "orthogonal_weight: expected 0.2"},
        {AACLIP_STAGE_TEXT, change_surgery, "surgery_blocks: expected 1, found 0"},
        {AACLIP_STAGE_TEXT, change_phrases, "phrases: expected \"\", found \"MVTec\""},
        {AACLIP_STAGE_TEXT, change_prompts, "prompts"},
        {AACLIP_STAGE_TEXT, change_profile, "text_adapter.0.fc1.weight"},
    };
    char *paths[] = {in_folder(state, "text.pth"), in_folder(state, "image.pth")};
    training setup;
    for (size_t i = 0; i < 2; i++) {
        open_saved(&setup, stages[i]);
        aaclip_trainer *trainer = training_run(&setup, 3);
        must(aaclip_trainer_save(trainer, paths[i]));
        aaclip_trainer_close(&trainer);
        training_close(&setup);
    }
    for (size_t i = 0; i < 2; i++) {
        open_saved(&setup, stages[i]);
        refuse_state(&setup, paths[!i], i ? "image_adapter" : "text_adapter");
        training_close(&setup);
    }
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        open_saved(&setup, changes[i].stage);
        changes[i].change(&setup);
        refuse_state(&setup, paths[changes[i].stage == AACLIP_STAGE_IMAGE], changes[i].words);
        training_close(&setup);
    }
    aac_free(paths[0]);
    aac_free(paths[1]);
}

static char *save_flipped_model(void **state, const aaclip_model *model)
{
    char *path = in_folder(state, "clip.safetensors");
    must(aaclip_model_save(model, path, false));
    FILE *file = fopen(path, "r+b");
    uint64_t header;
    assert_int_equal(fread(&header, sizeof header, 1, file), 1);
    fseek(file, (long)(sizeof header + header), SEEK_SET);
    for (float value; fread(&value, sizeof value, 1, file) == 1;) {
        value = -value;
        fseek(file, -(long)sizeof value, SEEK_CUR);
        fwrite(&value, sizeof value, 1, file);
        fseek(file, 0, SEEK_CUR);
    }
    assert_int_equal(fclose(file), 0);
    return path;
}

static void other_models_are_refused(void **state)
{
    training setup;
    aaclip_model_options options;
    char *saved = in_folder(state, "state.safetensors");
    aaclip_model_options_init(&options);
    options.threads = 1;
    training_open_random(&setup, AACLIP_STAGE_TEXT, NULL);
    aaclip_trainer *trainer = training_run(&setup, 1);
    must(aaclip_trainer_save(trainer, saved));
    aaclip_trainer_close(&trainer);
    char *path = save_flipped_model(state, setup.model);
    aaclip_model_close(&setup.model);
    must(aaclip_model_open(&setup.model, path, &options));
    refuse_state(&setup, saved, "training state for model");
    training_close(&setup);

    /* nor does a cache of another model's vectors serve */
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    aaclip_model_close(&setup.model);
    must(aaclip_model_open(&setup.model, path, &options));
    must_fail(aaclip_trainer_new(&trainer, setup.model, setup.dataset, setup.cache, &setup.options),
              AACLIP_ERROR_MISMATCH, "different text tower", NULL);
    assert_null(trainer);
    training_close(&setup);
    aac_free(path);
    aac_free(saved);
}

static void spoilt_states_are_refused(void **state)
{
    training setup;
    char *path = in_folder(state, "state.pth");
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    aaclip_trainer *trainer = training_run(&setup, 1);
    must(aaclip_trainer_save(trainer, path));
    float *before = copy_of_state(trainer);
    aac_mapping file;
    must(aac_map_file(&file, path));
    char *cut = in_folder(state, "cut.pth");
    for (size_t part = 0; part < 8; part++) {
        FILE *out = fopen(cut, "wb");
        fwrite(file.data, 1, file.size * part / 8, out);
        assert_int_equal(fclose(out), 0);
        must_fail(aaclip_trainer_load(trainer, cut), AACLIP_ERROR_FORMAT, cut, NULL);
        assert_true(state_is(trainer, before));
    }
    aac_unmap_file(&file);
    must_fail(aaclip_trainer_load(trainer, "/nowhere/state.pth"), AACLIP_ERROR_NOT_FOUND,
              "/nowhere/state.pth", NULL);
    must_fail(aaclip_trainer_save(trainer, "/nowhere/state.pth"), AACLIP_ERROR_IO,
              "/nowhere/state.pth", NULL);
    assert_true(state_is(trainer, before));
    run_steps(trainer, 1);
    aaclip_trainer_close(&trainer);
    training_close(&setup);
    aac_free(before);
    aac_free(cut);
    aac_free(path);
}

#define WITH_FOLDER(test)                                                                          \
    cmocka_unit_test_setup_teardown(test, scratch_tree_make, scratch_tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(resume_is_exact),
        WITH_FOLDER(the_loop_of_the_header_ends_in_time),
        WITH_FOLDER(other_settings_are_refused),
        WITH_FOLDER(other_models_are_refused),
        WITH_FOLDER(spoilt_states_are_refused),
    };
    return cmocka_run_group_tests_name("trainer states", tests, NULL, NULL);
}
