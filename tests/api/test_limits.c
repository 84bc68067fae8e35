/* Limits of the process: at a limit passes, one above is refused with the reason. */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fixture.h"
#include "scratch.h"

#define USUAL_PIXELS 178956970
#define LONG_PHRASE  ((size_t)1 << 20)

static fixture shared;
static const char *folder;

/* The bytes that the library holds from an allocator, counted independently. */
static struct {
    atomic_size_t held, peak;
} heap;

typedef union block {
    size_t size;
    max_align_t alignment;
} block;

static void *allocate(size_t size, void *user)
{
    (void)user;
    block *made = malloc(sizeof *made + size);
    if (!made)
        return NULL;
    made->size = size;
    const size_t held = atomic_fetch_add(&heap.held, size) + size;
    size_t peak = heap.peak;
    while (held > peak && !atomic_compare_exchange_weak(&heap.peak, &peak, held))
        continue;
    return made + 1;
}

static void deallocate(void *pointer, void *user)
{
    (void)user;
    block *made = (block *)pointer - 1;
    atomic_fetch_sub(&heap.held, made->size);
    free(made);
}

/* The field at `offset` and the defaults. */
static void set_one(size_t offset, uint64_t value)
{
    aaclip_limits limits;
    must(aaclip_limits_init(&limits));
    memcpy((char *)&limits + offset, &value, sizeof value);
    must(aaclip_limits_set(&limits));
}

#define SET(field, value) set_one(offsetof(aaclip_limits, field), (value))

/* `name` is what was to be read; the text has it, both numbers, and what to do. */
static void must_name(const char *name, const char *expected, const char *found)
{
    const char *const parts[] = {name, expected, found, "; raise the limit with aaclip_limits_set"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(aaclip_last_error(), parts[i]))
            fail_msg("expected \"%s\" in \"%s\"", parts[i], aaclip_last_error());
}

typedef struct file_bytes {
    char *bytes;
    size_t size;
} file_bytes;

