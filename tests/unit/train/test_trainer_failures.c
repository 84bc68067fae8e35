/* Failures are reported, change nothing, and the trainer continues. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/memory.h"
#include "scratch_tree.h"
#include "trainer_fixture.h"

static const aaclip_stage stages[] = {AACLIP_STAGE_TEXT, AACLIP_STAGE_IMAGE};

static char *in_folder(void **state, const char *name)
{
    return aac_format("%s/%s", (const char *)*state, name);
}

/* Saves the random adapters of `setup` with the largest values of float32. */
static void save_huge(const training *setup, const char *path)
{
    aaclip_trainer *trainer = training_start(setup);
    for (size_t i = 0; i < trainer->parameters.count; i++)
        for (size_t j = 0; j < aac_parameter_elements(&trainer->parameters.items[i]); j++)
            trainer->parameters.items[i].value[j] *= 1e38f;
    must(aaclip_trainer_save(trainer, path));
    aaclip_trainer_close(&trainer);
}

/* The loss of huge adapters is no number; sound ones loaded instead train as ever. */
static void a_loss_that_is_no_number_changes_nothing(void **state)
{
    char *huge = in_folder(state, "huge.safetensors"), *sound = in_folder(state, "sound.pth");
    for (size_t i = 0; i < 2; i++) {
        training setup;
        training_open_random(&setup, stages[i], NULL);
        aaclip_trainer *plain = training_start(&setup);
        must(aaclip_trainer_save(plain, sound));
        run_steps(plain, 2);
        save_huge(&setup, huge);
        const char *const paths[] = {huge};
        aaclip_adapters_close(&setup.initial);
        must(aaclip_adapters_open(&setup.initial, setup.model, paths, 1, NULL));
        setup.options.initial = setup.initial;
        aaclip_trainer *trainer = training_start(&setup);
        float *before = copy_of_state(trainer);
        for (int again = 0; again < 2; again++)
            must_fail(aaclip_trainer_step(trainer, NULL), AACLIP_ERROR_BACKEND,
                      "step 1: expected a finite loss and gradient", NULL);
        must_fail(aaclip_trainer_epoch(trainer, NULL), AACLIP_ERROR_BACKEND, "step 1", NULL);
        assert_true(state_is(trainer, before));
        assert_int_equal(progress_of(trainer).step, 0);
        must(aaclip_trainer_load(trainer, sound));
        run_steps(trainer, 2);
        assert_true(same_state(trainer, plain));
        aac_free(before);
        aaclip_trainer_close(&trainer);
        aaclip_trainer_close(&plain);
        training_close(&setup);
    }
    aac_free(huge);
    aac_free(sound);
}

/* Two normal and two abnormal pictures of "wood". */
static void make_samples(const char *root)
{
    char path[32], text[1024] = "";
    for (uint32_t i = 0; i < 4; i++) {
        size_t length = strlen(text);
        snprintf(path, sizeof path, "%u.png", i);
        scratch_tree_noise(root, path, 60 + i, 70, i);
        snprintf(path, sizeof path, "%u_mask.png", i);
        scratch_tree_mask(root, path, 60 + i, 70, i);
        snprintf(text + length, sizeof text - length,
                 "{\"image_path\": \"%u.png\", \"label\": %u, \"class_name\": \"wood\"%s%s%s}\n", i,
                 i % 2, i % 2 ? ", \"mask_path\": \"" : "", i % 2 ? path : "", i % 2 ? "\"" : "");
    }
    scratch_tree_text(root, "manifest.jsonl", text);
}

typedef struct damage {
    const char *file;
    void (*make)(const char *root, const char *file), (*repair)(const char *root, const char *file);
    aaclip_status status;
    const char *words;
} damage;

static void overwrite(const char *root, const char *file)
{
    scratch_tree_text(root, file, "no picture");
}

static void take_away(const char *root, const char *file)
{
    char *path = aac_format("%s/%s", root, file);
    assert_int_equal(remove(path), 0);
    aac_free(path);
}

static void enlarge(const char *root, const char *file)
{
    scratch_tree_mask(root, file, 99, 98, 3);
}

static void restore_image(const char *root, const char *file)
{
    scratch_tree_noise(root, file, 63, 70, 3);
}

static void restore_mask(const char *root, const char *file)
{
    scratch_tree_mask(root, file, 63, 70, 3);
}

