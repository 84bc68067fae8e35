/*
 * Eight threads detect with one model, cache and adapters, while others train, add classes, open
 * and close handles, set limits and cancel: every result is bit for bit that of a single thread.
 * Meant for ThreadSanitizer: docs/reliability.md.
 */
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>

#include "fixture.h"
#include "scratch.h"

#define DETECTING      8
#define ROUNDS         3
#define CALL_THREADS   2 /* within each call */
#define MOST_ROUNDS    100000
#define EMBEDDING_SIZE 4096

static const char *const names[] = {"cat", "nut"};

typedef struct meeting {
    fixture all;
    kept_result expected[2]; /* of names */
    scratch_file saved;      /* the cache */
    aaclip_dataset *dataset;
    pthread_barrier_t start;
    atomic_int detecting; /* threads that still do */
    atomic_int flag;      /* that cancels calls of one thread */
} meeting;

typedef struct participant {
    meeting *shared;
    const char *(*work)(struct participant *own);
    int number;
    const char *problem; /* NULL: none */
    pthread_t handle;
} participant;

static bool detects_as_expected(aaclip_detector *detector, const meeting *shared, int name)
{
    aaclip_result result = {.size = sizeof result};
    const aaclip_image_view view = aaclip_image_get_view(shared->all.image);
    if (aaclip_detector_detect(detector, &view, names[name], &result))
        return false;
    kept_result found = keep_result(&result);
    bool equal = same_bits(&shared->expected[name], &found);
    free_result(&found);
    return equal;
}

static const char *detect_rounds(participant *own)
{
    bool equal = true;
    for (int round = 0; equal && round < ROUNDS; round++) {
        aaclip_detector *detector = NULL;
        equal = !new_detector(&detector, &own->shared->all, true) &&
                detects_as_expected(detector, own->shared, own->number % 2) &&
                detects_as_expected(detector, own->shared, (own->number + 1) % 2);
        aaclip_detector_close(&detector);
    }
    atomic_fetch_sub(&own->shared->detecting, 1);
    return equal ? NULL : "another result, or none";
}

static bool goes_on(const meeting *shared, int round)
{
    return round == 0 || (atomic_load(&shared->detecting) && round < MOST_ROUNDS);
}

/* Handles of its own beside the shared ones, closed while they are in use. */
static const char *open_and_close(participant *own)
{
    bool equal = true;
    for (int round = 0; equal && goes_on(own->shared, round); round++) {
        fixture other = {.model = NULL};
        aaclip_detector *detector = NULL;
        aaclip_model_options options;
        aaclip_model_options_init(&options);
        options.threads = CALL_THREADS;
        equal = !aaclip_model_open(&other.model, NANO_MODEL, &options) &&
                !try_adapters(&other.adapters, other.model, "published") &&
                !aaclip_text_cache_open(&other.cache, other.model, other.adapters,
                                        own->shared->saved.path, NULL) &&
                !new_detector(&detector, &other, true);
        if (round % 2)
            fixture_close(&other);
        equal = equal && detects_as_expected(detector, own->shared, round % 2);
        aaclip_detector_close(&detector);
        fixture_close(&other);
    }
    return equal ? NULL : "what was opened does not detect as it should";
}

/* Classes of the shared cache come and are replaced while others read them. */
static const char *add_classes(participant *own)
{
    aaclip_text_cache *cache = own->shared->all.cache;
    float *vectors = calloc(4, EMBEDDING_SIZE * sizeof *vectors);
    bool good = vectors != NULL;
    if (vectors)
        vectors[EMBEDDING_SIZE] = 1;
    for (int round = 0; good && goes_on(own->shared, round); round++) {
        char name[32];
        snprintf(name, sizeof name, "class %d", round % 50);
        vectors[0] = (float)(1 + round % 99);
        good = !aaclip_text_cache_add(cache, name, vectors, vectors + EMBEDDING_SIZE) &&
               !aaclip_text_cache_get(cache, name, vectors + 2 * EMBEDDING_SIZE,
                                      vectors + 3 * EMBEDDING_SIZE) &&
               memcmp(vectors, vectors + 2 * EMBEDDING_SIZE, sizeof *vectors) == 0 &&
               aaclip_text_cache_name(cache, aaclip_text_cache_count(cache) - 1);
        if (round % 64 == 0)
            good = good && !build_classes(cache);
    }
    free(vectors);
    return good ? NULL : "a class is not there";
}

/* What holds for the process, and what each thread has of its own. */
static const char *set_limits(participant *own)
{
    bool good = true;
    for (int round = 0; good && goes_on(own->shared, round); round++) {
        aaclip_limits limits;
        aaclip_image *none = NULL;
        aaclip_limits_init(&limits);
        limits.image_pixels += (uint64_t)round % 3;
        good = !aaclip_limits_set(&limits) && !aaclip_limits_get(&limits) &&
               aaclip_image_open(&none, "no such picture") == AACLIP_ERROR_NOT_FOUND &&
               strstr(aaclip_last_error(), "no such picture") && aaclip_backend_name(0);
    }
    return good ? NULL : "limits or the text of an error are not its own";
}

