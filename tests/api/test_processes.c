/*
 * The library and its process: signals stay the program's, and a forked process continues with what
 * was open.
 */
#define _GNU_SOURCE

#include <stdarg.h>
#include <stdatomic.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "scratch.h"

#define SECONDS  80 /* a child that takes longer counts as hung */
#define SIGNALS  65
#define CHILDREN 3

/* Everything that starts threads, with files of all kinds. */
static void whole_run(const char *backend, const char *folder)
{
    fixture all;
    fixture_open(&all, backend, 2);
    aaclip_detector *detector = make_detector(&all, false);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    detect(detector, &view, "cat");
    aaclip_dataset *dataset = open_training_set();
    aaclip_trainer *trainer = make_trainer(&all, dataset);
    must(aaclip_trainer_step(trainer, NULL));
    must(aaclip_trainer_save(trainer, scratch_path(folder, "state.pth").path));
    must(aaclip_model_save(all.model, scratch_path(folder, "model").path, false));
    aaclip_trainer_close(&trainer);
    aaclip_dataset_close(&dataset);
    aaclip_detector_close(&detector);
    fixture_close(&all);
}

typedef struct signal_state {
    struct sigaction actions[SIGNALS];
    sigset_t mask;
} signal_state;

static signal_state look_at_signals(void)
{
    signal_state seen;
    memset(&seen, 0, sizeof seen);
    for (int i = 1; i < SIGNALS; i++)
        sigaction(i, NULL, &seen.actions[i]);
    pthread_sigmask(SIG_BLOCK, NULL, &seen.mask);
    return seen;
}

static void signals_are_the_programs(void **state)
{
    signal(SIGUSR1, SIG_IGN);
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        if (!aaclip_backend_available(aaclip_backend_name(i)))
            continue;
        signal_state before = look_at_signals();
        whole_run(aaclip_backend_name(i), *state);
        signal_state after = look_at_signals();
        for (int j = 1; j < SIGNALS; j++) {
            assert_int_equal(sigismember(&before.mask, j), sigismember(&after.mask, j));
            assert_int_equal(before.actions[j].sa_flags, after.actions[j].sa_flags);
            assert_true(before.actions[j].sa_handler == after.actions[j].sa_handler);
        }
    }
    signal(SIGUSR1, SIG_DFL);
}

#ifdef __linux__

/* The signals that a thread of this process blocks, the first one in bit 0. */
static unsigned long long blocked_by(const char *thread)
{
    char path[300], line[200];
    unsigned long long mask = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "SigBlk: %llx", &mask) == 1)
            break;
    if (file)
        fclose(file);
    return mask;
}

/* So that handlers run in threads of the program, whatever the library computes meanwhile. */
static void its_threads_take_no_signals(void **state)
{
    (void)state;
    const unsigned long long asked = 1ull << (SIGINT - 1) | 1ull << (SIGTERM - 1) |
                                     1ull << (SIGALRM - 1) | 1ull << (SIGCHLD - 1) |
                                     1ull << (SIGUSR1 - 1);
    char own[20];
    int others = 0;
    fixture all;
    fixture_open(&all, NULL, 2);
    aaclip_detector *detector = make_detector(&all, false);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    detect(detector, &view, "cat");
    aaclip_dataset *dataset = open_training_set();
    aaclip_trainer *trainer = make_trainer(&all, dataset);
    must(aaclip_trainer_step(trainer, NULL)); /* reads ahead from now on */
    snprintf(own, sizeof own, "%d", (int)getpid());
    DIR *threads = opendir("/proc/self/task");
    assert_non_null(threads);
    for (struct dirent *entry; (entry = readdir(threads));) {
        if (entry->d_name[0] == '.')
            continue;
        bool is_own = strcmp(entry->d_name, own) == 0;
        assert_true((blocked_by(entry->d_name) & asked) == (is_own ? 0 : asked));
        others += !is_own;
    }
    assert_true(others > 0);
    closedir(threads);
    aaclip_trainer_close(&trainer);
    aaclip_dataset_close(&dataset);
    aaclip_detector_close(&detector);
    fixture_close(&all);
}

#else