/* Files that were there when the data set was opened, in the second half of an epoch. */
static void a_bad_sample_is_named_and_can_be_repaired(void **state)
{
    static const damage damages[] = {
        {"3.png", overwrite, restore_image, AACLIP_ERROR_UNSUPPORTED, NULL},
        {"3.png", take_away, restore_image, AACLIP_ERROR_NOT_FOUND, NULL},
        {"3_mask.png", overwrite, restore_mask, AACLIP_ERROR_UNSUPPORTED, NULL},
        {"3_mask.png", take_away, restore_mask, AACLIP_ERROR_NOT_FOUND, NULL},
        {"3_mask.png", enlarge, restore_mask, AACLIP_ERROR_MISMATCH, "63x70 pixels"},
    };
    make_samples(*state);
    for (size_t i = 0; i < 2 * sizeof damages / sizeof *damages; i++) {
        const damage *harm = &damages[i / 2];
        char *path = in_folder(state, harm->file);
        training setup;
        training_open(&setup, "published", stages[i % 2], NULL, *state);
        training_randomise(&setup);
        setup.options.no_shuffle = true;
        aaclip_trainer *plain = training_run(&setup, 3), *trainer = training_start(&setup);
        harm->make(*state, harm->file);
        run_steps(trainer, 1);
        float *before = copy_of_state(trainer);
        for (int again = 0; again < 2; again++)
            must_fail(aaclip_trainer_step(trainer, NULL), harm->status, path, harm->words, NULL);
        must_fail(aaclip_trainer_evaluate(trainer, setup.dataset,
                                          &(aaclip_losses){.size = sizeof(aaclip_losses)}),
                  harm->status, path, NULL);
        assert_true(state_is(trainer, before));
        assert_int_equal(progress_of(trainer).step, 1);
        harm->repair(*state, harm->file);
        run_steps(trainer, 2);
        assert_true(same_state(trainer, plain));
        aac_free(before);
        aac_free(path);
        aaclip_trainer_close(&trainer);
        aaclip_trainer_close(&plain);
        training_close(&setup);
    }
}

/* Fails one allocation, and those that are as large as `limit`. */
typedef struct short_memory {
    atomic_int left; /* allocations before the one that fails */
    size_t limit;
    atomic_size_t largest; /* asked for so far */
} short_memory;

static void *allocate(size_t size, void *user)
{
    short_memory *memory = user;
    if (size > atomic_load(&memory->largest))
        atomic_store(&memory->largest, size);
    bool fails = atomic_fetch_sub(&memory->left, 1) == 0 || size >= memory->limit;
    return fails ? NULL : malloc(size);
}

static void deallocate(void *pointer, void *user)
{
    (void)user;
    free(pointer);
}

/* A class with longer prompts than those before, whose plans and memory are made then. */
static aaclip_dataset *long_names(void **state)
{
    make_samples(*state);
    char text[1024] = "", *manifest = in_folder(state, "long.jsonl");
    for (unsigned i = 0; i < 4; i++) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length,
                 "{\"image_path\": \"%u.png\", \"label\": %u, \"class_name\": "
                 "\"%u_a_b_c_d_e_f_g_h_i_j_k_l_m_n_o_p_q_r_s_t_u_v_w_x\"",
                 i, i % 2, i / 2);
        length = strlen(text);
        snprintf(text + length, sizeof text - length,
                 i % 2 ? ", \"mask_path\": \"%u_mask.png\"}\n" : "}\n", i);
    }
    scratch_tree_text(*state, "long.jsonl", text);
    aaclip_dataset *dataset;
    must(aaclip_dataset_open(&dataset, manifest, NULL));
    aac_free(manifest);
    return dataset;
}

/* Evaluates with little memory, then trains and evaluates with enough. */
static aaclip_status evaluate_short(const training *setup, const aaclip_dataset *other,
                                    short_memory *memory, const aaclip_trainer *expected)
{
    aaclip_losses losses = {.size = sizeof losses};
    aaclip_trainer *trainer = training_run(setup, 1);
    aaclip_set_allocator(&(aaclip_allocator){allocate, deallocate, memory});
    aaclip_status status = aaclip_trainer_evaluate(trainer, other, &losses);
    aaclip_set_allocator(NULL);
    if (status)
        must_fail(status, AACLIP_ERROR_OUT_OF_MEMORY, "out of memory", NULL);
    aaclip_status first = aaclip_trainer_step(trainer, NULL);
    if (first == AACLIP_ERROR_OUT_OF_MEMORY) /* what was read ahead meanwhile had little, too */
        first = aaclip_trainer_step(trainer, NULL);
    must(first);
    assert_true(same_state(trainer, expected));
    must(aaclip_trainer_evaluate(trainer, other, &losses));
    aaclip_trainer_close(&trainer);
    return status;
}