static const char *train(participant *own)
{
    aaclip_trainer *trainer = NULL;
    aaclip_trainer_options options;
    meeting *shared = own->shared;
    aaclip_trainer_options_init(&options, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_PUBLISHED);
    options.image_size = 56;
    options.loader_threads = 2;
    bool good = !aaclip_trainer_new(&trainer, shared->all.model, shared->dataset, shared->all.cache,
                                    &options);
    for (int round = 0; good && round < 3; round++)
        good = !aaclip_trainer_step(trainer, NULL);
    aaclip_trainer_close(&trainer);
    return good ? NULL : "training fails";
}

static const char *raise_and_lower(participant *own)
{
    for (int round = 0; goes_on(own->shared, round); round++)
        atomic_store(&own->shared->flag, round / 64 % 2);
    atomic_store(&own->shared->flag, 0);
    return NULL;
}

static const char *be_cancelled(participant *own)
{
    aaclip_detector *detector = NULL;
    aaclip_result result = {.size = sizeof result};
    const aaclip_image_view view = aaclip_image_get_view(own->shared->all.image);
    aaclip_status status = new_detector(&detector, &own->shared->all, true);
    aaclip_watch_cancel((const volatile int *)&own->shared->flag);
    for (int round = 0; !status && goes_on(own->shared, round); round++) {
        aaclip_set_deadline(round % 2 ? 0.002 : INFINITY);
        status = aaclip_detector_detect(detector, &view, "cat", &result);
        if (status == AACLIP_ERROR_CANCELLED)
            status = AACLIP_OK;
    }
    aaclip_watch_cancel(NULL);
    aaclip_set_deadline(INFINITY);
    bool equal = !status && detects_as_expected(detector, own->shared, 0);
    aaclip_detector_close(&detector);
    return equal ? NULL : "a cancelled detector does not detect as it should";
}

static void *take_part(void *user)
{
    participant *own = user;
    pthread_barrier_wait(&own->shared->start);
    own->problem = own->work(own);
    return NULL;
}

static void open_meeting(meeting *shared, const char *folder, unsigned participants)
{
    memset(shared, 0, sizeof *shared);
    fixture alone;
    fixture_open(&alone, NULL, CALL_THREADS);
    aaclip_detector *detector = make_detector(&alone, true);
    const aaclip_image_view view = aaclip_image_get_view(alone.image);
    for (int i = 0; i < 2; i++) {
        const aaclip_result result = detect(detector, &view, names[i]);
        shared->expected[i] = keep_result(&result);
    }
    aaclip_detector_close(&detector);
    shared->saved = scratch_path(folder, "cache");
    must(aaclip_text_cache_save(alone.cache, shared->saved.path));
    fixture_close(&alone);

    fixture_open(&shared->all, NULL, CALL_THREADS); /* the image tower is not prepared yet */
    shared->dataset = open_training_set();
    const char *const more[] = {"wood", "metal_nut"};
    must(aaclip_text_cache_build(shared->all.cache, more, more, 2));
    atomic_init(&shared->detecting, DETECTING);
    atomic_init(&shared->flag, 0);
    pthread_barrier_init(&shared->start, NULL, participants);
}

static void close_meeting(meeting *shared)
{
    pthread_barrier_destroy(&shared->start);
    free_result(&shared->expected[0]);
    free_result(&shared->expected[1]);
    aaclip_dataset_close(&shared->dataset);
    fixture_close(&shared->all);
}

static void all_at_once(void **state)
{
    static const char *(*const others[])(participant *) = {
        open_and_close, open_and_close,  add_classes, set_limits,
        train,          raise_and_lower, be_cancelled};
    enum { OTHERS = sizeof others / sizeof *others, ALL = DETECTING + OTHERS };
    meeting shared;
    participant participants[ALL];
    open_meeting(&shared, *state, ALL);
    for (int i = 0; i < ALL; i++) {
        participants[i] = (participant){.shared = &shared, .number = i, .work = detect_rounds};
        if (i >= DETECTING)
            participants[i].work = others[i - DETECTING];
        assert_int_equal(pthread_create(&participants[i].handle, NULL, take_part, &participants[i]),
                         0);
    }
    for (int i = 0; i < ALL; i++)
        pthread_join(participants[i].handle, NULL);
    for (int i = 0; i < ALL; i++)
        if (participants[i].problem)
            fail_msg("participant %d: %s", i, participants[i].problem);
    close_meeting(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_at_once, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
