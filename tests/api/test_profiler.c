/* Counting of operations: what is counted, for which profilers, and that nothing else changes. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>

#include "failing_heap.h"
#include "fixture.h"

static fixture shared;
static aaclip_detector *detector;

static void run_detection(void)
{
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    detect(detector, &view, "cat");
}

static aaclip_profiler_entry entry_at(const aaclip_profiler *profiler, size_t index)
{
    aaclip_profiler_entry entry = {.size = sizeof entry};
    must(aaclip_profiler_get(profiler, index, &entry));
    return entry;
}

static uint64_t all_calls(const aaclip_profiler *profiler)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < aaclip_profiler_count(profiler); i++)
        calls += entry_at(profiler, i).calls;
    return calls;
}

static double all_flop(const aaclip_profiler *profiler)
{
    double flop = 0;
    for (size_t i = 0; i < aaclip_profiler_count(profiler); i++)
        flop += entry_at(profiler, i).flop;
    return flop;
}

static aaclip_profiler *started(void)
{
    aaclip_profiler *profiler = NULL;
    must(aaclip_profiler_start(&profiler));
    assert_int_equal(aaclip_profiler_count(profiler), 0);
    return profiler;
}

/* The figures of an entry, once more from its shape. */
static void check_products(const aaclip_profiler_entry *entry)
{
    long long a, b, c, d;
    double calls = (double)entry->calls;
    if (strcmp(entry->operation, "linear") == 0) {
        assert_int_equal(sscanf(entry->shape, "%lld x %lld -> %lld", &a, &b, &c), 3);
        assert_true(entry->flop == calls * 2 * (double)(a * b * c));
        assert_true(entry->bytes >= calls * 4 * (double)(a * b + b * c + a * c));
        assert_true(entry->bytes <= calls * 4 * (double)(a * b + b * c + 2 * a * c + c));
    } else if (strcmp(entry->operation, "attention") == 0) {
        assert_int_equal(sscanf(entry->shape, "%lld x %lld x %lld x %lld", &a, &b, &c, &d), 4);
        assert_true(entry->flop == calls * 4 * (double)(a * b * b * c * d));
        assert_true(entry->bytes == calls * 4 * 4 * (double)(a * b * c * d));
    } else if (strcmp(entry->operation, "similarity") != 0) {
        assert_true(entry->flop == 0);
    }
}

/* nano: 4 blocks of 64 and 128, 8 x 8 patches of 14 pixels, 5 heads to 32; adapters in one block.
 */
static double expected_flop(void)
{
    const double tokens = 65, patches = 64, width = 64;
    double block = 2 * tokens * (4 * width * width + 2 * width * 128) + 4 * tokens * tokens * width;
    double embedding = 2 * patches * 588 * width, adapter = 2 * tokens * width * width;
    return 4 * block + embedding + adapter + 5 * 2 * patches * width * 32 + 4 * 4 * patches * 32;
}

static void detection_is_counted(void **state)
{
    (void)state;
    aaclip_profiler *profiler = started();
    run_detection();
    must(aaclip_profiler_stop(profiler));
    bool found_attention = false, found_map = false;
    assert_true(aaclip_profiler_count(profiler) > 5);
    for (size_t i = 0; i < aaclip_profiler_count(profiler); i++) {
        const aaclip_profiler_entry entry = entry_at(profiler, i);
        assert_true(entry.calls > 0 && entry.seconds > 0 && entry.bytes > 0);
        assert_true(entry.threads >= 1 && entry.shape[0] && entry.backend[0]);
        assert_string_equal(entry.backend,
                            aaclip_model_operation_backend(shared.model, entry.operation));
        check_products(&entry);
        found_attention = found_attention || strcmp(entry.operation, "attention") == 0;
        found_map = found_map || strcmp(entry.operation, "anomaly_map") == 0;
    }
    assert_true(found_attention && found_map);
    /* what no output needs may be left out */
    assert_in_range((uint64_t)all_flop(profiler), (uint64_t)(0.7 * expected_flop()),
                    (uint64_t)(1.001 * expected_flop()));
    aaclip_profiler_close(&profiler);
}

/* One prompt: a tree without branches, whose row i sees i + 1 rows. */
static void a_prompt_is_counted(void **state)
{
    (void)state;
    static const char *const prompt[] = {"a photo of a nut"};
    aaclip_model_info info = {.size = sizeof info};
    must(aaclip_model_get_info(shared.model, &info));
    int32_t ids[77];
    size_t tokens = 0;
    float vector[32];
    must(aaclip_text_cache_tokenize(shared.cache, prompt[0], ids, 77, &tokens));
    aaclip_profiler *profiler = started();
    must(aaclip_text_cache_encode(shared.cache, prompt, 1, vector));
    must(aaclip_profiler_stop(profiler));
    uint64_t calls = 0;
    for (size_t i = 0; i < aaclip_profiler_count(profiler); i++) {
        const aaclip_profiler_entry entry = entry_at(profiler, i);
        if (strcmp(entry.operation, "attention") != 0)
            continue;
        calls += entry.calls;
        size_t pairs = tokens * (tokens + 1) / 2;
        assert_true(entry.flop == (double)(entry.calls * 4 * pairs * info.text_width));
    }
    assert_int_equal(calls, info.text_layers);
    aaclip_profiler_close(&profiler);
}

