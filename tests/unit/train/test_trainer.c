/* What a trainer guarantees besides its numbers: reproducible bits, exact resume, no corruption. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#ifndef _WIN32
#include <signal.h>
#include <sys/time.h>
#endif

#include "core/memory.h"
#include "core/platform.h"
#include "files/tensor_file.h"
#include "scratch_tree.h"
#include "trainer_fixture.h"

#define SAMPLES 7

static const aaclip_stage stages[] = {AACLIP_STAGE_TEXT, AACLIP_STAGE_IMAGE};

/* Calls `check` with every backend and stage; fewer steps for the slow reference backend. */
static void everywhere(void (*check)(const char *backend, aaclip_stage stage, unsigned steps))
{
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        const char *backend = aaclip_backend_name(i);
        unsigned steps = strcmp(backend, "reference") == 0 ? 1 : 3;
        for (size_t j = 0; aaclip_backend_available(backend) && j < 2; j++)
            check(backend, stages[j], steps);
    }
}

static void compare_runs(const char *backend, aaclip_stage stage, unsigned steps)
{
    training setup;
    const training_place place = {backend, AACLIP_PRECISION_F32, 2};
    training_open_random(&setup, stage, &place);
    aaclip_trainer *first = training_run(&setup, steps), *second = training_run(&setup, steps);
    assert_true(same_state(first, second));
    aaclip_trainer_close(&first);
    aaclip_trainer_close(&second);
    training_close(&setup);
}

static void same_seed_gives_the_same_bits(void **state)
{
    (void)state;
    everywhere(compare_runs);
}

/* Of every use that the seed has: adapters, order, augmentation. */
static void other_seed_gives_other_bits(void **state)
{
    (void)state;
    for (int use = 0; use < 3; use++) {
        training setup;
        training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
        if (use != 0)
            setup.options.initial = setup.initial;
        setup.options.no_shuffle = use != 1;
        setup.options.no_augmentation = use != 2;
        aaclip_trainer *first = training_run(&setup, 2);
        setup.options.seed++;
        aaclip_trainer *second = training_run(&setup, 2);
        assert_false(same_state(first, second));
        aaclip_trainer_close(&first);
        aaclip_trainer_close(&second);
        training_close(&setup);
    }
}

/* Largest difference of weights over the largest weight. */
static double apart(const aaclip_trainer *a, const aaclip_trainer *b)
{
    double worst = 0, largest = 0;
    must(aac_optimizer_fetch(&a->optimizer));
    must(aac_optimizer_fetch(&b->optimizer));
    for (size_t i = 0; i < a->parameters.count; i++)
        for (size_t j = 0; j < aac_parameter_elements(&a->parameters.items[i]); j++) {
            double x = (double)a->parameters.items[i].value[j];
            double y = (double)b->parameters.items[i].value[j];
            worst = isnan(x - y) ? INFINITY : fmax(worst, fabs(x - y));
            largest = fmax(largest, fabs(x));
        }
    return worst / largest;
}

/* oneDNN cuts a sum where its threads meet; the other backends add up the same way. */
static void compare_threads(const char *backend, aaclip_stage stage, unsigned steps)
{
    aaclip_trainer *trainers[3];
    for (unsigned i = 0; i < 3; i++) {
        training setup;
        const training_place place = {backend, AACLIP_PRECISION_F32, i + 1};
        training_open_random(&setup, stage, &place);
        setup.options.loader_threads = i + 1;
        trainers[i] = training_run(&setup, steps);
        training_close(&setup);
    }
    for (unsigned i = 1; i < 3; i++)
        if (strcmp(backend, "onednn") == 0)
            assert_true(apart(trainers[0], trainers[i]) < 1e-5);
        else
            assert_true(same_state(trainers[0], trainers[i]));
    for (unsigned i = 0; i < 3; i++)
        aaclip_trainer_close(&trainers[i]);
}

static void threads_change_the_last_bits_at_most(void **state)
{
    (void)state;
    everywhere(compare_threads);
}

/* Three adapters one above the other, which the model's own default does not have. */
static aaclip_config deep_config(aaclip_profile profile)
{
    aaclip_config config;
    must(aaclip_config_init(&config, profile));
    config.image_adapter_layers = config.text_adapter_layers = 3;
    return config;
}

