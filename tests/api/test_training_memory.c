/* Training and data sets with each of their allocations failing; see test_memory.c. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "failing_heap.h"
#include "fixture.h"
#include "scratch.h"

typedef struct training_scene {
    fixture all;
    aaclip_dataset *dataset;
    aaclip_trainer *trainer;
} training_scene;

typedef struct training_step {
    const char *name;
    aaclip_stage stage; /* 0: no trainer is made */
    aaclip_status (*call)(training_scene *scene, aaclip_stage stage);
    bool alone;  /* without model and data set */
    bool writes; /* the file `out` */
} training_step;

static char *folder;
static scratch_file out, kept, prompts; /* output of calls; a state to load; a few prompts */

static aaclip_status new_trainer(training_scene *scene, aaclip_stage stage)
{
    aaclip_trainer_options options;
    must(aaclip_trainer_options_init(&options, stage, AACLIP_PROFILE_PUBLISHED));
    options.image_size = 56;
    options.batch_size = 2;
    options.loader_threads = 1;
    if (stage == AACLIP_STAGE_TEXT)
        options.prompts = prompts.path;
    options.initial = scene->all.adapters;
    scene->trainer = (aaclip_trainer *)scene;
    return aaclip_trainer_new(&scene->trainer, scene->all.model, scene->dataset,
                              stage == AACLIP_STAGE_IMAGE ? scene->all.cache : NULL, &options);
}

static void add_classes(training_scene *scene)
{
    float vectors[2][4096] = {{0}};
    vectors[0][0] = vectors[1][1] = 1;
    must(aaclip_text_cache_new(&scene->all.cache, scene->all.model, scene->all.adapters, NULL));
    must(aaclip_text_cache_add(scene->all.cache, "wood", vectors[0], vectors[1]));
    must(aaclip_text_cache_add(scene->all.cache, "metal_nut", vectors[1], vectors[0]));
}

static void prepare(training_scene *scene, const training_step *step)
{
    if (step->alone)
        return;
    scene->all.model = open_model(NULL, 1);
    scene->all.adapters = open_adapters(scene->all.model, "published");
    aaclip_dataset *whole = open_training_set();
    must(aaclip_dataset_sample(&scene->dataset, whole, 1, 0)); /* four images */
    aaclip_dataset_close(&whole);
    add_classes(scene);
    if (step->stage && step->call != new_trainer)
        must(new_trainer(scene, step->stage));
}

static void clear(training_scene *scene)
{
    aaclip_trainer_close(&scene->trainer);
    aaclip_dataset_close(&scene->dataset);
    fixture_close(&scene->all);
}

static aaclip_status call_open(training_scene *scene, aaclip_stage stage)
{
    (void)stage;
    scene->dataset = (aaclip_dataset *)scene;
    return aaclip_dataset_open(&scene->dataset, TRAINING_SET, NULL);
}

static aaclip_status call_open_folder(training_scene *scene, aaclip_stage stage)
{
    (void)stage;
    scene->dataset = (aaclip_dataset *)scene;
    return aaclip_dataset_open(&scene->dataset, GOLDEN_DIR "/train/images", NULL);
}

static aaclip_status call_sample(training_scene *scene, aaclip_stage stage)
{
    (void)stage;
    aaclip_dataset *few = (aaclip_dataset *)scene;
    aaclip_status status = aaclip_dataset_sample(&few, scene->dataset, 1, 7);
    assert_int_equal(status != AACLIP_OK, !few);
    aaclip_dataset_close(&few);
    return status;
}

static aaclip_status call_save_manifest(training_scene *scene, aaclip_stage stage)
{
    (void)stage;
    return aaclip_dataset_save_manifest(scene->dataset, out.path);
}

static aaclip_status call_step(training_scene *scene, aaclip_stage stage)
{
    (void)stage;
    aaclip_losses losses = {.size = sizeof losses};
    return aaclip_trainer_step(scene->trainer, &losses);
}

static aaclip_status call_evaluate(training_scene *scene, aaclip_stage stage)
{
    (void)stage;
    aaclip_losses losses = {.size = sizeof losses};
    return aaclip_trainer_evaluate(scene->trainer, scene->dataset, &losses);
}

