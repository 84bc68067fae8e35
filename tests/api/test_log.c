/* Messages go to the callback and nowhere else; standard output and error stay empty. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <pthread.h>

#include "fixture.h"
#include "scratch.h"

typedef struct journal {
    int messages[AACLIP_LOG_DEBUG + 1];
    int broken; /* empty, ending in a newline, or of a level not requested */
    aaclip_log_level most;
    char last[1024];
} journal;

static void record(aaclip_log_level level, const char *message, void *user)
{
    journal *own = user;
    size_t length = strlen(message);
    own->broken += level > own->most || !length || message[length - 1] == '\n';
    own->messages[level]++;
    snprintf(own->last, sizeof own->last, "%s", message);
}

static void open_and_close_model(void)
{
    aaclip_model *model = open_model("reference", 1);
    aaclip_model_close(&model);
}

static void messages_reach_the_callback(void **state)
{
    (void)state;
    journal own = {.most = AACLIP_LOG_DEBUG};
    aaclip_set_log(record, AACLIP_LOG_DEBUG, &own);
    open_and_close_model();
    aaclip_set_log(NULL, AACLIP_LOG_DEBUG, NULL);
    assert_true(own.messages[AACLIP_LOG_DEBUG] >= 9); /* one an operation */
    assert_int_equal(own.broken, 0);
    assert_non_null(strstr(own.last, NANO_MODEL));
    assert_non_null(strstr(own.last, "runs on reference"));
}

static uint8_t bytes[1 << 17];

static size_t read_bytes(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes / 2, file);
    fclose(file);
    return size;
}

static aaclip_status decode_bytes(size_t size)
{
    aaclip_image *image = NULL;
    aaclip_status status = aaclip_image_decode(&image, bytes, size, "bytes");
    aaclip_image_close(&image);
    return status;
}

/* A JPEG with the mark of its end in the middle: libjpeg warns. */
static aaclip_status decode_cut_jpeg(void)
{
    size_t size = read_bytes(GOLDEN_DIR "/images/chelsea.jpg");
    memcpy(bytes + size / 2, "\xff\xd9", 2);
    return decode_bytes(size);
}

/* A PNG with a palette of one and a third colours, which it does not need: libpng warns. */
static aaclip_status decode_odd_png(void)
{
    static const char palette[] = "\0\0\0\4PLTE\0\0\0\0\264\243\256\172";
    const size_t header = 33, length = sizeof palette - 1; /* the signature and IHDR */
    size_t size = read_bytes(GOLDEN_DIR "/images/rgb8-interlaced.png");
    memmove(bytes + header + length, bytes + header, size - header);
    memcpy(bytes + header, palette, length);
    return decode_bytes(size + length);
}

static void check_decoder(aaclip_status (*decode)(void), aaclip_log_level level, const char *name)
{
    journal own = {.most = level};
    aaclip_set_log(record, level, &own);
    aaclip_status status = decode();
    aaclip_set_log(NULL, level, NULL);
    if (status == AACLIP_ERROR_UNSUPPORTED)
        return; /* a build without PNG or JPEG */
    must(status);
    assert_int_equal(own.messages[level], 1);
    assert_int_equal(own.broken, 0);
    assert_non_null(strstr(own.last, name));
}

static void what_a_decoder_says_is_logged(void **state)
{
    (void)state;
    check_decoder(decode_odd_png, AACLIP_LOG_DEBUG, "PNG");
    check_decoder(decode_cut_jpeg, AACLIP_LOG_WARNING, "JPEG");
}

static void levels_and_null_silence_it(void **state)
{
    (void)state;
    for (int level = AACLIP_LOG_ERROR; level < AACLIP_LOG_DEBUG; level++) {
        journal own = {.most = (aaclip_log_level)level};
        aaclip_set_log(record, own.most, &own);
        open_and_close_model();
        assert_int_equal(own.broken, 0);
        assert_int_equal(own.messages[AACLIP_LOG_DEBUG], 0);
        aaclip_set_log(NULL, AACLIP_LOG_DEBUG, &own);
        open_and_close_model();
        assert_int_equal(own.messages[AACLIP_LOG_DEBUG], 0);
    }
}

#define SPEAKERS 3

/* Threads that log until they are stopped. */
typedef struct speakers {
    aaclip_dataset *dataset;
    pthread_t threads[SPEAKERS];
    atomic_bool stop;
} speakers;

/* There are fewer samples: a warning. */
static void speak_once(const aaclip_dataset *dataset)
{
    aaclip_dataset *all;
    must(aaclip_dataset_sample(&all, dataset, 1000, 1));
    aaclip_dataset_close(&all);
}

static void *speak(void *user)
{
    speakers *own = user;
    while (!atomic_load(&own->stop))
        speak_once(own->dataset);
    return NULL;
}

static void start_speakers(speakers *own)
{
    own->dataset = open_training_set();
    atomic_init(&own->stop, false);
    for (int i = 0; i < SPEAKERS; i++)
        assert_int_equal(pthread_create(&own->threads[i], NULL, speak, own), 0);
}

static void stop_speakers(speakers *own)
{
    atomic_store(&own->stop, true);
    for (int i = 0; i < SPEAKERS; i++)
        pthread_join(own->threads[i], NULL);
    aaclip_dataset_close(&own->dataset);
}

typedef struct listener {
    atomic_int heard, *late; /* messages; those that ended after it was replaced */
    atomic_bool replaced;
} listener;

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

static void listen(aaclip_log_level level, const char *message, void *user)
{
    listener *own = user;
    (void)level;
    (void)message;
    nap();
    atomic_fetch_add(own->late, atomic_load(&own->replaced));
    atomic_fetch_add(&own->heard, 1);
}