static void recomputing_changes_no_bit(void **state)
{
    (void)state;
    aaclip_config config = deep_config(AACLIP_PROFILE_DOCUMENT);
    config.activation = AACLIP_ACTIVATION_GELU; /* as the text vectors were made */
    config.normalize_class_vector = true;
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        training setup;
        const training_place place = {aaclip_backend_name(i), AACLIP_PRECISION_F32, 1};
        if (!aaclip_backend_available(place.backend))
            continue;
        training_open_random(&setup, AACLIP_STAGE_IMAGE, &place);
        setup.options.config = &config;
        aaclip_trainer *kept = training_run(&setup, 3);
        setup.options.recompute = true;
        aaclip_trainer *again = training_run(&setup, 3);
        assert_true(same_state(kept, again));
        aaclip_trainer_close(&kept);
        aaclip_trainer_close(&again);
        training_close(&setup);
    }
}

static void accumulated_batches_are_one_large_batch(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        training setup;
        training_open_random(&setup, stages[i], NULL);
        setup.options.batch_size = 1;
        setup.options.accumulate = 3;
        aaclip_trainer *parts = training_run(&setup, 4);
        setup.options.batch_size = 3;
        setup.options.accumulate = 1;
        aaclip_trainer *whole = training_run(&setup, 4);
        assert_true(same_state(parts, whole));
        assert_int_equal(progress_of(parts).epoch_steps, 3);
        aaclip_trainer_close(&parts);
        aaclip_trainer_close(&whole);
        training_close(&setup);
    }
}

static double total_on(aaclip_trainer *trainer, const aaclip_dataset *dataset)
{
    aaclip_losses losses = {.size = sizeof losses};
    must(aaclip_trainer_evaluate(trainer, dataset, &losses));
    assert_int_equal(losses.images, aaclip_dataset_count(dataset));
    return losses.total;
}

/* Moves a tensor along its gradient of the length `norm`: by so much, relative to a unit step. */
static double total_moved(aaclip_trainer *trainer, aac_parameter *item, const float *gradient,
                          double norm, double step)
{
    size_t count = aac_parameter_elements(item);
    float *before = aac_alloc_array(count, sizeof *before);
    memcpy(before, item->value, count * sizeof *before);
    for (size_t i = 0; i < count; i++)
        item->value[i] += (float)(step * (double)gradient[i] / norm);
    aac_optimizer_changed(&trainer->optimizer);
    trainer->stale = true;
    double total = total_on(trainer, trainer->dataset);
    memcpy(item->value, before, count * sizeof *before);
    trainer->stale = true;
    aac_free(before);
    return total;
}

/* The loss along each tensor's gradient rises as steeply as the gradient is long. */
static void check_slopes(aaclip_trainer *trainer)
{
    float *all = copy_of_gradients(trainer);
    const float *gradient = all;
    must(aac_optimizer_fetch(&trainer->optimizer));
    for (size_t i = 0; i < trainer->parameters.count; i++) {
        aac_parameter *item = &trainer->parameters.items[i];
        double squares = 0;
        for (size_t j = 0; j < aac_parameter_elements(item); j++)
            squares += (double)gradient[j] * (double)gradient[j];
        double norm = sqrt(squares), step = fmin(0.02, 0.02 / norm);
        double slope = (total_moved(trainer, item, gradient, norm, step) -
                        total_moved(trainer, item, gradient, norm, -step)) /
                       (2 * step);
        assert_true(fabs(slope - norm) < 0.01 * norm);
        gradient += aac_parameter_elements(item);
    }
    aac_free(all);
}

static void deep_gradients_are_slopes(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        training setup;
        const aaclip_config config = deep_config((aaclip_profile)(i / 2));
        training_open(&setup, i / 2 ? "published" : "document", stages[i % 2], NULL, NULL);
        setup.options.initial = NULL;
        setup.options.config = &config;
        setup.options.image_size = 56;
        setup.options.batch_size = SAMPLES;
        setup.options.learning_rate = 1e-300; /* gradients are wanted, no change */
        aaclip_trainer *trainer = training_run(&setup, 1);
        check_slopes(trainer);
        aaclip_trainer_close(&trainer);
        training_close(&setup);
    }
}

