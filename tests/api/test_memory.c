/*
 * Every call with each of its allocations failing, once alone and once with all that follow: it
 * returns OUT_OF_MEMORY and leaves NULL handles, no memory and no file. (JSON documents are
 * jansson's and come from malloc: test_json_memory.c.)
 */
#include <dirent.h>
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
#include "system.h"

/* What is opened before the call, with an allocator that never fails. */
typedef enum test_level { NOTHING, MODEL, ADAPTERS, EMPTY_CACHE, CACHE, DETECTOR } test_level;

typedef struct test_scene {
    fixture all;
    aaclip_detector *detector;
    const char *backend, *path;
} test_scene;

typedef struct test_step {
    const char *name;
    test_level level;
    aaclip_status (*call)(test_scene *scene);
    const char *file; /* what the call opens, or NULL */
    bool writes;      /* it writes scene->path */
    bool every_backend;
} test_step;

static char *folder;
static struct {
    scratch_file prompts, model, adapters, cache, bundle, packed, out;
} files;

static void prepare(test_scene *scene, test_level level)
{
    fixture *all = &scene->all;
    if (level >= MODEL)
        all->model = open_model(scene->backend, 1);
    if (level >= ADAPTERS)
        all->adapters = open_adapters(all->model, "document");
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.prompts = files.prompts.path; /* few of them: building is fast */
    if (level == EMPTY_CACHE)
        must(aaclip_text_cache_new(&all->cache, all->model, all->adapters, &options));
    if (level >= CACHE)
        must(aaclip_text_cache_open(&all->cache, all->model, all->adapters, files.cache.path,
                                    &options));
    if (level >= DETECTOR) {
        must(aaclip_image_open(&all->image, PHOTO));
        scene->detector = make_detector(all, true);
    }
}

static void clear(test_scene *scene)
{
    aaclip_detector_close(&scene->detector);
    fixture_close(&scene->all);
}

static aaclip_status call_model_open(test_scene *scene)
{
    scene->all.model = (aaclip_model *)scene;
    return aaclip_model_open(&scene->all.model, scene->path, NULL);
}

static aaclip_status call_adapters_open(test_scene *scene)
{
    scene->all.adapters = (aaclip_adapters *)scene;
    return try_adapters(&scene->all.adapters, scene->all.model, scene->path);
}

static aaclip_status call_own_adapters_open(test_scene *scene)
{
    scene->all.adapters = (aaclip_adapters *)scene;
    return aaclip_adapters_open(&scene->all.adapters, scene->all.model, &scene->path, 1, NULL);
}

static aaclip_status call_cache_new(test_scene *scene)
{
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.prompts = scene->path;
    options.vocabulary = NANO;
    scene->all.cache = (aaclip_text_cache *)scene;
    return aaclip_text_cache_new(&scene->all.cache, scene->all.model, scene->all.adapters,
                                 &options);
}

static aaclip_status call_cache_open(test_scene *scene)
{
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.prompts = files.prompts.path;
    scene->all.cache = (aaclip_text_cache *)scene;
    return aaclip_text_cache_open(&scene->all.cache, scene->all.model, scene->all.adapters,
                                  scene->path, &options);
}

static aaclip_status call_cache_build(test_scene *scene)
{
    aaclip_status status = build_classes(scene->all.cache);
    assert_int_equal(aaclip_text_cache_count(scene->all.cache), status ? 0 : 2);
    return status;
}

static aaclip_status call_cache_build_more(test_scene *scene)
{
    const char *const names[] = {"a", "cat", "b", "c"};
    float before[4096], after[4096];
    must(aaclip_text_cache_get(scene->all.cache, "cat", before, NULL));
    aaclip_status status =
        aaclip_text_cache_build(scene->all.cache, names, (const char *[]){"a", "nut", "b", "c"}, 4);
    must(aaclip_text_cache_get(scene->all.cache, "cat", after, NULL));
    assert_int_equal(aaclip_text_cache_count(scene->all.cache), status ? 2 : 5);
    assert_int_equal(before[0] == after[0], status != AACLIP_OK);
    return status;
}

static aaclip_status call_tokenize(test_scene *scene)
{
    int32_t ids[100];
    size_t count;
    return aaclip_text_cache_tokenize(scene->all.cache, "a photo of a caf\xc3\xa9 &amp; cat.", ids,
                                      100, &count);
}

static aaclip_status call_detector_new(test_scene *scene)
{
    scene->detector = (aaclip_detector *)scene;
    return new_detector(&scene->detector, &scene->all, true);
}

static aaclip_status call_detect(test_scene *scene)
{
    aaclip_result result = {.size = sizeof result};
    const aaclip_image_view view = aaclip_image_get_view(scene->all.image);
    return aaclip_detector_detect(scene->detector, &view, "cat", &result);
}

