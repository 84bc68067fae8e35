/* A host of plugins: loads the library, detects and unloads it, many times. Not linked to it. */
#define _GNU_SOURCE

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <dirent.h>
#include <dlfcn.h>
#include <unistd.h>

#include <aaclip/aaclip.h>

#define CYCLES 10
#define MODEL  GOLDEN_DIR "/nano/clip.pt"

static void *library;

/* A function of the library. */
#define LOOK_UP(name) __typeof__(name) *call_##name = (__typeof__(name) *)look_up(#name)

static uintptr_t look_up(const char *name)
{
    void *found = dlsym(library, name);
    assert_non_null(found);
    return (uintptr_t)found;
}

/* The image encoder, in float32 and with two threads. */
static void detect(void)
{
    LOOK_UP(aaclip_model_open);
    LOOK_UP(aaclip_model_options_init_sized);
    LOOK_UP(aaclip_model_close);
    LOOK_UP(aaclip_text_cache_new);
    LOOK_UP(aaclip_text_cache_add);
    LOOK_UP(aaclip_text_cache_close);
    LOOK_UP(aaclip_detector_new);
    LOOK_UP(aaclip_detector_options_init_sized);
    LOOK_UP(aaclip_detector_detect);
    LOOK_UP(aaclip_detector_close);
    static uint8_t pixels[112 * 112 * 3];
    static const float normal[32] = {1}, abnormal[32] = {0, 1};
    const aaclip_image_view view = {pixels, 112, 112, 0, AACLIP_PIXEL_RGB8};
    aaclip_model_options model_options;
    aaclip_detector_options options;
    aaclip_model *model;
    aaclip_text_cache *cache;
    aaclip_detector *detector;
    aaclip_result result = {.size = sizeof result};
    assert_int_equal(call_aaclip_model_options_init_sized(&model_options, sizeof model_options), 0);
    model_options.threads = 2;
    assert_int_equal(call_aaclip_model_open(&model, MODEL, &model_options), 0);
    assert_int_equal(call_aaclip_text_cache_new(&cache, model, NULL, NULL), 0);
    assert_int_equal(call_aaclip_text_cache_add(cache, "part", normal, abnormal), 0);
    assert_int_equal(call_aaclip_detector_options_init_sized(&options, sizeof options), 0);
    options.image_size = 112;
    assert_int_equal(call_aaclip_detector_new(&detector, model, NULL, cache, &options), 0);
    assert_int_equal(call_aaclip_detector_detect(detector, &view, "part", &result), 0);
    call_aaclip_detector_close(&detector);
    call_aaclip_text_cache_close(&cache);
    call_aaclip_model_close(&model);
}

/* Of this process; 0 where the system does not say. */
static size_t count_threads(void)
{
    size_t count = 0;
    DIR *threads = opendir("/proc/self/task");
    for (struct dirent *entry; threads && (entry = readdir(threads));)
        count += entry->d_name[0] != '.';
    if (threads)
        closedir(threads);
    return count;
}

static void its_threads_stay_and_do_no_harm(void **state)
{
    size_t first = 0;
    (void)state;
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
        assert_non_null(library);
        detect();
        assert_int_equal(dlclose(library), 0);
        usleep(2000);
        if (cycle == 0)
            first = count_threads();
        assert_int_equal(count_threads(), first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(its_threads_stay_and_do_no_harm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