static void evaluation_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        training setup;
        training_open_random(&setup, stages[i], NULL);
        aaclip_trainer *evaluated = training_run(&setup, 2), *plain = training_run(&setup, 2);
        double total = total_on(evaluated, setup.dataset);
        assert_near(total_on(evaluated, setup.dataset), total, 0);
        assert_true(same_state(evaluated, plain));
        run_steps(evaluated, 3);
        run_steps(plain, 3);
        assert_true(same_state(evaluated, plain));
        aaclip_trainer_close(&evaluated);
        aaclip_trainer_close(&plain);
        training_close(&setup);
    }
}

/* The whole set is one batch, as it is: the step's losses are those of the evaluation before it. */
static void evaluation_computes_what_a_step_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        training setup;
        aaclip_losses evaluated = {.size = sizeof evaluated}, trained = evaluated;
        training_open(&setup, "published", stages[i], NULL, NULL);
        setup.options.batch_size = SAMPLES;
        aaclip_trainer *trainer = training_start(&setup);
        must(aaclip_trainer_evaluate(trainer, setup.dataset, &evaluated));
        must(aaclip_trainer_step(trainer, &trained));
        assert_near(evaluated.total, trained.total, 1e-12);
        assert_near(evaluated.focal, trained.focal, 1e-12);
        assert_near(evaluated.orthogonal, trained.orthogonal, 1e-12);
        assert_near(evaluated.classification, trained.classification, 1e-12);
        aaclip_trainer_close(&trainer);
        training_close(&setup);
    }
}

typedef struct witness {
    aaclip_training_progress seen[16];
    double totals[16];
    unsigned count, stop_after; /* 0: never */
} witness;

static bool watch(const aaclip_training_progress *progress, void *user)
{
    witness *all = user;
    assert_int_equal(progress->size, sizeof *progress);
    all->seen[all->count] = *progress;
    all->totals[all->count] = progress->losses->total;
    all->count++;
    return all->count != all->stop_after;
}

static void check_place(const aaclip_training_progress *progress, uint64_t step)
{
    assert_int_equal(progress->stage, AACLIP_STAGE_IMAGE);
    assert_int_equal(progress->step, step);
    assert_int_equal(progress->epoch_steps, 4);
    assert_int_equal(progress->epoch, step ? (step - 1) / 4 + 1 : 1);
    assert_int_equal(progress->epoch_step, step ? (step - 1) % 4 + 1 : 0);
}

/* 7 samples in batches of 2: the last step of an epoch has one. */
static void progress_is_told(void **state)
{
    (void)state;
    static const uint64_t images[] = {2, 2, 2, 1};
    training setup;
    witness all = {.count = 0};
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    setup.options.callback = watch;
    setup.options.callback_user = &all;
    aaclip_trainer *trainer = training_start(&setup);
    aaclip_training_progress progress = progress_of(trainer);
    check_place(&progress, 0);
    for (unsigned i = 0; i < 9; i++) {
        aaclip_losses losses = {.size = sizeof losses};
        must(aaclip_trainer_step(trainer, &losses));
        assert_int_equal(losses.images, images[i % 4]);
        progress = progress_of(trainer);
        check_place(&progress, i + 1);
        assert_int_equal(all.count, i + 1);
        check_place(&all.seen[i], i + 1);
        assert_near(all.totals[i], losses.total, 0);
        assert_true(all.seen[i].images_per_second > 0);
    }
    aaclip_trainer_close(&trainer);
    training_close(&setup);
}