static void running_out_of_memory_spoils_nothing(void **state)
{
    enum { STRIDE = 11 };
    training setup;
    aaclip_dataset *other = long_names(state);
    training_open_random(&setup, AACLIP_STAGE_TEXT, NULL);
    aaclip_trainer *plain = training_run(&setup, 2);
    short_memory memory = {.left = -1, .limit = SIZE_MAX};
    must(evaluate_short(&setup, other, &memory, plain));
    short_memory largest = {.left = -1, .limit = memory.largest};
    assert_int_equal(evaluate_short(&setup, other, &largest, plain), AACLIP_ERROR_OUT_OF_MEMORY);
    int failures = 0;
    bool met =
        true; /* by the evaluation, or by training's samples, which are read ahead meanwhile */
    for (int left = 0; met; left += STRIDE) {
        short_memory once = {.left = left, .limit = SIZE_MAX};
        failures += evaluate_short(&setup, other, &once, plain) != AACLIP_OK;
        met = atomic_load(&once.left) < 0;
    }
    assert_true(failures > 10);
    aaclip_trainer_close(&plain);
    aaclip_dataset_close(&other);
    training_close(&setup);
}

static void no_batch(training *setup)
{
    setup->options.batch_size = 0;
}

static void no_accumulation(training *setup)
{
    setup->options.accumulate = 0;
}

static void no_rate(training *setup)
{
    setup->options.learning_rate = NAN;
}

static void huge_rate(training *setup)
{
    setup->options.learning_rate = 1e30;
}

static void large_beta(training *setup)
{
    setup->options.beta2 = 1;
}

static void falling_milestones(training *setup)
{
    setup->options.milestones[1] = setup->options.milestones[0];
}

static void endless_milestone(training *setup)
{
    setup->options.milestones[1] = UINT64_MAX;
}

static void rising_gamma(training *setup)
{
    setup->options.gamma = 1.5;
}

static void broken_size(training *setup)
{
    setup->options.image_size = 57;
}

static void too_many_blocks(training *setup)
{
    setup->options.surgery_blocks = 5;
}

static void no_cache(training *setup)
{
    aaclip_text_cache_close(&setup->cache);
}

static void empty_cache(training *setup)
{
    aaclip_text_cache_close(&setup->cache);
    must(aaclip_text_cache_new(&setup->cache, setup->model, setup->initial, NULL));
}

/* Vectors that detection with the trained adapters would not have. */
static void other_configuration(training *setup)
{
    static const char *const name[] = {"wood"};
    aaclip_config config;
    aaclip_text_cache_options options;
    must(aaclip_config_init(&config, setup->options.profile == AACLIP_PROFILE_PUBLISHED
                                         ? AACLIP_PROFILE_DOCUMENT
                                         : AACLIP_PROFILE_PUBLISHED));
    must(aaclip_text_cache_options_init(&options));
    options.config = &config;
    aaclip_text_cache_close(&setup->cache);
    must(aaclip_text_cache_new(&setup->cache, setup->model, NULL, &options));
    must(aaclip_text_cache_build(setup->cache, name, name, 1));
}

static void unknown_folder_of_log(training *setup)
{
    setup->options.log = "/nowhere/log.jsonl";
}