static void a_replaced_function_is_not_called(void **state)
{
    enum { ROUNDS = 100 };
    (void)state;
    static listener listeners[ROUNDS];
    atomic_int late = 0;
    speakers own;
    start_speakers(&own);
    for (int i = 0; i < ROUNDS; i++) {
        listeners[i].late = &late;
        aaclip_set_log(listen, AACLIP_LOG_WARNING, &listeners[i]);
        if (i)
            atomic_store(&listeners[i - 1].replaced, true);
        while (!atomic_load(&listeners[i].heard))
            nap();
    }
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    atomic_store(&listeners[ROUNDS - 1].replaced, true);
    stop_speakers(&own);
    assert_int_equal(late, 0);
}

static atomic_int replacements;

/* Replaces itself by itself, after a call that fails. */
static void replace(aaclip_log_level level, const char *message, void *user)
{
    aaclip_image *image;
    (void)message;
    if (aaclip_image_open(&image, "missing") == AACLIP_ERROR_NOT_FOUND)
        atomic_fetch_add(&replacements, 1);
    aaclip_set_log(replace, level, user);
}

/* Several threads at a time, none of which waits for itself or another one. */
static void a_function_may_call_the_library(void **state)
{
    enum { ENOUGH = 200 };
    (void)state;
    speakers own;
    aaclip_image *image;
    atomic_store(&replacements, 0);
    start_speakers(&own);
    aaclip_set_log(replace, AACLIP_LOG_WARNING, NULL);
    while (atomic_load(&replacements) < ENOUGH)
        nap();
    stop_speakers(&own);
    must_fail(aaclip_image_decode(&image, "", 0, "nothing"), AACLIP_ERROR_FORMAT, "nothing");
    aaclip_dataset *dataset = open_training_set();
    speak_once(dataset);
    aaclip_dataset_close(&dataset);
    assert_non_null(strstr(aaclip_last_error(), "nothing")); /* its failures are its own */
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
}

/* Standard output and error lead to a file while `work` runs; returns how much was written. */
static long count_output(const char *path, void (*work)(const char *folder), const char *folder)
{
    FILE *file = fopen(path, "w+b");
    assert_non_null(file);
    fflush(NULL);
    int saved[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    dup2(fileno(file), STDOUT_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    work(folder);
    fflush(NULL);
    dup2(saved[0], STDOUT_FILENO);
    dup2(saved[1], STDERR_FILENO);
    close(saved[0]);
    close(saved[1]);
    fseek(file, 0, SEEK_END);
    long written = ftell(file);
    fclose(file);
    return written;
}

static void print_something(const char *folder)
{
    fprintf(stdout, "%s", folder);
    fprintf(stderr, "%s", folder);
}

/* The whole path on every backend. */
static void succeed(const char *folder)
{
    const scratch_file bundle = scratch_path(folder, "bundle"), png = scratch_path(folder, "png");
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        if (!aaclip_backend_available(aaclip_backend_name(i)))
            continue;
        fixture all;
        fixture_open(&all, aaclip_backend_name(i), 2);
        aaclip_detector *detector = make_detector(&all, true);
        const aaclip_image_view view = aaclip_image_get_view(all.image);
        detect(detector, &view, "cat");
        must(aaclip_bundle_save(all.model, all.adapters, all.cache, bundle.path, false));
#ifdef AAC_HAVE_PNG
        must(aaclip_write_png(png.path, &view));
#else
        must_fail(aaclip_write_png(png.path, &view), AACLIP_ERROR_UNSUPPORTED, "this build");
#endif
        aaclip_detector_close(&detector);
        fixture_close(&all);
    }
}

/* Broken files of every kind: the libraries below must not speak up either. */
static void fail_everywhere(const char *folder)
{
    static const char *const contents[] = {
        "",          "\x89PNG\r\n\x1a\n broken", "\xff\xd8\xff\xe0 broken",
        "BM broken", "PK\x03\x04 broken",        "{\"broken\"",
    };
    const scratch_file broken = scratch_path(folder, "broken");
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.prompts = broken.path;
    options.vocabulary = broken.path;
    aaclip_model *good = open_model(NULL, 1);
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        aaclip_model *model = NULL;
        aaclip_adapters *adapters = NULL;
        aaclip_image *image = NULL;
        aaclip_text_cache *cache = NULL;
        scratch_write(broken.path, contents[i]);
        assert_int_not_equal(aaclip_model_open(&model, broken.path, NULL), AACLIP_OK);
        assert_int_not_equal(aaclip_adapters_open(&adapters, good, &options.prompts, 1, NULL),
                             AACLIP_OK);
        assert_int_not_equal(aaclip_image_open(&image, broken.path), AACLIP_OK);
        assert_int_not_equal(aaclip_text_cache_new(&cache, good, NULL, &options), AACLIP_OK);
        assert_int_not_equal(aaclip_text_cache_open(&cache, good, NULL, broken.path, NULL),
                             AACLIP_OK);
    }
    aaclip_model_close(&good);
    decode_odd_png();
    decode_cut_jpeg();
}

static void nothing_is_printed(void **state)
{
    const scratch_file output = scratch_path(*state, "output");
    assert_int_equal(count_output(output.path, print_something, *state),
                     2 * strlen(*state)); /* the test itself sees what is printed */
    assert_int_equal(count_output(output.path, succeed, *state), 0);
    assert_int_equal(count_output(output.path, fail_everywhere, *state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_reach_the_callback),
        cmocka_unit_test(what_a_decoder_says_is_logged),
        cmocka_unit_test(levels_and_null_silence_it),
        cmocka_unit_test(a_replaced_function_is_not_called),
        cmocka_unit_test(a_function_may_call_the_library),
        cmocka_unit_test_setup_teardown(nothing_is_printed, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