static void an_epoch_averages_its_steps(void **state)
{
    (void)state;
    training setup;
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    aaclip_trainer *stepped = training_start(&setup), *whole = training_start(&setup);
    for (unsigned epoch = 0; epoch < 2; epoch++) {
        double sum = 0;
        for (unsigned i = 0; i < 4; i++) {
            aaclip_losses part = {.size = sizeof part};
            must(aaclip_trainer_step(stepped, &part));
            sum += part.total * (double)part.images;
        }
        aaclip_losses losses = {.size = sizeof losses};
        must(aaclip_trainer_epoch(whole, &losses));
        assert_int_equal(losses.images, SAMPLES);
        assert_near(losses.total, sum / SAMPLES, 1e-12);
        assert_near(
            losses.total,
            losses.focal + losses.dice_normal + losses.dice_abnormal + losses.classification, 1e-9);
    }
    assert_true(same_state(stepped, whole));
    run_steps(stepped, 1); /* an epoch goes on from where it stands */
    must(aaclip_trainer_epoch(stepped, NULL));
    must(aaclip_trainer_epoch(whole, NULL));
    assert_true(same_state(stepped, whole));
    aaclip_trainer_close(&stepped);
    aaclip_trainer_close(&whole);
    training_close(&setup);
}

/* As PyTorch's MultiStepLR, stepped after every optimizer step. */
/* As torch.optim's state has it after the scheduler's step. */
static double saved_rate(const aaclip_trainer *trainer, const char *folder)
{
    char *path = aac_format("%s/state.pth", folder);
    must(aaclip_trainer_save(trainer, path));
    aac_tensor_file *file;
    double rate = 0;
    must(aac_tensor_file_open(&file, path));
    assert_true(aac_tensor_file_number(file, "image_optimizer.param_groups.0.lr", &rate));
    aac_tensor_file_close(&file);
    aac_free(path);
    return rate;
}

static void learning_rates_fall_at_milestones(void **state)
{
    static const double factors[] = {1, 1, 0.5, 0.5, 0.5, 0.25, 0.25};
    training setup;
    witness all = {.count = 0};
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    setup.options.milestones[0] = 2;
    setup.options.milestones[1] = 5;
    setup.options.milestone_count = 2;
    setup.options.learning_rate = 0.25;
    setup.options.callback = watch;
    setup.options.callback_user = &all;
    aaclip_trainer *trainer = training_run(&setup, 0);
    for (unsigned i = 0; i < 7; i++) {
        assert_near(saved_rate(trainer, *state), 0.25 * factors[i], 0);
        run_steps(trainer, 1);
        assert_near(all.seen[i].learning_rate, 0.25 * factors[i], 0);
        assert_near(progress_of(trainer).learning_rate, 0.25 * factors[i], 0);
    }
    aaclip_trainer_close(&trainer);
    training_close(&setup);
}

static void a_callback_cancels(void **state)
{
    (void)state;
    training setup;
    witness all = {.stop_after = 2};
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    aaclip_trainer *plain = training_run(&setup, 5);
    setup.options.callback = watch;
    setup.options.callback_user = &all;
    aaclip_trainer *trainer = training_run(&setup, 1);
    aaclip_losses losses = {.size = sizeof losses};
    must_fail(aaclip_trainer_step(trainer, &losses), AACLIP_ERROR_CANCELLED, "after step 2", NULL);
    assert_near(losses.total, all.totals[1], 0);
    all.stop_after = 4;
    must_fail(aaclip_trainer_epoch(trainer, NULL), AACLIP_ERROR_CANCELLED, "after step 4", NULL);
    run_steps(trainer, 1);
    assert_true(same_state(trainer, plain));
    aaclip_trainer_close(&trainer);
    aaclip_trainer_close(&plain);
    training_close(&setup);
}

typedef struct caller_back {
    aaclip_trainer *trainer;
    const aaclip_dataset *dataset;
    unsigned count;
} caller_back;

static bool use_the_trainer(const aaclip_training_progress *progress, void *user)
{
    caller_back *own = user;
    aaclip_losses losses = {.size = sizeof losses};
    (void)progress;
    if (++own->count > 3)
        return false; /* training has gone on within a callback */
    must_fail(aaclip_trainer_step(own->trainer, NULL), AACLIP_ERROR_INVALID_ARGUMENT,
              "aaclip_trainer_step", "callback", NULL);
    must_fail(aaclip_trainer_epoch(own->trainer, NULL), AACLIP_ERROR_INVALID_ARGUMENT,
              "aaclip_trainer_epoch", "callback", NULL);
    must(aaclip_trainer_evaluate(own->trainer, own->dataset, &losses));
    return true;
}