static void its_threads_take_no_signals(void **state)
{
    (void)state;
    print_message("left out: this system does not show what a thread blocks\n");
    skip();
}

#endif

static int patience = 10 * SECONDS; /* with a child, tenths of a second */

/* Whether work(user) is true in a forked process, which is killed when it hangs. */
static bool run_forked(bool (*work)(void *user), void *user)
{
    int status = 0, waited = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        patience /= 2; /* for a child of its own */
        _exit(work(user) ? 0 : 1);
    }
    while (child > 0 && waitpid(child, &status, WNOHANG) == 0) {
        usleep(100000);
        if (++waited == patience)
            kill(child, SIGKILL);
    }
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The same `count` times, without naps: to meet other threads anywhere. */
static bool run_forks(int count, bool (*work)(void *user), void *user)
{
    bool good = true;
    fflush(NULL);
    for (int i = 0; good && i < count; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            alarm(10);
            _exit(work(user) ? 0 : 1);
        }
        good = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
               WEXITSTATUS(status) == 0;
    }
    return good;
}

typedef struct inheritance {
    fixture all;
    aaclip_detector *detector;
    kept_result expected;
    const char *backend;
} inheritance;

static bool detects(aaclip_detector *detector, const inheritance *own)
{
    aaclip_result result = {.size = sizeof result};
    const aaclip_image_view view = aaclip_image_get_view(own->all.image);
    if (aaclip_detector_detect(detector, &view, "cat", &result))
        return false;
    kept_result found = keep_result(&result);
    const bool same = same_bits(&own->expected, &found);
    free_result(&found);
    return same;
}

/* What a worker of a server does: with what it got, and with what it makes. */
static bool detect_on(void *user)
{
    inheritance *own = user;
    aaclip_detector *second = NULL;
    const char *const names[] = {"bottle"};
    bool good = detects(own->detector, own) && !new_detector(&second, &own->all, true) &&
                detects(second, own) && !aaclip_text_cache_build(own->all.cache, names, names, 1);
    aaclip_detector_close(&second);
    aaclip_detector_close(&own->detector);
    fixture_close(&own->all);
    if (!good)
        return false;
    fixture_open(&own->all, own->backend, 2);
    good = !new_detector(&second, &own->all, true) && detects(second, own);
    aaclip_detector_close(&second);
    fixture_close(&own->all);
    return good;
}

static bool detect_and_fork(void *user)
{
    inheritance *own = user;
    return detects(own->detector, own) && run_forked(detect_on, own) && detects(own->detector, own);
}

static void forked_processes_detect(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        if (!aaclip_backend_available(aaclip_backend_name(i)) ||
            strcmp(aaclip_backend_name(i), "cuda") ==
                0) /* a device does not fork: device_checks.h */
            continue;
        inheritance own = {.backend = aaclip_backend_name(i)};
        fixture_open(&own.all, own.backend, 2);
        own.detector = make_detector(&own.all, true);
        const aaclip_image_view view = aaclip_image_get_view(own.all.image);
        const aaclip_result result = detect(own.detector, &view, "cat"); /* its threads are there */
        own.expected = keep_result(&result);
        assert_true(run_forked(detect_and_fork, &own));
        for (int child = 0; child < CHILDREN; child++)
            assert_true(run_forked(detect_on, &own));
        assert_true(detects(own.detector, &own));
        free_result(&own.expected);
        aaclip_detector_close(&own.detector);
        fixture_close(&own.all);
    }
}

typedef struct branch {
    aaclip_trainer *trainer;
    scratch_file saved;
} branch;

static bool step_and_save(void *user)
{
    branch *own = user;
    bool good = !aaclip_trainer_step(own->trainer, NULL) &&
                !aaclip_trainer_save(own->trainer, own->saved.path);
    aaclip_trainer_close(&own->trainer);
    return good;
}

static bool close_at_once(void *user)
{
    aaclip_trainer_close(&((branch *)user)->trainer);
    return true;
}

static bool same_files(const char *one, const char *other)
{
    FILE *a = fopen(one, "rb"), *b = fopen(other, "rb");
    int from_a = 0, from_b = 0;
    while (a && b && from_a != EOF && from_a == from_b) {
        from_a = getc(a);
        from_b = getc(b);
    }
    if (a)
        fclose(a);
    if (b)
        fclose(b);
    return a && b && from_a == from_b;
}