/* From a bundle to a detector, with packed weights in a folder. */
static aaclip_status open_packed(test_scene *scene)
{
    fixture *all = &scene->all;
    const char *const paths[] = {files.bundle.path};
    aaclip_model_options options;
    aaclip_model_options_init(&options);
    options.backend = scene->backend;
    options.precision = strcmp(scene->backend, "cuda") == 0 ? AACLIP_PRECISION_F32 /* has no int8 */
                                                            : AACLIP_PRECISION_INT8;
    options.threads = 1;
    options.packed_folder = files.packed.path;
    aaclip_status status = aaclip_model_open(&all->model, files.bundle.path, &options);
    if (!status)
        status = aaclip_adapters_open(&all->adapters, all->model, paths, 1, NULL);
    if (!status)
        status =
            aaclip_text_cache_open(&all->cache, all->model, all->adapters, files.bundle.path, NULL);
    if (!status)
        status = new_detector(&scene->detector, all, false);
    if (status)
        clear(scene);
    return status;
}

/* Files there are whole: none has a temporary name. */
static void check_packed(void)
{
    DIR *listing = opendir(files.packed.path);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing));) {
        const char *end = strrchr(entry->d_name, '.');
        if (end && end[1])
            assert_string_equal(end, ".packed");
    }
    closedir(listing);
}

static aaclip_status call_packed(test_scene *scene)
{
    aaclip_status status = open_packed(scene);
    check_packed();
    return status;
}

static aaclip_status call_packed_anew(test_scene *scene)
{
    assert_int_equal(system_remove(files.packed.path), 0);
    assert_int_equal(system_make_folder(files.packed.path), 0);
    return call_packed(scene);
}

/* A batch that does not fit leaves a detector that detects. */
static aaclip_status call_detect_batch(test_scene *scene)
{
    aaclip_result results[3] = {{.size = sizeof results[0]}};
    const aaclip_image_view view = aaclip_image_get_view(scene->all.image);
    const aaclip_image_view views[] = {view, view, view};
    aaclip_status status = aaclip_detector_detect_batch(
        scene->detector, views, (const char *[]){"cat", "nut", "cat"}, 3, results);
    return status;
}

/* Everything that a detector can do at once. */
static aaclip_status call_detect_tiles(test_scene *scene)
{
    aaclip_detector *detector = NULL;
    aaclip_detector_options options;
    aaclip_calibration calibration;
    aaclip_result results[2] = {{.size = sizeof results[0]}};
    const aaclip_image_view view = aaclip_image_get_view(scene->all.image);
    aaclip_image_view views[] = {view, view};
    const uint8_t roi[] = {1, 0, 1, 1};
    views[1].format = AACLIP_PIXEL_GRAY16;
    views[1].stride = (size_t)view.width * 3;
    aaclip_calibration_init(&calibration);
    calibration.map_threshold = 0;
    aaclip_detector_options_init(&options);
    options.image_size = IMAGE_SIZE;
    options.tile = 150;
    options.calibration = &calibration;
    options.find_regions = true;
    options.window_high = 4095;
    aaclip_status status = aaclip_detector_new(&detector, scene->all.model, scene->all.adapters,
                                               scene->all.cache, &options);
    if (!status)
        status = aaclip_detector_set_roi(detector, roi, 2, 2);
    if (!status)
        status = aaclip_detector_set_calibration(detector, "nut", &calibration);
    if (!status)
        status = aaclip_detector_detect_batch(detector, views, (const char *[]){"cat", "nut"}, 2,
                                              results);
    if (!status)
        assert_true(results[0].region_count == 1 && results[1].region_count == 1);
    aaclip_detector_close(&detector);
    return status;
}

static aaclip_status call_model_save(test_scene *scene)
{
    return aaclip_model_save(scene->all.model, scene->path, false);
}

static aaclip_status call_model_save_float16(test_scene *scene)
{
    return aaclip_model_save(scene->all.model, scene->path, true);
}

static aaclip_status call_verify(test_scene *scene)
{
    return aaclip_verify_file(scene->path);
}

static aaclip_status call_adapters_save(test_scene *scene)
{
    return aaclip_adapters_save(scene->all.adapters, scene->path);
}

static aaclip_status call_cache_save(test_scene *scene)
{
    return aaclip_text_cache_save(scene->all.cache, scene->path);
}

static aaclip_status call_bundle_save(test_scene *scene)
{
    return aaclip_bundle_save(scene->all.model, scene->all.adapters, scene->all.cache, scene->path,
                              true);
}

static aaclip_status call_image_open(test_scene *scene)
{
    scene->all.image = (aaclip_image *)scene;
    return aaclip_image_open(&scene->all.image, scene->path);
}