static void a_callback_evaluates_but_does_not_train(void **state)
{
    (void)state;
    training setup;
    caller_back own = {.count = 0};
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    aaclip_trainer *plain = training_run(&setup, 3);
    setup.options.callback = use_the_trainer;
    setup.options.callback_user = &own;
    own.trainer = training_start(&setup);
    own.dataset = setup.dataset;
    run_steps(own.trainer, 3);
    assert_true(same_state(own.trainer, plain));
    aaclip_trainer_close(&own.trainer);
    aaclip_trainer_close(&plain);
    training_close(&setup);
}

static void check_line(const json_t *line, const char *stage, unsigned step, double total)
{
    const char *part = strcmp(stage, "text") == 0 ? "loss_orthogonal" : "loss_classification";
    const char *const numbers[] = {"loss_focal",    "loss_dice_normal",  "loss_dice_abnormal",
                                   "learning_rate", "images_per_second", part};
    assert_string_equal(json_string_value(json_object_get(line, "stage")), stage);
    assert_int_equal(json_integer_value(json_object_get(line, "step")), step);
    assert_int_equal(json_integer_value(json_object_get(line, "epoch")), (step - 1) / 4 + 1);
    assert_near(json_real_value(json_object_get(line, "loss")), total, 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_true(json_real_value(json_object_get(line, numbers[i])) > 0);
    assert_int_equal(json_object_size(line), 10);
}

/* A second trainer goes on in the same file. */
static void the_log_has_a_line_a_step(void **state)
{
    char *path = aac_format("%s/log.jsonl", (const char *)*state), text[1024];
    double totals[10];
    for (unsigned i = 0; i < 10; i++) {
        training setup;
        training_open_random(&setup, stages[i / 5], NULL);
        setup.options.log = path;
        aaclip_trainer *trainer = training_start(&setup);
        for (unsigned end = i + 5; i < end; i++) {
            aaclip_losses losses = {.size = sizeof losses};
            must(aaclip_trainer_step(trainer, &losses));
            totals[i] = losses.total;
        }
        i--;
        aaclip_trainer_close(&trainer);
        training_close(&setup);
    }
    FILE *file = fopen(path, "r");
    for (unsigned i = 0; i < 10; i++) {
        assert_non_null(fgets(text, sizeof text, file));
        json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(line);
        check_line(line, i < 5 ? "text" : "image", i % 5 + 1, totals[i]);
        json_decref(line);
    }
    assert_null(fgets(text, sizeof text, file));
    fclose(file);
    aac_free(path);
}

static float score_with(const training *setup, const aaclip_adapters *adapters)
{
    aaclip_detector *detector;
    aaclip_detector_options options;
    aaclip_image *image;
    aaclip_result result = {.size = sizeof result};
    aaclip_detector_options_init(&options);
    options.image_size = 56;
    must(aaclip_image_open(&image, GOLDEN_DIR "/train/images/2-wood-hole.png"));
    must(aaclip_detector_new(&detector, setup->model, adapters, setup->cache, &options));
    const aaclip_image_view view = aaclip_image_get_view(image);
    must(aaclip_detector_detect(detector, &view, "wood", &result));
    float score = result.score;
    aaclip_detector_close(&detector);
    aaclip_image_close(&image);
    return score;
}

/* The snapshot, the saved file beside its text adapters, and both layouts give one score. */
static void trained_adapters_detect(void **state)
{
    static const char *const names[] = {"image.pth", "image.safetensors"};
    training setup;
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    aaclip_trainer *trainer = training_run(&setup, 3);
    aaclip_adapters *snapshot;
    must(aaclip_trainer_adapters(&snapshot, trainer));
    float score = score_with(&setup, snapshot);
    for (size_t i = 0; i < 2; i++) {
        char *path = aac_format("%s/%s", (const char *)*state, names[i]);
        const char *const paths[] = {GOLDEN_DIR "/nano/adapters-published/text_adapter.pth", path};
        aaclip_adapters *opened;
        must(aaclip_trainer_save(trainer, path));
        must(aaclip_adapters_open(&opened, setup.model, paths, 2, NULL));
        assert_true(score_with(&setup, opened) == score);
        aaclip_adapters_close(&opened);
        aac_free(path);
    }
    run_steps(trainer, 1); /* a snapshot stays as it was */
    assert_true(score_with(&setup, snapshot) == score);
    aaclip_trainer_close(&trainer);
    assert_true(score_with(&setup, snapshot) == score);
    aaclip_adapters_close(&snapshot);
    training_close(&setup);
}

/* Text adapters of stage 1 make the vectors that stage 2 starts from. */
static void stage_2_follows_stage_1(void **state)
{
    (void)state;
    training setup;
    aaclip_adapters *text;
    aaclip_text_cache_options options;
    training_open_random(&setup, AACLIP_STAGE_TEXT, NULL);
    aaclip_trainer *trainer = training_run(&setup, 2);
    must(aaclip_trainer_adapters(&text, trainer));
    aaclip_trainer_close(&trainer);
    assert_true(aaclip_adapters_has_text(text) && !aaclip_adapters_has_image(text));
    aaclip_text_cache_options_init(&options);
    options.vocabulary = GOLDEN_DIR "/nano";
    must(aaclip_text_cache_new(&setup.cache, setup.model, text, &options));
    aaclip_adapters_close(&text);
    const char *const names[] = {"wood", "metal_nut"};
    must(aaclip_text_cache_build(setup.cache, names, names, 2));
    must(aaclip_trainer_options_init(&setup.options, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_PUBLISHED));
    training_randomise(&setup);
    trainer = training_run(&setup, 2);
    assert_int_equal(progress_of(trainer).step, 2);
    aaclip_trainer_close(&trainer);
    training_close(&setup);
}

#ifndef _WIN32

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    alarms++;
}