/* In the middle of an epoch, where threads read ahead that the child has not. */
static void a_forked_process_goes_on_training(void **state)
{
    fixture all;
    fixture_open(&all, NULL, 2);
    aaclip_dataset *dataset = open_training_set();
    branch child = {make_trainer(&all, dataset), scratch_path(*state, "child.pth")}, parent = child;
    parent.saved = scratch_path(*state, "parent.pth");
    must(aaclip_trainer_step(child.trainer, NULL));
    assert_true(run_forked(close_at_once, &child));
    assert_true(run_forked(step_and_save, &child));
    assert_true(step_and_save(&parent));
    assert_true(same_files(child.saved.path, parent.saved.path));
    aaclip_dataset_close(&dataset);
    fixture_close(&all);
}

typedef struct builder {
    aaclip_text_cache *cache;
    sem_t building, go_on;
} builder;

static bool pause_building(size_t done, size_t total, void *user)
{
    builder *own = user;
    if (done < total) {
        sem_post(&own->building);
        sem_wait(&own->go_on);
        sem_post(&own->go_on); /* once is enough */
    }
    return true;
}

static void *build(void *user)
{
    build_classes(((builder *)user)->cache);
    return NULL;
}

/* What another thread was using is lost to the child, and says so; vectors are there. */
static bool is_refused(void *user)
{
    builder *own = user;
    const char *const names[] = {"bottle"};
    float vector[32];
    bool refused =
        aaclip_text_cache_build(own->cache, names, names, 1) == AACLIP_ERROR_INVALID_ARGUMENT &&
        strstr(aaclip_last_error(), "forked") &&
        aaclip_text_cache_get(own->cache, "cat", NULL, NULL) == AACLIP_ERROR_NOT_FOUND &&
        aaclip_text_cache_get(own->cache, "dog", vector, NULL) == AACLIP_OK && vector[0] == 1 &&
        aaclip_text_cache_count(own->cache) == 1;
    aaclip_text_cache_close(&own->cache);
    return refused;
}

typedef struct reader {
    aaclip_text_cache *cache;
    atomic_bool stop;
} reader;

static void *look_up(void *user)
{
    reader *own = user;
    while (!atomic_load(&own->stop))
        aaclip_text_cache_get(own->cache, "cat", NULL, NULL);
    return NULL;
}

/* Had, or refused: never waited for. */
static bool looks_up(void *user)
{
    const reader *own = user;
    aaclip_status status = aaclip_text_cache_get(own->cache, "cat", NULL, NULL);
    return status == AACLIP_OK || status == AACLIP_ERROR_INVALID_ARGUMENT;
}

/* At whatever moment of another thread's call. */
static void forks_meet_a_lock_anywhere(void **state)
{
    enum { FORKS = 400, READERS = 2 };
    (void)state;
    fixture all;
    fixture_open(&all, NULL, 1);
    reader own = {.cache = all.cache};
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_up, &own), 0);
    const bool good = run_forks(FORKS, looks_up, &own);
    atomic_store(&own.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(good);
    fixture_close(&all);
}

static void a_handle_in_use_is_refused_after_a_fork(void **state)
{
    (void)state;
    builder own;
    pthread_t thread;
    aaclip_text_cache_options options;
    aaclip_model *model = open_model(NULL, 1);
    must(aaclip_text_cache_options_init(&options));
    options.progress = pause_building;
    options.progress_user = &own;
    must(aaclip_text_cache_new(&own.cache, model, NULL, &options));
    static const float normal[32] = {1}, abnormal[32] = {0, 1};
    must(aaclip_text_cache_add(own.cache, "dog", normal, abnormal));
    sem_init(&own.building, 0, 0);
    sem_init(&own.go_on, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, build, &own), 0);
    sem_wait(&own.building);
    must(aaclip_text_cache_get(own.cache, "dog", NULL, NULL)); /* building keeps nobody waiting */
    assert_true(run_forked(is_refused, &own));
    sem_post(&own.go_on);
    pthread_join(thread, NULL);
    assert_int_equal(aaclip_text_cache_count(own.cache), 3);
    aaclip_text_cache_close(&own.cache);
    aaclip_model_close(&model);
    sem_destroy(&own.building);
    sem_destroy(&own.go_on);
}