static aaclip_status call_image_resize(test_scene *scene)
{
    static uint8_t rgb[50 * 60 * 3];
    const aaclip_image_view view = aaclip_image_get_view(scene->all.image);
    return aaclip_image_resize(&view, 50, 60, rgb);
}

static const float some_values[4] = {0, 0.25f, 0.5f, 1};

#ifdef AAC_HAVE_PNG
static aaclip_status call_write_png(test_scene *scene)
{
    const aaclip_image_view view = aaclip_image_get_view(scene->all.image);
    return aaclip_write_png(scene->path, &view);
}

static aaclip_status call_write_png16(test_scene *scene)
{
    return aaclip_write_png16(scene->path, some_values, 2, 2);
}
#endif

static aaclip_status call_write_npy(test_scene *scene)
{
    return aaclip_write_npy(scene->path, some_values, (const size_t[]){2, 2}, 2);
}

static aaclip_status call_map_resize(test_scene *scene)
{
    (void)scene;
    float larger[9];
    return aaclip_map_resize(some_values, 2, 2, 3, 3, larger);
}

static bool is_old(const char *path)
{
    char text[8] = "";
    FILE *file = fopen(path, "rb");
    bool same = file && fgets(text, sizeof text, file) && strcmp(text, "old") == 0;
    if (file)
        fclose(file);
    return same;
}

static void check_handles(const test_scene *scene, test_level level)
{
    assert_true(level >= MODEL || !scene->all.model);
    assert_true(level >= ADAPTERS || !scene->all.adapters);
    assert_true(level >= EMPTY_CACHE || !scene->all.cache);
    assert_true(level >= DETECTOR || (!scene->detector && !scene->all.image));
}

/* A step on a backend. */
typedef struct test_run {
    const test_step *step;
    const char *backend;
} test_run;

static int run_step(int fail_at, bool fail_after, const void *user)
{
    const test_run *run = user;
    const test_step *step = run->step;
    test_scene scene = {.backend = run->backend, .path = step->file};
    size_t count = scratch_count(folder);
    if (step->writes) {
        scene.path = files.out.path;
        scratch_write(scene.path, "old");
    }
    assert_int_equal(heap_open_count(), 0);
    prepare(&scene, step->level);
    heap_arm(fail_at, fail_after);
    aaclip_status status = step->call(&scene);
    int made = heap_disarm();
    if (status && (status != AACLIP_ERROR_OUT_OF_MEMORY || fail_at < 0))
        fail_msg("%s: %s", aaclip_status_string(status), aaclip_last_error());
    if (status)
        check_handles(&scene, step->level);
    if (step->writes) {
        assert_int_equal(is_old(scene.path), status != AACLIP_OK);
        remove(scene.path);
    }
    assert_int_equal(scratch_count(folder), count);
    clear(&scene);
    assert_int_equal(heap_open_count(), 0);
    return made;
}

static void run_on(const test_step *step, const char *backend)
{
    char name[80];
    snprintf(name, sizeof name, "%s%s%s", step->name, backend ? ", " : "", backend ? backend : "");
    fail_each_allocation(name, run_step, &(test_run){step, backend});
}

static void run_steps(const test_step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!steps[i].every_backend)
            run_on(&steps[i], NULL);
        for (size_t j = 0; steps[i].every_backend && aaclip_backend_name(j); j++)
            if (aaclip_backend_available(aaclip_backend_name(j)))
                run_on(&steps[i], aaclip_backend_name(j));
    }
}

#define run_all(steps) run_steps(steps, sizeof(steps) / sizeof *(steps))

static void models(void **state)
{
    (void)state;
    const test_step steps[] = {
        {"nano", NOTHING, call_model_open, .file = NANO_MODEL},
        {"OpenAI's", NOTHING, call_model_open,
         .file = GOLDEN_DIR "/model/openai-published/clip.pt"},
        {"state dict", NOTHING, call_model_open,
         .file = GOLDEN_DIR "/model/state-dict-document/clip.pt"},
        {"Hugging Face's", NOTHING, call_model_open,
         .file = GOLDEN_DIR "/model/huggingface-published-relu/clip"},
        {"Hugging Face's, again", NOTHING, call_model_open,
         .file = GOLDEN_DIR "/model/huggingface-document-plain/clip"},
        {"open_clip's", NOTHING, call_model_open,
         .file = GOLDEN_DIR "/model/openclip-document/clip"},
        {"open_clip's, again", NOTHING, call_model_open,
         .file = GOLDEN_DIR "/model/openclip-published-text-only/clip"},
        {"own", NOTHING, call_model_open, .file = files.model.path},
        {"bundle", NOTHING, call_model_open, .file = files.bundle.path},
        {"save", MODEL, call_model_save, .writes = true},
        {"save float16", MODEL, call_model_save_float16, .writes = true},
        {"verify", NOTHING, call_verify, .file = files.model.path},
    };
    run_all(steps);
}