static void set_alarms(suseconds_t interval)
{
    const struct itimerval times = {{0, interval}, {0, interval}};
    assert_int_equal(setitimer(ITIMER_REAL, &times, NULL), 0);
}

/* Handlers use the stack of the thread they interrupt; not every kernel of a library minds that. */
static void signals_do_not_disturb(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = count_alarm, .sa_flags = SA_RESTART}, before;
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    for (size_t i = 0; aaclip_backend_name(i); i++)
        for (unsigned threads = 1; threads <= 2; threads++) {
            training setup;
            const training_place place = {aaclip_backend_name(i), AACLIP_PRECISION_F32, threads};
            if (!aaclip_backend_available(place.backend))
                continue;
            training_open_random(&setup, AACLIP_STAGE_IMAGE, &place);
            aaclip_trainer *calm = training_run(&setup, 8);
            alarms = 0;
            set_alarms(200);
            aaclip_trainer *alarmed = training_run(&setup, 8);
            set_alarms(0);
            assert_true(alarms > 0);
            assert_true(same_state(calm, alarmed));
            aaclip_trainer_close(&calm);
            aaclip_trainer_close(&alarmed);
            training_close(&setup);
        }
    sigaction(SIGALRM, &before, NULL);
}

#else

static void signals_do_not_disturb(void **state)
{
    (void)state;
    skip(); /* no signal interrupts a thread there */
}

#endif

#define WITH_FOLDER(test)                                                                          \
    cmocka_unit_test_setup_teardown(test, scratch_tree_make, scratch_tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_gives_the_same_bits),
        cmocka_unit_test(other_seed_gives_other_bits),
        cmocka_unit_test(threads_change_the_last_bits_at_most),
        cmocka_unit_test(recomputing_changes_no_bit),
        cmocka_unit_test(accumulated_batches_are_one_large_batch),
        cmocka_unit_test(deep_gradients_are_slopes),
        cmocka_unit_test(evaluation_changes_nothing),
        cmocka_unit_test(evaluation_computes_what_a_step_does),
        cmocka_unit_test(progress_is_told),
        cmocka_unit_test(an_epoch_averages_its_steps),
        WITH_FOLDER(learning_rates_fall_at_milestones),
        cmocka_unit_test(a_callback_cancels),
        cmocka_unit_test(a_callback_evaluates_but_does_not_train),
        WITH_FOLDER(the_log_has_a_line_a_step),
        WITH_FOLDER(trained_adapters_detect),
        cmocka_unit_test(stage_2_follows_stage_1),
        cmocka_unit_test(signals_do_not_disturb),
    };
    return cmocka_run_group_tests_name("trainer", tests, NULL, NULL);
}