static aaclip_status call_adapters(training_scene *scene, aaclip_stage stage)
{
    (void)stage;
    aaclip_adapters *adapters = (aaclip_adapters *)scene;
    aaclip_status status = aaclip_trainer_adapters(&adapters, scene->trainer);
    assert_int_equal(status != AACLIP_OK, !adapters);
    aaclip_adapters_close(&adapters);
    return status;
}

static aaclip_status call_save(training_scene *scene, aaclip_stage stage)
{
    (void)stage;
    return aaclip_trainer_save(scene->trainer, out.path);
}

static aaclip_status call_load(training_scene *scene, aaclip_stage stage)
{
    (void)stage;
    return aaclip_trainer_load(scene->trainer, kept.path);
}

/* Training goes on; an image that was loaded ahead may tell of the failure once more. */
static void check_whole(training_scene *scene, aaclip_stage stage)
{
    aaclip_status status = call_step(scene, stage);
    if (status == AACLIP_ERROR_OUT_OF_MEMORY)
        status = call_step(scene, stage);
    must(status);
}

static int run_step(int fail_at, bool fail_after, const void *user)
{
    const training_step *step = user;
    training_scene scene = {.trainer = NULL};
    size_t count = scratch_count(folder);
    assert_int_equal(heap_open_count(), 0);
    prepare(&scene, step);
    heap_arm(fail_at, fail_after);
    aaclip_status status = step->call(&scene, step->stage);
    int made = heap_disarm();
    if (status && (status != AACLIP_ERROR_OUT_OF_MEMORY || fail_at < 0))
        fail_msg("%s: %s", aaclip_status_string(status), aaclip_last_error());
    if (status && step->alone)
        assert_null(scene.dataset);
    if (status && step->call == new_trainer)
        assert_null(scene.trainer);
    else if (status && step->stage)
        check_whole(&scene, step->stage);
    assert_int_equal(scratch_count(folder), count + (step->writes && !status));
    remove(out.path);
    clear(&scene);
    assert_int_equal(heap_open_count(), 0);
    return made;
}

static void run_steps(const training_step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fail_each_allocation(steps[i].name, run_step, &steps[i]);
}

#define run_all(steps) run_steps(steps, sizeof(steps) / sizeof *(steps))

static void data_sets(void **state)
{
    (void)state;
    const training_step steps[] = {
        {"open a manifest", 0, call_open, .alone = true},
        {"open a folder", 0, call_open_folder, .alone = true},
        {"sample", 0, call_sample, .alone = false},
        {"save a manifest", 0, call_save_manifest, .writes = true},
    };
    run_all(steps);
}

static void make_state(aaclip_stage stage)
{
    training_scene scene = {.trainer = NULL};
    const training_step step = {"make a state", stage, call_step, .alone = false};
    prepare(&scene, &step);
    must(call_step(&scene, stage));
    must(aaclip_trainer_save(scene.trainer, kept.path));
    clear(&scene);
}

static void train(aaclip_stage stage)
{
    const training_step steps[] = {
        {"new", stage, new_trainer, .alone = false},
        {"step", stage, call_step, .alone = false},
        {"evaluate", stage, call_evaluate, .alone = false},
        {"adapters", stage, call_adapters, .alone = false},
        {"save", stage, call_save, .writes = true},
        {"load", stage, call_load, .alone = false},
    };
    make_state(stage);
    run_all(steps);
    remove(kept.path);
}

static void text_stage(void **state)
{
    (void)state;
    out = scratch_path(folder, "out.pth");
    kept = scratch_path(folder, "kept.pth");
    train(AACLIP_STAGE_TEXT);
}

static void image_stage(void **state)
{
    (void)state;
    out = scratch_path(folder, "out.safetensors");
    kept = scratch_path(folder, "kept.safetensors");
    train(AACLIP_STAGE_IMAGE);
}

static int make_folder(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    folder = *state;
    out = scratch_path(folder, "out");
    prompts = scratch_path(folder, "prompts");
    scratch_write(prompts.path,
                  "{\"normal\": [\"{}\"], \"abnormal\": [\"bad {}\"],"
                  " \"templates\": [\"a {}\"]}");
    heap_install();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_sets),
        cmocka_unit_test(text_stage),
        cmocka_unit_test(image_stage),
    };
    return cmocka_run_group_tests_name("training memory", tests, make_folder, scratch_remove);
}