static void adapters(void **state)
{
    (void)state;
    const test_step steps[] = {
        {"document", MODEL, call_adapters_open, .file = "document"},
        {"published", MODEL, call_adapters_open, .file = "published"},
        {"own", MODEL, call_own_adapters_open, .file = files.adapters.path},
        {"save", ADAPTERS, call_adapters_save, .writes = true},
    };
    run_all(steps);
}

static void text_caches(void **state)
{
    (void)state;
    const test_step steps[] = {
        {"new", ADAPTERS, call_cache_new, .file = NULL},
        {"new with prompts", ADAPTERS, call_cache_new, .file = files.prompts.path},
        {"tokenize", EMPTY_CACHE, call_tokenize, .file = NULL},
        {"build", EMPTY_CACHE, call_cache_build, .every_backend = true},
        {"build more", CACHE, call_cache_build_more, .file = NULL},
        {"open", ADAPTERS, call_cache_open, .file = files.cache.path},
        {"save", CACHE, call_cache_save, .writes = true},
        {"save a bundle", CACHE, call_bundle_save, .writes = true},
    };
    run_all(steps);
}

static void detection(void **state)
{
    (void)state;
    const test_step steps[] = {
        {"new", CACHE, call_detector_new, .every_backend = true},
        {"new, packed", NOTHING, call_packed, .every_backend = true},
        {"new, to be packed", NOTHING, call_packed_anew, .every_backend = true},
        {"detect", DETECTOR, call_detect, .every_backend = true},
        {"detect a batch", DETECTOR, call_detect_batch, .file = NULL},
        {"detect tiles and regions", DETECTOR, call_detect_tiles, .file = NULL},
    };
    run_all(steps);
}

static bool has_jpeg(void)
{
    aaclip_image *image = NULL;
    aaclip_status status = aaclip_image_open(&image, GOLDEN_DIR "/images/chelsea.jpg");
    aaclip_image_close(&image);
    return status == AACLIP_OK;
}

static void images(void **state)
{
    (void)state;
    const test_step steps[] = {
#ifdef AAC_HAVE_PNG
        {"PNG", NOTHING, call_image_open, .file = PHOTO},
        {"interlaced PNG", NOTHING, call_image_open,
         .file = GOLDEN_DIR "/images/grey-alpha16-interlaced.png"},
        {"write PNG", DETECTOR, call_write_png, .writes = true},
        {"write 16-bit PNG", NOTHING, call_write_png16, .writes = true},
#endif
        {"BMP", NOTHING, call_image_open, .file = GOLDEN_DIR "/images/bits8.bmp"},
        {"resize", DETECTOR, call_image_resize, .file = NULL},
        {"write NumPy", NOTHING, call_write_npy, .writes = true},
        {"resize a map", NOTHING, call_map_resize, .file = NULL},
        {"JPEG", NOTHING, call_image_open, .file = GOLDEN_DIR "/images/chelsea.jpg"},
        {"progressive JPEG", NOTHING, call_image_open,
         .file = GOLDEN_DIR "/images/colour-420-progressive.jpg"},
    };
    run_steps(steps, sizeof steps / sizeof *steps - (has_jpeg() ? 0 : 2));
}

/* Files of the library's own making, written before anything fails. */
static int make_files(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    folder = *state;
    files.prompts = scratch_path(folder, "prompts");
    files.model = scratch_path(folder, "model");
    files.adapters = scratch_path(folder, "adapters");
    files.cache = scratch_path(folder, "cache");
    files.bundle = scratch_path(folder, "bundle");
    files.packed = scratch_path(folder, "packed");
    files.out = scratch_path(folder, "out");
    if (system_make_folder(files.packed.path) != 0)
        return -1;
    heap_install();
    scratch_write(files.prompts.path,
                  "{\"normal\": [\"{}\"], \"abnormal\": [\"bad {}\", \"broken {}\"],"
                  " \"templates\": [\"{}\", \"a {}\"]}");
    test_scene scene = {.backend = NULL};
    prepare(&scene, EMPTY_CACHE);
    must(build_classes(scene.all.cache));
    scene.path = files.model.path;
    must(call_model_save(&scene));
    scene.path = files.adapters.path;
    must(call_adapters_save(&scene));
    scene.path = files.cache.path;
    must(call_cache_save(&scene));
    scene.path = files.bundle.path;
    must(call_bundle_save(&scene));
    clear(&scene);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models),    cmocka_unit_test(adapters), cmocka_unit_test(text_caches),
        cmocka_unit_test(detection), cmocka_unit_test(images),
    };
    return cmocka_run_group_tests_name("memory", tests, make_files, scratch_remove);
}
