/*
 * Handles shared by threads and closed in every order. Also meant for ThreadSanitizer: uses the
 * reference backend with one thread per call, as OpenMP's runtime is not instrumented.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>

#include "fixture.h"

#define MAX_THREADS 4

typedef struct worker {
    const fixture *shared;
    pthread_barrier_t *start;
    const char *name;
    const kept_result *expected;
    bool done, equal;
} worker;

/* A client thread, with a detector of its own. */
static void *detect_alone(void *user)
{
    worker *own = user;
    aaclip_detector *detector = NULL;
    aaclip_result result = {.size = sizeof result};
    const aaclip_image_view view = aaclip_image_get_view(own->shared->image);
    own->done = own->equal = true;
    pthread_barrier_wait(own->start);
    if (new_detector(&detector, own->shared, true)) {
        own->done = false;
        return NULL;
    }
    for (int i = 0; own->done && i < 3; i++) {
        own->done = !aaclip_detector_detect(detector, &view, own->name, &result);
        if (own->done) {
            kept_result found = keep_result(&result);
            own->equal = own->equal && same_bits(own->expected, &found);
            free_result(&found);
        }
    }
    aaclip_detector_close(&detector);
    return NULL;
}

static void detect_from_threads(const char *backend, unsigned threads, int count)
{
    const char *const names[] = {"cat", "nut"};
    fixture alone, shared;
    kept_result expected[2];
    fixture_open(&alone, backend, threads);
    const aaclip_image_view view = aaclip_image_get_view(alone.image);
    aaclip_detector *detector = make_detector(&alone, true);
    for (int i = 0; i < 2; i++) {
        const aaclip_result result = detect(detector, &view, names[i]);
        expected[i] = keep_result(&result);
    }
    aaclip_detector_close(&detector);
    fixture_close(&alone);

    fixture_open(&shared, backend, threads); /* no tower is prepared yet: the threads race for it */
    worker workers[MAX_THREADS];
    pthread_t handles[MAX_THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)count);
    for (int i = 0; i < count; i++) {
        workers[i] = (worker){&shared, &start, names[i % 2], &expected[i % 2], false, false};
        assert_int_equal(pthread_create(&handles[i], NULL, detect_alone, &workers[i]), 0);
    }
    for (int i = 0; i < count; i++)
        pthread_join(handles[i], NULL);
    for (int i = 0; i < count; i++) {
        assert_true(workers[i].done);
        assert_true(workers[i].equal);
    }
    pthread_barrier_destroy(&start);
    free_result(&expected[0]);
    free_result(&expected[1]);
    fixture_close(&shared);
}

static void two_threads_share_everything(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++)
        if (aaclip_backend_available(aaclip_backend_name(i)))
            detect_from_threads(aaclip_backend_name(i), 1, 2);
}

static void four_threads_share_everything(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++)
        if (aaclip_backend_available(aaclip_backend_name(i)))
            detect_from_threads(aaclip_backend_name(i), 2, 4);
}

#define IMAGES 8 /* of a batch: long enough for the other thread to come in between */

typedef struct rival {
    aaclip_detector *detector;
    const aaclip_image_view *images;
    const char *const *names;
    atomic_bool *refused;
    int wrong;
} rival;

/* Detects until one of the two threads is refused. */
static void *detect_with_one_detector(void *user)
{
    rival *own = user;
    for (int i = 0; i < 200 && !atomic_load(own->refused); i++) {
        aaclip_result results[IMAGES] = {{.size = sizeof results[0]}};
        aaclip_status status =
            aaclip_detector_detect_batch(own->detector, own->images, own->names, IMAGES, results);
        if (status == AACLIP_ERROR_INVALID_ARGUMENT) {
            own->wrong += !strstr(aaclip_last_error(), "another thread");
            atomic_store(own->refused, true);
        } else {
            own->wrong += status != AACLIP_OK;
        }
    }
    return NULL;
}

/* The last one, which is the slowest. */
static const char *last_backend(void)
{
    size_t count = 0;
    while (aaclip_backend_name(count))
        count++;
    return aaclip_backend_name(count - 1);
}

static void one_detector_refuses_a_second_thread(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, last_backend(), 1);
    aaclip_image_view images[IMAGES];
    const char *names[IMAGES];
    for (int i = 0; i < IMAGES; i++) {
        images[i] = aaclip_image_get_view(all.image);
        names[i] = "cat";
    }
    aaclip_detector *detector = make_detector(&all, false);
    atomic_bool refused = false;
    rival rivals[2];
    pthread_t handles[2];
    for (int i = 0; i < 2; i++) {
        rivals[i] = (rival){detector, images, names, &refused, 0};
        assert_int_equal(pthread_create(&handles[i], NULL, detect_with_one_detector, &rivals[i]),
                         0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(handles[i], NULL);
    assert_true(refused);
    assert_int_equal(rivals[0].wrong + rivals[1].wrong, 0);
    detect(detector, &images[0], "cat"); /* and works again */
    aaclip_detector_close(&detector);
    fixture_close(&all);
}

/* Closes model, adapters, cache and detector in an order and detects for as long as it can. */
static void close_in_order(const int *order, const kept_result *expected)
{
    fixture all;
    fixture_open(&all, NULL, 1);
    aaclip_detector *detector = make_detector(&all, true);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    for (int i = 0; i < 4; i++) {
        switch (order[i]) {
        case 0:
            aaclip_model_close(&all.model);
            break;
        case 1:
            aaclip_adapters_close(&all.adapters);
            break;
        case 2:
            aaclip_text_cache_close(&all.cache);
            break;
        default:
            aaclip_detector_close(&detector);
        }
        if (detector) {
            const aaclip_result result = detect(detector, &view, "cat");
            kept_result found = keep_result(&result);
            assert_true(same_bits(expected, &found));
            free_result(&found);
        }
    }
    assert_true(!all.model && !all.adapters && !all.cache && !detector);
    fixture_close(&all);
}

static bool is_permutation(const int *order)
{
    int seen = 0;
    for (int i = 0; i < 4; i++)
        seen |= 1 << order[i];
    return seen == 15;
}

static void handles_close_in_every_order(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 1);
    aaclip_detector *detector = make_detector(&all, true);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    const aaclip_result result = detect(detector, &view, "cat");
    kept_result expected = keep_result(&result);
    int orders = 0;
    for (int number = 0; number < 256; number++) {
        const int order[] = {number & 3, number >> 2 & 3, number >> 4 & 3, number >> 6};
        if (is_permutation(order)) {
            close_in_order(order, &expected);
            orders++;
        }
    }
    assert_int_equal(orders, 24);
    free_result(&expected);
    aaclip_detector_close(&detector);
    fixture_close(&all);
}

/* A cache outlives the handles of what it needs, and can still build. */
static void a_cache_keeps_its_model(void **state)
{
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 1);
    aaclip_model_close(&all.model);
    aaclip_adapters_close(&all.adapters);
    const char *const name[] = {"bottle"};
    must(aaclip_text_cache_build(all.cache, name, name, 1));
    assert_int_equal(aaclip_text_cache_count(all.cache), 3);
    fixture_close(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_threads_share_everything),
        cmocka_unit_test(four_threads_share_everything),
        cmocka_unit_test(one_detector_refuses_a_second_thread),
        cmocka_unit_test(handles_close_in_every_order),
        cmocka_unit_test(a_cache_keeps_its_model),
    };
    return cmocka_run_group_tests_name("sharing", tests, NULL, NULL);
}