static void other_handle(training *setup)
{
    setup->options.initial = setup->initial;
    aaclip_model_close(&setup->model);
    must(aaclip_model_open(&setup->model, GOLDEN_DIR "/nano/clip.pt", NULL));
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    static const struct {
        void (*make)(training *setup);
        aaclip_status status;
        const char *words;
    } cases[] = {
        {no_batch, AACLIP_ERROR_INVALID_ARGUMENT, "batch_size: expected 1 to 65536, found 0"},
        {no_accumulation, AACLIP_ERROR_INVALID_ARGUMENT, "accumulate: expected 1 to 65536"},
        {no_rate, AACLIP_ERROR_INVALID_ARGUMENT, "learning_rate: expected a positive number"},
        {huge_rate, AACLIP_ERROR_INVALID_ARGUMENT,
         "learning_rate: expected a positive number, at most 1e6, found 1e+30"},
        {large_beta, AACLIP_ERROR_INVALID_ARGUMENT, "beta2: expected 0 or more and less than 1"},
        {falling_milestones, AACLIP_ERROR_INVALID_ARGUMENT, "milestones: expected ascending steps"},
        {endless_milestone, AACLIP_ERROR_INVALID_ARGUMENT, "milestones: expected at most 2^53"},
        {rising_gamma, AACLIP_ERROR_INVALID_ARGUMENT, "gamma: expected 0 to 1, found 1.5"},
        {broken_size, AACLIP_ERROR_INVALID_ARGUMENT, "57"},
        {too_many_blocks, AACLIP_ERROR_INVALID_ARGUMENT, "surgery_blocks"},
        {no_cache, AACLIP_ERROR_INVALID_ARGUMENT, "stage 2 needs a text cache"},
        {empty_cache, AACLIP_ERROR_NOT_FOUND, "wood"},
        {other_configuration, AACLIP_ERROR_MISMATCH, "text cache: activation"},
        {unknown_folder_of_log, AACLIP_ERROR_IO, "/nowhere/log.jsonl"},
        {other_handle, AACLIP_ERROR_MISMATCH, "another model handle"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        training setup;
        training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
        cases[i].make(&setup);
        aaclip_trainer *trainer = (aaclip_trainer *)&setup;
        must_fail(
            aaclip_trainer_new(&trainer, setup.model, setup.dataset, setup.cache, &setup.options),
            cases[i].status, cases[i].words, NULL);
        assert_null(trainer);
        training_close(&setup);
    }
}

/* A class of one kind of images only, and images whose kind is not known. */
static void sets_that_cannot_train_are_refused(void **state)
{
    static const struct {
        const char *text, *words;
    } sets[] = {
        {"{\"image_path\": \"0.png\", \"label\": 0, \"class_name\": \"wood\"}\n",
         "found 1 normal, 0 abnormal, 0 without a label"},
        {"{\"image_path\": \"1.png\", \"label\": 1, \"class_name\": \"wood\", \"mask_path\": "
         "\"1_mask.png\"}\n",
         "found 0 normal, 1 abnormal, 0 without a label"},
        {"{\"image_path\": \"0.png\", \"label\": 0, \"class_name\": \"wood\"}\n"
         "{\"image_path\": \"1.png\", \"label\": 1, \"class_name\": \"wood\"}\n",
         "1.png: expected a mask for this abnormal image, found none"},
    };
    make_samples(*state);
    training setup;
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    aaclip_trainer *trainer = training_start(&setup), *other;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        char *path = in_folder(state, "set.jsonl");
        scratch_tree_text(*state, "set.jsonl", sets[i].text);
        aaclip_dataset *dataset;
        must(aaclip_dataset_open(&dataset, path, NULL));
        aaclip_status status =
            aaclip_trainer_new(&other, setup.model, dataset, setup.cache, &setup.options);
        assert_null(other);
        assert_true(status == AACLIP_ERROR_MISMATCH || status == AACLIP_ERROR_INVALID_ARGUMENT);
        must_fail(status, status, sets[i].words, NULL);
        aaclip_dataset_close(&dataset);
        aac_free(path);
    }
    run_steps(trainer, 1);
    aaclip_trainer_close(&trainer);
    training_close(&setup);
}

/* As the text cache takes them; the underscores are one space. */
static void long_class_names_train(void **state)
{
    char name[600] = "wood", text[4096] = "";
    memset(name + strlen(name), '_', sizeof name - strlen(name) - 1);
    make_samples(*state);
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length,
                 "{\"image_path\": \"%d.png\", \"label\": %d, \"class_name\": \"%s\"%s}\n", i, i,
                 name, i ? ", \"mask_path\": \"1_mask.png\"" : "");
    }
    scratch_tree_text(*state, "long.jsonl", text);
    char *path = in_folder(state, "long.jsonl");
    training setup;
    training_open_random(&setup, AACLIP_STAGE_TEXT, NULL);
    aaclip_dataset_close(&setup.dataset);
    must(aaclip_dataset_open(&setup.dataset, path, NULL));
    aaclip_trainer *trainer = training_run(&setup, 1);
    aaclip_trainer_close(&trainer);
    training_close(&setup);
    aac_free(path);
}

#define WITH_FOLDER(test)                                                                          \
    cmocka_unit_test_setup_teardown(test, scratch_tree_make, scratch_tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_loss_that_is_no_number_changes_nothing),
        WITH_FOLDER(a_bad_sample_is_named_and_can_be_repaired),
        WITH_FOLDER(running_out_of_memory_spoils_nothing),
        cmocka_unit_test(wrong_options_are_refused),
        WITH_FOLDER(sets_that_cannot_train_are_refused),
        WITH_FOLDER(long_class_names_train),
    };
    return cmocka_run_group_tests_name("trainer failures", tests, NULL, NULL);
}