static void nothing_is_counted_after_stop(void **state)
{
    (void)state;
    aaclip_profiler *profiler = started();
    run_detection();
    uint64_t once = all_calls(profiler);
    run_detection();
    must(aaclip_profiler_stop(profiler));
    assert_int_equal(all_calls(profiler), 2 * once);
    run_detection();
    assert_int_equal(all_calls(profiler), 2 * once);
    must(aaclip_profiler_stop(profiler));
    aaclip_profiler_close(&profiler);
    assert_null(profiler);
    run_detection();
}

/* Each counts from its own start to its own end, in whatever order they stop. */
static void several_run_at_once(void **state)
{
    (void)state;
    aaclip_profiler *first = started();
    run_detection();
    uint64_t once = all_calls(first);
    aaclip_profiler *second = started();
    run_detection();
    must(aaclip_profiler_stop(first));
    run_detection();
    assert_int_equal(all_calls(first), 2 * once);
    assert_int_equal(all_calls(second), 2 * once);
    aaclip_profiler_close(&second);
    aaclip_profiler_close(&first);
}

static void entries_end(void **state)
{
    (void)state;
    aaclip_profiler_entry entry = {.size = sizeof entry};
    aaclip_profiler *profiler = started();
    must_fail(aaclip_profiler_get(profiler, 0, &entry), AACLIP_ERROR_NOT_FOUND, "below 0, found 0");
    aaclip_profiler_close(&profiler);
}

typedef struct stranger {
    aaclip_profiler *profiler;
    aaclip_status status;
} stranger;

static void *detect_and_stop(void *user)
{
    stranger *own = user;
    run_detection();
    own->status = aaclip_profiler_stop(own->profiler);
    return NULL;
}

/* Another thread's calls are not counted, and it cannot stop the profiler. */
static void threads_have_their_own(void **state)
{
    (void)state;
    stranger other = {.profiler = started()};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, detect_and_stop, &other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(other.status, AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_profiler_count(other.profiler), 0);
    run_detection();
    assert_true(aaclip_profiler_count(other.profiler) > 0);
    aaclip_profiler_close(&other.profiler);
}

/* Text and training: more operations, sequences of unequal length. */
static void text_and_training_are_counted(void **state)
{
    (void)state;
    aaclip_dataset *dataset = open_training_set();
    aaclip_profiler *profiler = started();
    aaclip_trainer *trainer = make_trainer(&shared, dataset);
    must(aaclip_trainer_step(trainer, NULL));
    must(aaclip_profiler_stop(profiler));
    static const char *const wanted[] = {"attention_backward", "linear_gradient", "adam",
                                         "segmentation_loss", "similarity_backward"};
    for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++) {
        size_t i = 0;
        while (strcmp(entry_at(profiler, i).operation, wanted[k]) != 0)
            i++;
        assert_true(entry_at(profiler, i).bytes > 0);
    }
    aaclip_trainer_close(&trainer);
    aaclip_dataset_close(&dataset);
    aaclip_profiler_close(&profiler);
}

/* The first failure of: starting, detecting, stopping. */
static aaclip_status profile(aaclip_profiler **profiler)
{
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    aaclip_result result = {.size = sizeof result};
    aaclip_status status = aaclip_profiler_start(profiler);
    if (status)
        return status;
    status = aaclip_detector_detect(detector, &view, "cat", &result);
    aaclip_status stopped = aaclip_profiler_stop(*profiler);
    return status ? status : stopped;
}

/* What cannot be written down does not stop detection, but is told. */
static int profile_with_little_memory(int fail_at, bool fail_after, const void *user)
{
    (void)user;
    aaclip_profiler *profiler = NULL;
    int open = heap_open_count();
    heap_arm(fail_at, fail_after);
    aaclip_status status = profile(&profiler);
    int count = heap_disarm();
    bool failed = fail_at >= 0 && fail_at < count;
    assert_int_equal(status, failed ? AACLIP_ERROR_OUT_OF_MEMORY : AACLIP_OK);
    aaclip_profiler_close(&profiler);
    assert_int_equal(heap_open_count(), open);
    return count;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    fail_each_allocation("profiler", profile_with_little_memory, NULL);
}

static int open_shared(void **state)
{
    (void)state;
    heap_install();
    fixture_open(&shared, NULL, 1);
    detector = make_detector(&shared, false);
    run_detection(); /* what it allocates once */
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    aaclip_detector_close(&detector);
    fixture_close(&shared);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(detection_is_counted),   cmocka_unit_test(nothing_is_counted_after_stop),
        cmocka_unit_test(several_run_at_once),    cmocka_unit_test(entries_end),
        cmocka_unit_test(threads_have_their_own), cmocka_unit_test(text_and_training_are_counted),
        cmocka_unit_test(memory_may_run_out),     cmocka_unit_test(a_prompt_is_counted),
    };
    return cmocka_run_group_tests_name("profiler", tests, open_shared, close_shared);
}