static file_bytes read_file(const char *path)
{
    file_bytes content = {NULL, 0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (size_t room = 1 << 16, got = 1; got; content.size += got, room *= 2) {
        content.bytes = realloc(content.bytes, room);
        assert_non_null(content.bytes);
        got = fread(content.bytes + content.size, 1, room - content.size, file);
    }
    fclose(file);
    return content;
}

static size_t occurrences(const char *path, const char *part)
{
    const file_bytes content = read_file(path);
    const size_t length = strlen(part);
    size_t count = 0;
    for (size_t i = 0; i + length <= content.size; i++)
        count += memcmp(content.bytes + i, part, length) == 0;
    free(content.bytes);
    return count;
}

static size_t size_of(const char *path)
{
    const file_bytes content = read_file(path);
    free(content.bytes);
    return content.size;
}

static aaclip_status open_adapters_file(const char *path)
{
    aaclip_adapters *adapters = NULL;
    aaclip_status status = aaclip_adapters_open(&adapters, shared.model, &path, 1, NULL);
    aaclip_adapters_close(&adapters);
    return status;
}

static aaclip_status open_model_file(const char *path)
{
    aaclip_model *model = NULL;
    aaclip_status status = aaclip_model_open(&model, path, NULL);
    aaclip_model_close(&model);
    return status;
}

static aaclip_status open_cache_file(const char *path)
{
    aaclip_text_cache *cache = NULL;
    aaclip_status status =
        aaclip_text_cache_open(&cache, shared.model, shared.adapters, path, NULL);
    aaclip_text_cache_close(&cache);
    return status;
}

static aaclip_status open_image(const char *path)
{
    aaclip_image *image = NULL;
    aaclip_status status = aaclip_image_open(&image, path);
    aaclip_image_close(&image);
    return status;
}

static void defaults_come_back(void **state)
{
    (void)state;
    aaclip_limits usual, found = {.size = sizeof found}, own;
    must(aaclip_limits_init(&usual));
    assert_int_equal(usual.image_pixels, USUAL_PIXELS);
    assert_true(usual.checkpoint_bytes == UINT64_MAX);
    assert_int_equal(usual.tensors, 1 << 18);
    assert_int_equal(usual.prompt_bytes, 16384);
    assert_int_equal(usual.prompts, 16384);
    assert_true(usual.memory_bytes == UINT64_MAX);
    must(aaclip_limits_get(&found));
    assert_memory_equal(&found, &usual, sizeof usual);

    own = (aaclip_limits){sizeof own, 2, 3, 4, 5, 6, (uint64_t)7 << 32};
    must(aaclip_limits_set(&own));
    must(aaclip_limits_get(&found));
    assert_memory_equal(&found, &own, sizeof own);

    /* what is refused changes nothing */
    usual.size = 1;
    must_fail(aaclip_limits_set(&usual), AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_limits_init");
    usual.size = sizeof usual;
    must(aaclip_limits_get(&found));
    assert_memory_equal(&found, &own, sizeof own);

    must(aaclip_limits_set(&(aaclip_limits){.size = sizeof own})); /* 0: the default */
    must(aaclip_limits_get(&found));
    assert_memory_equal(&found, &usual, sizeof usual);
    must(aaclip_limits_set(&own));
    must(aaclip_limits_set(NULL));
    must(aaclip_limits_get(&found));
    assert_memory_equal(&found, &usual, sizeof usual);

    SET(image_pixels, UINT64_MAX);
    must(aaclip_limits_get(&found));
    assert_true(found.image_pixels == UINT64_C(1) << 40);
}

static void images(void **state)
{
    (void)state;
    const char *const paths[] = {
        PHOTO,
        GOLDEN_DIR "/images/grey-alpha16-interlaced.png",
        GOLDEN_DIR "/images/chelsea.jpg",
        GOLDEN_DIR "/images/colour-420-progressive.jpg",
        GOLDEN_DIR "/images/bits24.bmp",
        GOLDEN_DIR "/images/rle8.bmp",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char expected[80], found[80];
        aaclip_image *image = NULL;
        must(aaclip_limits_set(NULL));
        aaclip_status status = aaclip_image_open(&image, paths[i]);
        if (status && strstr(aaclip_last_error(), "this build"))
            continue;
        must(status);
        const aaclip_image_view view = aaclip_image_get_view(image);
        const uint64_t pixels = (uint64_t)view.width * view.height;
        SET(image_pixels, pixels);
        must(open_image(paths[i]));
        SET(image_pixels, pixels - 1);
        must_fail(open_image(paths[i]), AACLIP_ERROR_UNSUPPORTED, "pixels");
        snprintf(expected, sizeof expected, "expected at most %" PRIu64 " pixels", pixels - 1);
        snprintf(found, sizeof found, "found %ux%u", view.width, view.height);
        must_name(paths[i], expected, found);
        assert_non_null(aaclip_image_get_view(image).pixels); /* open already */
        aaclip_image_close(&image);
    }
}

/* Some bytes that claim 20000 x 20000 pixels: beyond the usual limit, and with a raised one beyond
 * the memory. */
static void a_bomb_costs_nothing(void **state)
{
    (void)state;
    file_bytes bomb = read_file(GOLDEN_DIR "/images/rle8.bmp");
    const unsigned char side[4] = {0x20, 0x4e, 0, 0};
    aaclip_image *image = NULL;
    memcpy(bomb.bytes + 18, side, sizeof side);
    memcpy(bomb.bytes + 22, side, sizeof side);
    heap.peak = heap.held;
    const size_t before = heap.held;
    must_fail(aaclip_image_decode(&image, bomb.bytes, bomb.size, "bomb"), AACLIP_ERROR_UNSUPPORTED,
              "bomb: ");
    must_name("bomb: ", "at most 178956970 pixels", "found 20000x20000");
    SET(image_pixels, 399999999);
    must_fail(aaclip_image_decode(&image, bomb.bytes, bomb.size, "bomb"), AACLIP_ERROR_UNSUPPORTED,
              "at most 399999999 pixels");
    must(aaclip_limits_set(&(aaclip_limits){
        .size = sizeof(aaclip_limits), .image_pixels = 400000000, .memory_bytes = 1 << 30}));
    must_fail(aaclip_image_decode(&image, bomb.bytes, bomb.size, "bomb"),
              AACLIP_ERROR_OUT_OF_MEMORY, "bomb: ");
    must_name("bomb: out of memory", "expected at most 1073741824 bytes", "found 12");
    assert_true(heap.peak < before + (1 << 20));
    assert_int_equal(heap.held, before);
    free(bomb.bytes);
}

/* Files of tensors: what opens them and how many tensors they have, counted in the file. */
static void checkpoints(void **state)
{
    (void)state;
    const scratch_file model = scratch_path(folder, "model"), cache = scratch_path(folder, "cache");
    must(aaclip_model_save(shared.model, model.path, false));
    must(aaclip_text_cache_save(shared.cache, cache.path));
    const char *const text_adapter = NANO "/adapters-published/text_adapter.pth";
    const struct {
        const char *path;
        aaclip_status (*open)(const char *path);
        size_t tensors; /* 0: not counted */
    } files[] = {
        {NANO_MODEL, open_model_file, 0},
        {model.path, open_model_file, occurrences(model.path, "\"dtype\"")},
        {cache.path, open_cache_file, occurrences(cache.path, "\"dtype\"")},
        /* each has a record, named before it and in the archive's directory */
        {text_adapter, open_adapters_file, occurrences(text_adapter, "/data/") / 2},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char expected[80], found[80];
        const size_t size = size_of(files[i].path), tensors = files[i].tensors;
        SET(checkpoint_bytes, size);
        must(files[i].open(files[i].path));
        SET(checkpoint_bytes, size - 1);
        must_fail(files[i].open(files[i].path), AACLIP_ERROR_UNSUPPORTED, "bytes");
        snprintf(expected, sizeof expected, "expected at most %zu bytes", size - 1);
        snprintf(found, sizeof found, "found %zu;", size);
        must_name(files[i].path, expected, found);

        if (tensors) {
            SET(tensors, tensors);
            must(files[i].open(files[i].path));
        }
        const size_t less = tensors ? tensors - 1 : 1;
        if (!less)
            continue; /* 0 would be the default */
        SET(tensors, less);
        must_fail(files[i].open(files[i].path), AACLIP_ERROR_UNSUPPORTED, "tensors");
        snprintf(expected, sizeof expected, "expected at most %zu tensors", less);
        snprintf(found, sizeof found, "found %zu or more", less + 1);
        must_name(files[i].path, expected, found);
    }
}

static aaclip_status open_prompts(aaclip_text_cache **cache, const char *path)
{
    aaclip_text_cache_options options;
    must(aaclip_text_cache_options_init(&options));
    options.prompts = path;
    return aaclip_text_cache_new(cache, shared.model, shared.adapters, &options);
}

static void prompts(void **state)
{
    (void)state;
    const scratch_file file = scratch_path(folder, "prompts");
    const char *const name = "nut", *const phrase = "brass nut";
    aaclip_text_cache *cache = NULL;
    int32_t ids[77];
    size_t count = 0;
    scratch_write(file.path,
                  "{\"normal\": [\"{}\", \"my {}\"], \"abnormal\": [\"bad {}\"],"
                  " \"templates\": [\"{}\", \"a {}\", \"the {}\"]}");
    SET(prompts, 6);
    must(open_prompts(&cache, file.path));
    aaclip_text_cache_close(&cache);
    SET(prompts, 5);
    must_fail(open_prompts(&cache, file.path), AACLIP_ERROR_FORMAT, "prompts");
    must_name(file.path, "at most 5 prompts", "found 2 states in 3 templates");
    must(aaclip_limits_set(NULL));

    must(open_prompts(&cache, file.path)); /* limits hold for it, too */
    SET(prompt_bytes, 17);                 /* "the bad brass nut" */
    must(aaclip_text_cache_build(cache, &name, &phrase, 1));
    must(aaclip_text_cache_tokenize(cache, "12345678901234567", ids, 77, &count));
    SET(prompt_bytes, 16);
    must_fail(aaclip_text_cache_build(cache, &name, &phrase, 1), AACLIP_ERROR_INVALID_ARGUMENT,
              "prompt");
    must_name("prompt: ", "expected at most 16 bytes", "found 17");
    must_fail(aaclip_text_cache_tokenize(cache, "12345678901234567", ids, 77, &count),
              AACLIP_ERROR_INVALID_ARGUMENT, "prompt");
    must_name("prompt: ", "expected at most 16 bytes", "found 17");
    assert_int_equal(aaclip_text_cache_count(cache), 1); /* what was built stays */

    /* a long phrase is refused before it stands in every prompt */
    char *const endless = malloc(LONG_PHRASE + 1);
    assert_non_null(endless);
    memset(endless, 'a', LONG_PHRASE);
    endless[LONG_PHRASE] = '\0';
    heap.peak = heap.held;
    const size_t before = heap.held;
    must_fail(aaclip_text_cache_build(cache, &name, (const char *const[]){endless}, 1),
              AACLIP_ERROR_INVALID_ARGUMENT, "found 1048576;");
    assert_true(heap.peak < before + LONG_PHRASE);
    free(endless);
    must(aaclip_limits_set(NULL));
    must(aaclip_text_cache_build(cache, &name, &phrase, 1));
    aaclip_text_cache_close(&cache);
}

static aaclip_status open_photo(void)
{
    return open_image(PHOTO);
}

static aaclip_status detect_anew(void)
{
    aaclip_detector *detector = NULL;
    aaclip_result result = {.size = sizeof result};
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    aaclip_status status = new_detector(&detector, &shared, false);
    if (!status)
        status = aaclip_detector_detect(detector, &view, "cat", &result);
    aaclip_detector_close(&detector);
    return status;
}

static aaclip_status build_anew(void)
{
    aaclip_text_cache *cache = NULL;
    aaclip_status status = aaclip_text_cache_new(&cache, shared.model, shared.adapters, NULL);
    if (!status)
        status = build_classes(cache);
    aaclip_text_cache_close(&cache);
    return status;
}

/* As much as a call needs at its peak is enough, one byte less is not. */
static void memory(void **state)
{
    (void)state;
    const struct {
        aaclip_status (*run)(void);
        const char *name; /* in the text */
    } calls[] = {{open_photo, PHOTO ": out of memory: "},
                 {detect_anew, "out of memory: "},
                 {build_anew, "out of memory: "}};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        char expected[80];
        must(calls[i].run()); /* what is made once and stays */
        const size_t before = heap.held;
        heap.peak = before;
        must(calls[i].run());
        const size_t peak = heap.peak;
        assert_true(peak > before);
        SET(memory_bytes, peak);
        must(calls[i].run());
        SET(memory_bytes, peak - 1);
        must_fail(calls[i].run(), AACLIP_ERROR_OUT_OF_MEMORY, "out of memory");
        snprintf(expected, sizeof expected, "expected at most %zu bytes", peak - 1);
        must_name(calls[i].name, expected, "found ");
        assert_int_equal(heap.held, before);
        must(aaclip_limits_set(NULL));
        must(calls[i].run());
    }
}

/* Below what is held already nothing can be made; what is open can be used on and closed. */
static void handles_outlive_a_limit(void **state)
{
    (void)state;
    const aaclip_image_view view = aaclip_image_get_view(shared.image);
    fixture own;
    aaclip_detector *detector = make_detector(&shared, false),
                    *other = make_detector(&shared, true);
    aaclip_result result = detect(detector, &view, "cat");
    kept_result before = keep_result(&result);
    fixture_open(&own, NULL, 1);

    SET(memory_bytes, 1);
    must_fail(open_photo(), AACLIP_ERROR_OUT_OF_MEMORY,
              PHOTO ": out of memory: expected at most 1");
    must_fail(open_model_file(NANO_MODEL), AACLIP_ERROR_OUT_OF_MEMORY, "expected at most 1 bytes");
    must_fail(build_anew(), AACLIP_ERROR_OUT_OF_MEMORY, "expected at most 1 bytes");
    must_fail(build_classes(shared.cache), AACLIP_ERROR_OUT_OF_MEMORY, "expected at most 1 bytes");
    must_fail(detect_anew(), AACLIP_ERROR_OUT_OF_MEMORY, "expected at most 1 bytes");
    aaclip_status status = aaclip_detector_detect(detector, &view, "nut", &result);
    if (status)
        must_fail(status, AACLIP_ERROR_OUT_OF_MEMORY, "expected at most 1 bytes");
    must(aaclip_text_cache_get(shared.cache, "cat", NULL, NULL));
    aaclip_detector_close(&other);
    fixture_close(&own);

    must(aaclip_limits_set(NULL));
    result = detect(detector, &view, "cat");
    kept_result after = keep_result(&result);
    assert_true(same_bits(&before, &after));
    free_result(&before);
    free_result(&after);
    aaclip_detector_close(&detector);
}

/* What the allocator itself refuses is no limit's doing, also after one. */
static void *refuse(size_t size, void *user)
{
    (void)size, (void)user;
    return NULL;
}

static void memory_that_is_out_is_no_limit(void **state)
{
    (void)state;
    SET(memory_bytes, 1);
    must_fail(open_photo(), AACLIP_ERROR_OUT_OF_MEMORY, "aaclip_limits_set");
    must(aaclip_limits_set(NULL));
    aaclip_set_allocator(&(aaclip_allocator){refuse, deallocate, NULL});
    aaclip_status status = open_photo();
    aaclip_set_allocator(&(aaclip_allocator){allocate, deallocate, NULL});
    must_fail(status, AACLIP_ERROR_OUT_OF_MEMORY, "out of memory");
    assert_null(strstr(aaclip_last_error(), "limit"));
}

static void *set_often(void *user)
{
    atomic_bool *end = user;
    while (!*end) {
        aaclip_limits_set(
            &(aaclip_limits){.size = sizeof(aaclip_limits), .image_pixels = 1, .memory_bytes = 9});
        aaclip_limits_set(NULL);
    }
    return NULL;
}

static void threads_set_and_meet_them(void **state)
{
    (void)state;
    atomic_bool end = false;
    pthread_t setters[2];
    const size_t held = heap.held;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&setters[i], NULL, set_often, &end), 0);
    for (int i = 0; i < 300; i++) {
        aaclip_status status = open_image(GOLDEN_DIR "/images/bits24.bmp");
        if (status != AACLIP_ERROR_UNSUPPORTED && status != AACLIP_ERROR_OUT_OF_MEMORY)
            must(status);
    }
    end = true;
    for (size_t i = 0; i < 2; i++)
        pthread_join(setters[i], NULL);
    assert_int_equal(heap.held, held);
}

static int start(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    folder = *state;
    aaclip_set_allocator(&(aaclip_allocator){allocate, deallocate, NULL});
    fixture_open(&shared, NULL, 1);
    return 0;
}

static int restore(void **state)
{
    (void)state;
    return (int)aaclip_limits_set(NULL);
}

static int finish(void **state)
{
    fixture_close(&shared);
    return heap.held || scratch_remove(state) ? -1 : 0;
}

#define LIMIT_TEST(function) cmocka_unit_test_teardown(function, restore)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIMIT_TEST(defaults_come_back),
        LIMIT_TEST(images),
        LIMIT_TEST(a_bomb_costs_nothing),
        LIMIT_TEST(checkpoints),
        LIMIT_TEST(prompts),
        LIMIT_TEST(memory),
        LIMIT_TEST(handles_outlive_a_limit),
        LIMIT_TEST(memory_that_is_out_is_no_limit),
        LIMIT_TEST(threads_set_and_meet_them),
    };
    return cmocka_run_group_tests_name("limits", tests, start, finish);
}
