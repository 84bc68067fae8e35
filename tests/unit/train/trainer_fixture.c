#include "trainer_fixture.h"

#include <setjmp.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "core/memory.h"

#define NANO GOLDEN_DIR "/nano"

void must(aaclip_status status)
{
    if (status)
        fail_msg("%s: %s", aaclip_status_string(status), aaclip_last_error());
}

void must_fail(aaclip_status status, aaclip_status expected, ...)
{
    if (status != expected)
        fail_msg("expected \"%s\", found \"%s\": %s", aaclip_status_string(expected),
                 aaclip_status_string(status), status ? aaclip_last_error() : "");
    va_list words;
    va_start(words, expected);
    for (const char *word; (word = va_arg(words, const char *));)
        if (!strstr(aaclip_last_error(), word))
            fail_msg("no \"%s\" in: %s", word, aaclip_last_error());
    va_end(words);
}

void assert_near(double found, double expected, double most)
{
    if (!(fabs(found - expected) <= most))
        fail_msg("expected %.17g, found %.17g", expected, found);
}

static void open_initial(training *run, bool image)
{
    char *text_path = aac_format(NANO "/adapters-%s/text_adapter.pth", run->profile);
    char *image_path = aac_format(NANO "/adapters-%s/image_adapter_20.pth", run->profile);
    const char *const paths[] = {text_path, image_path};
    must(aaclip_adapters_open(&run->initial, run->model, paths, image ? 2 : 1, NULL));
    aac_free(text_path);
    aac_free(image_path);
}

static void build_cache(training *run)
{
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.vocabulary = NANO;
    must(aaclip_text_cache_new(&run->cache, run->model, run->initial, &options));
    for (size_t i = 0; i < aaclip_dataset_class_count(run->dataset); i++) {
        char phrase[512];
        const char *name = aaclip_dataset_class_name(run->dataset, i), *words = phrase;
        must(aaclip_class_phrase("MVTec", name, phrase, sizeof phrase));
        must(aaclip_text_cache_build(run->cache, &name, &words, 1));
    }
}

static void open_dataset(training *run, const char *root)
{
    char *manifest = aac_format("%s/manifest.jsonl", root ? root : GOLDEN_DIR "/train");
    must(aaclip_dataset_open(&run->dataset, manifest, NULL));
    aac_free(manifest);
}

void training_open(training *run, const char *profile, aaclip_stage stage,
                   const training_place *place, const char *root)
{
    aaclip_model_options options;
    aaclip_model_options_init(&options);
    options.threads = 1; /* of a small model: threads that wait for each other cost more */
    if (place) {
        options.backend = place->backend;
        options.precision = place->precision;
        options.threads = place->threads;
    }
    bool image = stage == AACLIP_STAGE_IMAGE;
    *run = (training){.profile = profile};
    must(aaclip_model_open(&run->model, NANO "/clip.pt", &options));
    open_dataset(run, root);
    open_initial(run, image);
    if (image)
        build_cache(run);
    bool published = strcmp(profile, "published") == 0;
    must(aaclip_trainer_options_init(
        &run->options, stage, published ? AACLIP_PROFILE_PUBLISHED : AACLIP_PROFILE_DOCUMENT));
    run->options.initial = run->initial;
    run->options.image_size = 112;
    run->options.no_augmentation = run->options.no_shuffle = true;
    run->options.vocabulary = NANO;
    run->options.phrases = "MVTec";
    if (!image) {
        run->options.batch_size = 4;
        run->options.learning_rate = 1e-4;
    }
}

void training_close(training *run)
{
    aaclip_text_cache_close(&run->cache);
    aaclip_adapters_close(&run->initial);
    aaclip_dataset_close(&run->dataset);
    aaclip_model_close(&run->model);
}

void training_randomise(training *run)
{
    run->options.initial = NULL;
    run->options.image_size = 56;
    run->options.no_augmentation = run->options.no_shuffle = false;
    run->options.seed = 7;
    run->options.batch_size = 2;
}

void training_open_random(training *run, aaclip_stage stage, const training_place *place)
{
    training_open(run, "published", stage, place, NULL);
    training_randomise(run);
}

aaclip_trainer *training_start(const training *run)
{
    aaclip_trainer *trainer;
    must(aaclip_trainer_new(&trainer, run->model, run->dataset, run->cache, &run->options));
    return trainer;
}

void run_steps(aaclip_trainer *trainer, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++)
        must(aaclip_trainer_step(trainer, NULL));
}

aaclip_trainer *training_run(const training *run, unsigned steps)
{
    aaclip_trainer *trainer = training_start(run);
    run_steps(trainer, steps);
    return trainer;
}

aaclip_training_progress progress_of(const aaclip_trainer *trainer)
{
    aaclip_training_progress progress = {.size = sizeof progress};
    must(aaclip_trainer_get_progress(trainer, &progress));
    return progress;
}

float *copy_of_state(const aaclip_trainer *trainer)
{
    const aac_parameter_set *set = &trainer->parameters;
    float *copy = aac_alloc_array(trainer->optimizer.count, 3 * sizeof *copy), *next = copy;
    assert_non_null(copy);
    must(aac_optimizer_fetch(&trainer->optimizer));
    for (size_t i = 0; i < set->count; i++) {
        const aac_parameter *item = &set->items[i];
        const float *const arrays[] = {item->value, item->exp_avg, item->exp_avg_sq};
        for (size_t j = 0; j < 3; j++, next += aac_parameter_elements(item))
            memcpy(next, arrays[j], aac_parameter_elements(item) * sizeof *next);
    }
    return copy;
}

float *copy_of_gradients(const aaclip_trainer *trainer)
{
    const aac_optimizer *optimizer = &trainer->optimizer;
    float *copy = aac_alloc_array(optimizer->count, sizeof *copy);
    assert_non_null(copy);
    must(aac_device_copy(optimizer->dispatch, copy, optimizer->gradients,
                         optimizer->count * sizeof *copy));
    return copy;
}

bool state_is(const aaclip_trainer *trainer, const float *copy)
{
    float *now = copy_of_state(trainer);
    bool same = memcmp(now, copy, 3 * trainer->optimizer.count * sizeof *now) == 0;
    aac_free(now);
    return same;
}

bool same_state(const aaclip_trainer *a, const aaclip_trainer *b)
{
    float *copy = copy_of_state(b);
    bool same = a->optimizer.count == b->optimizer.count && state_is(a, copy) &&
                a->state.epoch == b->state.epoch && a->state.position == b->state.position &&
                a->state.step == b->state.step;
    aac_free(copy);
    return same;
}

bool backend_has_bf16(const char *backend)
{
    aac_dispatch dispatch;
    must(aac_dispatch_open(&dispatch, backend, 1));
    const aac_op_desc product = {
        .op = AAC_OP_LINEAR,
        .linear = {.rows = 1, .inputs = 64, .outputs = 64, .x = AAC_BF16, .y = AAC_BF16}};
    return dispatch.chain[0]->supports(&product);
}