/* A log function that another thread is in. */
typedef struct speaker {
    aaclip_dataset *dataset;
    sem_t speaking, go_on;
} speaker;

static void pause_speaking(aaclip_log_level level, const char *message, void *user)
{
    speaker *own = user;
    (void)level;
    (void)message;
    sem_post(&own->speaking);
    sem_wait(&own->go_on);
}

static void count_message(aaclip_log_level level, const char *message, void *user)
{
    (void)level;
    (void)message;
    ++*(int *)user;
}

/* There are fewer samples: a warning. */
static void *speak(void *user)
{
    aaclip_dataset *all;
    must(aaclip_dataset_sample(&all, ((speaker *)user)->dataset, 1000, 1));
    aaclip_dataset_close(&all);
    return NULL;
}

static bool replaces_the_function(void *user)
{
    int messages = 0;
    aaclip_set_log(count_message, AACLIP_LOG_WARNING, &messages);
    speak(user);
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    return messages > 0;
}

static void a_forked_process_replaces_a_log_function_in_use(void **state)
{
    (void)state;
    speaker own = {.dataset = open_training_set()};
    pthread_t thread;
    sem_init(&own.speaking, 0, 0);
    sem_init(&own.go_on, 0, 0);
    aaclip_set_log(pause_speaking, AACLIP_LOG_WARNING, &own);
    assert_int_equal(pthread_create(&thread, NULL, speak, &own), 0);
    sem_wait(&own.speaking);
    assert_true(run_forked(replaces_the_function, &own));
    for (int i = 0; i < 100; i++)
        sem_post(&own.go_on); /* one for each class of the data set is enough */
    pthread_join(thread, NULL);
    assert_true(replaces_the_function(&own));
    aaclip_dataset_close(&own.dataset);
    sem_destroy(&own.speaking);
    sem_destroy(&own.go_on);
}

typedef struct talker {
    aaclip_dataset *dataset;
    atomic_bool stop;
} talker;

static void *talk(void *user)
{
    talker *own = user;
    aaclip_dataset *all;
    while (!atomic_load(&own->stop)) {
        must(aaclip_dataset_sample(&all, own->dataset, 1000, 1));
        aaclip_dataset_close(&all);
    }
    return NULL;
}

static void hear_nothing(aaclip_log_level level, const char *message, void *user)
{
    (void)level;
    (void)message;
    (void)user;
}

/* At whatever moment of another thread's message. */
static void forks_meet_a_message_anywhere(void **state)
{
    enum { FORKS = 200, TALKERS = 2 };
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* a forked process may wait forever for the lock of its allocator */
#endif
    talker own = {.dataset = open_training_set()};
    speaker heard = {.dataset = own.dataset};
    pthread_t threads[TALKERS];
    aaclip_set_log(hear_nothing, AACLIP_LOG_WARNING, NULL);
    for (int i = 0; i < TALKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, talk, &own), 0);
    const bool good = run_forks(FORKS, replaces_the_function, &heard);
    atomic_store(&own.stop, true);
    for (int i = 0; i < TALKERS; i++)
        pthread_join(threads[i], NULL);
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    assert_true(good);
    aaclip_dataset_close(&own.dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_threads_take_no_signals),
        cmocka_unit_test_setup_teardown(signals_are_the_programs, scratch_make, scratch_remove),
        cmocka_unit_test(forked_processes_detect),
        cmocka_unit_test_setup_teardown(a_forked_process_goes_on_training, scratch_make,
                                        scratch_remove),
        cmocka_unit_test(a_handle_in_use_is_refused_after_a_fork),
        cmocka_unit_test(forks_meet_a_lock_anywhere),
        cmocka_unit_test(a_forked_process_replaces_a_log_function_in_use),
        cmocka_unit_test(forks_meet_a_message_anywhere),
    };
    return cmocka_run_group_tests_name("processes", tests, NULL, NULL);
}
